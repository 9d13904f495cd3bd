"""The stub files against the compiled module: every name, field, parameter and C type is what it is at run time."""

import ast
import functools
import keyword
import re
from pathlib import Path

import pytest
from support.machine import WORD

import perf_event_open_sys
from perf_event_open_sys import _cdef, bindings, ffi, get_include, lib

PACKAGE = Path(perf_event_open_sys.__file__).parent
KERNEL = Path(get_include()) / "kernel"
REGISTERS = next((path for path in _cdef.headers(Path(get_include())) if path.parent.name == "perf_regs"), None)
FUNCTIONS = sorted(name for name in dir(lib) if callable(getattr(lib, name)))


@functools.cache
def stub(name):
    """The statements of a stub file, by the name that each declares; of overloads and assignments, a list of all."""
    found = {}
    for node in ast.parse((PACKAGE / f"{name}.pyi").read_text()).body:
        for declared in names(node):
            found.setdefault(declared, []).append(node)
    return found


def names(node):
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    return [ast.unparse(target) for target in node.targets] if isinstance(node, ast.Assign) else []


def members(name, kind):
    """The statements of a class, by the name that each declares."""
    return {declared: node for node in stub(name)[kind][0].body for declared in names(node)}


def constants(nodes):
    """The constants among statements, with their values; None where the stub leaves it open."""
    return {
        name: ast.literal_eval(node.value) if node.value else None
        for name, node in nodes
        if isinstance(node, ast.AnnAssign) and name.isupper() and name != "NULL"
    }


def registers_elsewhere():
    """The registers of the architectures that the module was not built for."""
    return {
        name
        for path in (KERNEL / "perf_regs").glob("*.h")
        for name in re.findall(r"\bPERF_REG_\w+", path.read_text())
        if not hasattr(lib, name)
    }


@pytest.mark.parametrize("where", ["bindings", "lib"])
def test_the_stubs_constants_are_the_modules(where):
    """Each has the module's value; none is missing, and beyond the module's are only other architectures' registers."""
    nodes = [(name, nodes[0]) for name, nodes in stub("bindings").items()]
    stubbed = constants(nodes if where == "bindings" else members("_native", "_Lib").items())
    assert stubbed.keys() - registers_elsewhere() == {name for name in dir(lib) if name.isupper()}
    module = bindings if where == "bindings" else lib
    for name in stubbed.keys() - registers_elsewhere():
        assert stubbed[name] in (None, getattr(lib, name)), name
        assert getattr(module, name) == getattr(lib, name), name


def test_only_what_the_compiler_knows_has_no_value():
    """Ioctl codes differ by architecture, as do the values of a register's name that several architectures have."""
    open_values = {
        name for name, value in constants((n, v[0]) for n, v in stub("bindings").items()).items() if value is None
    }
    assert {name for name in open_values if not name.startswith("PERF_REG_")} == {
        name for name in dir(lib) if name.startswith("PERF_EVENT_IOC_")
    }
    texts = [path.read_text() for path in (KERNEL / "perf_regs").glob("*.h")]
    for name in open_values:
        assert name.startswith("PERF_EVENT_IOC_") or sum(f" {name} " in text for text in texts) > 1


def structs():
    """The ctype of each struct, by the word that its names in the stub begin with."""
    typedefs, tags, unions = ffi.list_types()
    return (
        {name: ffi.typeof(name) for name in typedefs}
        | {tag: ffi.typeof(f"struct {tag}") for tag in tags}
        | {tag: ffi.typeof(f"union {tag}") for tag in unions}
    )


def annotation(ctype, *, in_struct=True):
    """What the stub calls a value of a C type."""
    if ctype.kind == "primitive":
        return "bytes" if ctype.cname == "char" else "int"
    if ctype.kind == "void":
        return "None"
    if ctype.kind in ("struct", "union"):
        return f"{stem(ctype)}_s"
    hidden = "_" * (ctype.item.kind == "pointer")
    if ctype.kind == "array" and (ctype.length is not None or not in_struct):
        return f"{hidden}{stem(ctype.item)}_a"
    return f"{hidden}{stem(ctype.item)}_p"


def stem(ctype):
    if ctype.kind == "pointer":
        return f"{stem(ctype.item)}_p"
    return ctype.cname.removeprefix("struct ").removeprefix("union ").replace(" ", "_")


def test_every_struct_is_in_the_stub():
    """Those of the kernel, of records and our own: pointer, array and the struct itself."""
    classes = {name for name, nodes in stub("bindings").items() if isinstance(nodes[0], ast.ClassDef)}
    expected = {f"{name}_{kind}" for name in structs() for kind in "psa"}
    assert {name for name in classes if name.endswith("_s")} == {name for name in expected if name.endswith("_s")}
    assert expected < classes


@pytest.mark.parametrize("tag", structs())
def test_the_stubs_struct_is_the_modules(tag):
    """Field for field, of the type that cffi gives; only reserved fields and a word of Python are left out."""
    stubbed = {name: ast.unparse(node.annotation) for name, node in members("bindings", f"_{tag}").items()}
    module = {
        name: annotation(field.type)
        for name, field in structs()[tag].fields
        if not name.startswith("__") and not keyword.iskeyword(name)
    }
    assert stubbed == module
    for kind in "ps":
        bases = [ast.unparse(base) for base in stub("bindings")[f"{tag}_{kind}"][0].bases]
        assert bases[0] == f"_{tag}"
        assert ("perf_record_p" in bases) == (kind == "p" and tag.startswith("perf_record_"))


@pytest.mark.parametrize(
    "tag", [name.removesuffix("_fields")[1:] for name in stub("bindings") if name.endswith("_fields")]
)
def test_the_stubs_constructors_take_the_modules_fields(tag):
    """Each field that a constructor, or copy(), of the stub takes can be given, and comes back."""
    empty = ffi.new(ffi.typeof(pointer_to(structs()[tag])))
    construct = getattr(bindings, tag, functools.partial(bindings.copy, empty))
    fields = {key.value for key in stub("bindings")[f"_{tag}_fields"][0].value.args[1].keys}
    assert fields == {name for name, _ in structs()[tag].fields if not name.startswith("__")}
    for name in (name for name in fields if isinstance(getattr(empty, name), int)):
        assert abs(getattr(construct(**{name: one(construct(), name)}), name)) == 1, name


def pointer_to(ctype):
    """The name of the type of pointers to a type, which ffi.typeof() takes as any."""
    return ffi.getctype(ctype, "*")


def one(pointer, name):
    """The least value beside 0 that a field takes: 1, but -1 in a signed field of one bit."""
    try:
        setattr(pointer, name, 1)
    except OverflowError:
        return -1
    return 1


def test_every_function_is_in_the_stub():
    """``lib`` has the functions of the stub, and no others."""
    stubbed = {name for name, node in members("_native", "_Lib").items() if isinstance(node, ast.FunctionDef)}
    assert stubbed == set(FUNCTIONS)
    assert {name for name in dir(lib) if not name.isupper()} == {*FUNCTIONS, "perf_headers_version"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_stubs_function_takes_what_the_module_takes(name):
    """Parameter for parameter, by position, of the type that cffi converts to; and the same result."""
    node, ctype = members("_native", "_Lib")[name], ffi.typeof(getattr(lib, name))
    parameters = node.args.posonlyargs or node.args.args
    assert len(parameters) == len(node.args.posonlyargs) or not ctype.args
    assert len(parameters) == 1 + len(ctype.args)
    for parameter, argument in zip(parameters[1:], ctype.args, strict=True):
        taken = set(ast.unparse(parameter.annotation).split(" | "))
        if argument.kind != "pointer":
            assert taken == {annotation(argument)}
        elif argument.item.kind == "void":
            assert "_Memory" in taken
        else:
            pointer = annotation(argument)
            assert taken - {"bytes", "Sequence[int]"} >= {pointer, f"{pointer[:-1]}a", "void_p"}
    assert ast.unparse(node.returns) == annotation(ctype.result, in_struct=False)


def test_ffi_has_the_methods_of_the_stub():
    """No method of ``ffi`` is missing from the stub, and it has none that is not there."""
    assert members("_native", "_FFI").keys() == {name for name in dir(ffi) if not name.startswith("__")}


def literals():
    """Each (name of a C type, annotation of the result) of the overloads of ffi.new, cast, typeof and from_buffer."""
    for kind in ("_FFI", "_New"):
        for node in stub("_native")[kind][0].body:
            if isinstance(node, ast.FunctionDef) and node.name in ("__call__", "cast", "typeof", "from_buffer"):
                for arg in (*node.args.posonlyargs, *node.args.args):
                    if arg.arg == "ctype" and "Literal" in ast.unparse(arg.annotation):  # type: ignore[arg-type]
                        quoted = ast.literal_eval(ast.unparse(arg.annotation.slice))
                        for name in quoted if isinstance(quoted, tuple) else (quoted,):
                            yield node.name, name, ast.unparse(node.returns)  # type: ignore[arg-type]


def test_the_stubs_names_of_c_types_are_cffis():
    """Every name that ffi.new, cast, typeof and from_buffer take is one of cffi's, and the result is what the stub says."""
    seen = 0
    for method, name, result in literals():
        tag = re.fullmatch(r"enum (perf_event_\w+_regs)", name)
        if tag and not (REGISTERS and tag[1] in REGISTERS.read_text()):
            continue  # of another architecture
        if WORD == 32 and name == "enum perf_callchain_context":
            continue  # its values are above 32 bits, and cffi has no such enum there: they are plain constants
        ctype = ffi.typeof(name)
        expected = {"enum": "_Enum", "primitive": "_Number"}.get(ctype.kind) or annotation(ctype, in_struct=False)
        assert result == (f"_AnyCTypeOf[{expected}]" if method == "typeof" else expected), (method, name)
        seen += 1
    assert seen > 4 * len(structs())


def test_every_enum_is_known_to_the_stub():
    """name_of() and ffi.typeof() take the tag of each enum of this module."""
    [name_of] = stub("bindings")["name_of"]
    known = set(ast.literal_eval(ast.unparse(name_of.args.args[0].annotation.slice)))
    assert {f"enum {tag}" for tag in known} == {name for _, name, _ in literals() if name.startswith("enum ")}
    text = "".join(path.read_text() for path in KERNEL.glob("**/*.h"))
    assert known == set(re.findall(r"\benum (\w+) {", text))


def test_perf_mem_s_takes_every_pair_of_the_header():
    """The overloads of PERF_MEM_S list each PERF_MEM_<a>_<s> that has a PERF_MEM_<a>_SHIFT."""
    pairs = set()
    for node in stub("bindings")["PERF_MEM_S"]:
        first, second = (ast.literal_eval(ast.unparse(arg.annotation.slice)) for arg in node.args.args)
        pairs |= {(first, s) for s in (second if isinstance(second, tuple) else (second,))}
    assert {f"PERF_MEM_{a}_{s}" for a, s in pairs} >= {
        name for name in dir(lib) if name.startswith("PERF_MEM_") and not name.endswith("_SHIFT")
    }
    for a, s in pairs:
        assert bindings.PERF_MEM_S(a, s) == getattr(lib, f"PERF_MEM_{a}_{s}") << getattr(lib, f"PERF_MEM_{a}_SHIFT")


def test_the_c_types_of_the_stub_exist_at_run_time():
    """An annotation that Python evaluates finds each name; they all are the one type that cffi has for values of C."""
    classes = {
        name for name, nodes in stub("bindings").items() if isinstance(nodes[0], ast.ClassDef) and name[0] != "_"
    }
    for name in classes - {"CType"}:
        assert getattr(bindings, name) is ffi.CData, name
    assert bindings.CType is ffi.CType
    assert {name for name, value in vars(bindings).items() if value is ffi.CData} == classes - {"CType"}


class Program:
    """A class as users write it: Python evaluates the annotations of its body."""

    page: bindings.perf_event_mmap_page_p


def test_bindings_has_nothing_that_the_stub_lacks():
    """Every public name of the module is in its stub."""
    imported = {"annotations", "ffi", "lib", "TYPE_CHECKING"}
    for name, value in vars(bindings).items():
        is_own = getattr(value, "__module__", bindings.__name__) in (bindings.__name__, ffi.CData.__module__)
        assert name.startswith("_") or name in imported or not is_own or name in stub("bindings"), name


@pytest.mark.parametrize(
    "tag", [name for name in structs() if hasattr(bindings, name) and name != "perf_event_query_bpf"]
)
def test_help_of_a_constructor_lists_its_fields(tag):
    """Its docstring names each field of the struct, reserved ones excepted."""
    text = getattr(bindings, tag).__doc__
    listed = re.split(r"[,\s]+", text.split("Fields:")[1].strip())
    assert listed == [name for name, _ in structs()[tag].fields if not name.startswith("__")]

"""Read cdefs/*.h as ``FFI.cdef`` reads them: what the compiled module has, with every architecture's registers."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pycparser import c_ast, c_generator

from . import stop
from .fold import Number, fold, parse
from .types import SCALARS, CType

_CDEF = runpy.run_path(str(Path(__file__).resolve().parents[2] / "perf_event_open_sys" / "_cdef.py"))
CONDITIONS: frozenset[str] = _CDEF["CONDITIONS"]
selected: Callable[[str, frozenset[str]], str] = _CDEF["selected"]
TOPICS: tuple[str, ...] = _CDEF["TOPICS"]
ARCHITECTURES = frozenset(_CDEF["REGISTERS"].values())  # whose registers the build finds
_PRELUDE = "".join(f"typedef int {name};\n" for name in SCALARS if name.endswith("_t"))
_DEFINE = re.compile(r"#define (\w+) (.+)")


class Prototype(NamedTuple):
    """A function as C declares it: a pointer to it as a member of a struct, and its types without names of parameters."""

    pointer: str
    types: str


@dataclass
class Module:
    """All declarations. ``registers`` are constants by architecture; a constant without a value is the C compiler's."""

    constants: dict[str, int | None] = field(default_factory=dict)
    registers: dict[str, dict[str, int | None]] = field(default_factory=dict)
    enums: dict[str, list[str]] = field(default_factory=dict)
    register_enums: list[str] = field(default_factory=list)
    structs: dict[str, list[tuple[str, CType]]] = field(default_factory=dict)  # by "struct tag": fields
    kernel_structs: list[str] = field(default_factory=list)
    functions: dict[str, tuple[list[tuple[str, CType]], CType]] = field(default_factory=dict)
    prototypes: dict[str, Prototype] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The kernel's version that the declarations give."""
        packed = self.constants["perf_headers_version"]
        assert packed is not None
        return ".".join(str(part) for part in packed.to_bytes(3, "big"))

    def items(self) -> list[CType]:
        """Every type of which there are pointers and arrays: scalars, structs, and pointers that a declaration names."""
        found = [CType("scalar", name) for name in SCALARS] + [CType("struct", name) for name in self.structs]
        named = [kind for fields in self.structs.values() for _, kind in fields]
        for parameters, result in self.functions.values():
            named += [kind for _, kind in parameters] + [result]
        for kind in named:
            while kind.item:
                kind = kind.item
                if kind.kind == "pointer" and (plain := CType("pointer", item=kind.item)) not in found:
                    found.append(plain)
        return found


def read(root: Path, kernel: dict[str, str]) -> Module:
    """Read the hand-written headers below *root*, and those of the kernel, given as text by their path below it."""
    module = Module()
    for path, text in sorted(kernel.items(), key=lambda pair: "/perf_regs/" in pair[0]):
        reader = _Reader(path, text)
        if "/perf_regs/" in path:
            module.registers[Path(path).stem] = reader.constants
            module.register_enums += [enum for enum in reader.enums if enum not in module.register_enums]
        else:
            _add(module, reader)
            module.kernel_structs += reader.structs
    for topic in TOPICS:
        path = f"cdefs/{topic}.h"
        _add(module, _Reader(path, (root / path).read_text(), [*module.structs]))
    return module


def kernel_files(root: Path) -> dict[str, str]:
    """Return the generated headers that are committed, by their path below *root*."""
    return {str(path.relative_to(root)): path.read_text() for path in sorted((root / "cdefs/kernel").glob("**/*.h"))}


def _add(module: Module, reader: _Reader) -> None:
    module.constants |= reader.constants
    module.enums |= reader.enums
    module.structs |= reader.structs
    module.functions |= reader.functions
    module.prototypes |= reader.prototypes


def _prototype(node: c_ast.Decl) -> Prototype:
    generator = c_generator.CGenerator()
    text = generator.visit(node)
    name = re.compile(rf"\b{node.name}\(")
    types = []
    for parameter in node.type.args.params if node.type.args else ():
        kind = parameter.type
        while not isinstance(kind, c_ast.TypeDecl):
            kind = kind.type
        kind.declname = None
        types.append(generator.visit(c_ast.Typename(None, parameter.quals, None, parameter.type)))
    return Prototype(name.sub(f"(*{node.name})(", text) + ";", name.split(text)[0] + f"{node.name}({', '.join(types)})")


class _Reader:
    """One header. *known* are structs of the headers before it."""

    def __init__(self, path: str, text: str, known: list[str] | None = None) -> None:
        self.constants: dict[str, int | None] = {}
        self.enums: dict[str, list[str]] = {}
        self.structs: dict[str, list[tuple[str, CType]]] = {}
        self.functions: dict[str, tuple[list[tuple[str, CType]], CType]] = {}
        self.prototypes: dict[str, Prototype] = {}
        self.known = known or []
        chunk = [f'# 1 "{path}"']
        text = re.sub(r"/\*.*?\*/|//[^\n]*", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.DOTALL)
        for number, line in enumerate(selected(text, CONDITIONS).splitlines(), 1):
            where = f"{path}:{number}"
            if define := _DEFINE.fullmatch(line):
                self.declare(chunk)  # before it, so that constants come in the header's order
                chunk = [f'# {number + 1} "{path}"']
                value = define[2]
                node = parse(f"int value = {value};", where).ext[-1].init if value != "..." else None
                self.constants[define[1]] = fold(node, {}, where).value if node else None
            else:
                chunk.append(line)
        self.declare(chunk)

    def declare(self, chunk: list[str]) -> None:
        if not any(chunk[1:]):
            return
        typedefs = [f"typedef struct {name} {name};\n" for name in (*self.known, *self.structs) if " " not in name]
        prelude = _PRELUDE + "".join(typedefs)
        for node in parse(prelude + "\n".join(chunk) + "\n").ext[prelude.count("\n") :]:
            self.node(node)

    def node(self, node: Any) -> None:
        shape = node.type
        if isinstance(node, c_ast.Typedef) and isinstance(shape.type, (c_ast.Struct, c_ast.Union)):
            self.structs[node.name] = list(self.fields(shape.type))
        elif isinstance(node, c_ast.Decl) and isinstance(shape, c_ast.Enum) and shape.values:
            names = self.enumerators(shape)
            if shape.name:
                self.enums[shape.name] = names
        elif isinstance(node, c_ast.Decl) and isinstance(shape, (c_ast.Struct, c_ast.Union)) and shape.decls:
            self.structs[f"{type(shape).__name__.lower()} {shape.name}"] = list(self.fields(shape))
        elif isinstance(node, c_ast.Decl) and isinstance(shape, c_ast.FuncDecl):
            parameters = [(param.name, self.ctype(param.type)) for param in shape.args.params] if shape.args else []
            if len(parameters) == 1 and parameters[0][1].kind == "void":
                parameters = []
            if any(name is None for name, _ in parameters):
                stop(node.coord, f"{node.name} has a parameter without a name")
            self.functions[node.name] = parameters, self.ctype(shape.type)
            self.prototypes[node.name] = _prototype(node)
        else:
            stop(node.coord, f"a declaration of which the stub files know nothing ({type(shape).__name__})")

    def enumerators(self, shape: c_ast.Enum) -> list[str]:
        last = Number(-1)
        for enumerator in shape.values.enumerators:
            where = f"{enumerator.coord}: enumerator {enumerator.name}"
            last = fold(enumerator.value, {}, where) if enumerator.value else last._replace(value=last.value + 1)
            self.constants[enumerator.name] = last.value
        return [enumerator.name for enumerator in shape.values.enumerators]

    def fields(self, shape: c_ast.Struct | c_ast.Union) -> Iterator[tuple[str, CType]]:
        """The fields of a struct, those of anonymous structs and unions among them, as cffi gives them."""
        for decl in shape.decls:
            if decl.name is None and isinstance(decl.type, (c_ast.Struct, c_ast.Union)) and decl.type.decls:
                yield from self.fields(decl.type)
            elif decl.name is None:
                stop(decl.coord or shape.coord, "a field without a name")
            else:
                yield decl.name, self.ctype(decl.type)

    def ctype(self, node: Any) -> CType:
        if isinstance(node, c_ast.PtrDecl):
            item = self.ctype(node.type)
            return CType("pointer", item=item, is_const=self.is_const(node.type))
        if isinstance(node, c_ast.ArrayDecl):
            length = fold(node.dim, {}, node.coord).value if node.dim else None
            return CType("array", item=self.ctype(node.type), is_const=self.is_const(node.type), length=length)
        inner = node.type if isinstance(node, c_ast.TypeDecl) else None
        if isinstance(inner, (c_ast.Struct, c_ast.Union)) and inner.name:
            return self.struct(f"{type(inner).__name__.lower()} {inner.name}", node)
        if isinstance(inner, c_ast.Enum) and inner.name:
            return CType("scalar", "int")
        if not isinstance(inner, c_ast.IdentifierType):
            stop(getattr(node, "coord", None), f"a type of which the stub files know nothing ({type(node).__name__})")
        name = " ".join(inner.names)
        if name == "void":
            return CType("void", name)
        return CType("scalar", name) if name in SCALARS or name == "_Bool" else self.struct(name, node)

    def struct(self, name: str, node: Any) -> CType:
        if name not in self.structs and name not in self.known:
            stop(node.coord or getattr(node.type, "coord", None), f"unknown type {name}")
        return CType("struct", name)

    def is_const(self, node: Any) -> bool:
        return "const" in getattr(node, "quals", [])

"""The module against the kernel's own headers: every name, value, size, offset and bit, as a C compiler sees them."""

import functools
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from pycparser import CParser, c_ast

from perf_event_open_sys import HEADERS_VERSION, _cdef, bindings, ffi, get_include, lib

CC = shlex.split(os.environ.get("CC", "cc"))
UAPI = os.environ.get("PERF_EVENT_UAPI")
CDEFS = Path(get_include())
REGISTERS = next((path for path in _cdef.headers(CDEFS) if path.parent.name == "perf_regs"), None)
# Names of fields that give way when a later kernel uses their bits.
RESERVED = re.compile(r"reserved|rsvd|_res$")
# What older headers declare, and Linux took out of them since.
DROPPED = {"bp_type_idx", "TYPE_INST", "TYPE_DATA", "TYPE_MAX"}
# What counts or masks the names that a header knows, and grows with them.
COUNTS = re.compile(r"_MAX(_SHIFT)?$")

needs_cc = pytest.mark.skipif(not shutil.which(CC[0]), reason=f"needs a C compiler ({CC[0]})")
needs_uapi = pytest.mark.skipif(not UAPI, reason="PERF_EVENT_UAPI names no include directory of the kernel's headers")

PROBE = r"""
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#define CONSTANT(name) \
    printf("constant %s %s%llu\n", #name, (name) < 0 ? "-" : "", \
           (name) < 0 ? -(unsigned long long)(name) : (unsigned long long)(name))
#define SIZE(type, tag) printf("size %s %zu\n", #tag, sizeof(type tag))
#define OFFSET(type, tag, field) printf("offset %s.%s %zu\n", #tag, #field, offsetof(type tag, field))
#define BITS(type, tag, field) do { \
        type tag s; \
        unsigned bits = 0; \
        memset(&s, 0, sizeof s); \
        s.field = -1LL; \
        for (size_t i = 0; i < sizeof s; i++) \
            bits += (unsigned)__builtin_popcount(((unsigned char *)&s)[i]); \
        for (unsigned bit = 0; bit < bits; bit++) { \
            memset(&s, 0, sizeof s); \
            s.field = 1ULL << bit; \
            printf("bit %s.%s.%u", #tag, #field, bit); \
            for (size_t i = 0; i < sizeof s; i++) \
                if (((unsigned char *)&s)[i]) \
                    printf(" %zu:%u", i, ((unsigned char *)&s)[i]); \
            printf("\n"); \
        } \
    } while (0)
int main(void)
{
"""


TYPEDEFS = "".join(f"typedef int __{sign}{bits};" for sign in "us" for bits in (8, 16, 32, 64))


class KernelHeader:
    """What a header declares, found by the C preprocessor and pycparser, and what a C program makes of it."""

    def __init__(self, name, include_dirs, headers, version=None):
        self.name, self.headers, self.version = name, headers, version
        self.flags = [f"-I{directory}" for directory in include_dirs]
        self.constants, self.functions, self.enums, self.structs = set(), set(), {}, {}
        self._macros()
        self._declarations()

    @property
    def is_ours(self):
        """Whether it is of the very version that the module was generated from."""
        return self.version == HEADERS_VERSION

    def _preprocess(self, headers, *flags):
        text = "".join(f"#include <{header}>\n" for header in headers)
        return run([*CC, "-E", *flags, *self.flags, "-x", "c", "-"], input=text)

    def _macros(self):
        base = self._preprocess(["linux/types.h", "linux/ioctl.h", "asm/byteorder.h"], "-dM").splitlines()
        for line in set(self._preprocess(self.headers, "-dM").splitlines()) - set(base):
            name, parameters, body = re.fullmatch(r"#define (\w+)(\([^)]*\))?(.*)", line).groups()
            if parameters:
                self.functions.add(name)
            elif body.strip():
                self.constants.add(name)

    def _declarations(self):
        """Parse the lines that come from these headers; of what they include, only the types are needed."""
        kept, live = [TYPEDEFS], False
        for line in self._preprocess(self.headers, "-D__attribute__(x)=").splitlines():
            if line.startswith("# "):
                live = line.split('"')[1].endswith(tuple(self.headers))
            elif live:
                kept.append(line)
        for node in CParser().parse("\n".join(kept)).ext:
            shape = node.type
            if isinstance(node, c_ast.Typedef):
                continue
            if isinstance(shape, c_ast.Enum):
                names = [enumerator.name for enumerator in shape.values.enumerators]
                self.constants.update(names)
                if shape.name:
                    self.enums[shape.name] = names
            else:
                self.structs[shape.name] = (type(shape).__name__.lower(), list(self._fields(shape)))

    def _fields(self, shape):
        for decl in shape.decls:
            if decl.name is None:
                yield from self._fields(decl.type)
            else:
                yield (
                    decl.name,
                    "array" if isinstance(decl.type, c_ast.ArrayDecl) else "bits" if decl.bitsize else "int",
                )

    @functools.cached_property
    def probed(self):
        """The answers of a C program: {("constant", name): text, ("bit", "tag.field.n"): text, …}."""
        lines = [f"CONSTANT({name});" for name in sorted(self.constants)]
        for tag, (kind, fields) in self.structs.items():
            lines.append(f"SIZE({kind}, {tag});")
            lines += [f"OFFSET({kind}, {tag}, {field});" for field, shape in fields if shape != "bits"]
            lines += [f"BITS({kind}, {tag}, {field});" for field, shape in fields if shape != "array"]
        includes = "".join(f"#include <{header}>\n" for header in self.headers)
        answers = run_c(includes + PROBE + "\n".join(lines) + "\nreturn 0;\n}\n", *self.flags).splitlines()
        return {(kind, name): text for kind, name, text in (line.split(" ", 2) for line in answers)}

    def answers(self, kind):
        return {name: text for (this, name), text in self.probed.items() if this == kind}

    def lacks_fields(self, tag):
        """The fields of the module's struct that this header does not know yet."""
        return module_fields(tag) - {name for name, _ in self.structs[tag][1]}


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stderr}"
    return result.stdout


def run_c(text, *flags):
    """Compile a program and return what it prints."""
    with tempfile.TemporaryDirectory() as directory:
        program = str(Path(directory, "probe"))
        run([*CC, "-O0", "-w", *flags, "-x", "c", "-", "-o", program], input=text)
        return run([program])


def register_header(include_dir):
    return ["asm/perf_regs.h"] if REGISTERS and (include_dir is None or arch_dir(include_dir).is_dir()) else []


def arch_dir(include_dir):
    return Path(include_dir, "arch", REGISTERS.stem)


@functools.cache
def system_header():
    if not shutil.which(CC[0]):
        pytest.skip(f"needs a C compiler ({CC[0]})")
    text = "#include <linux/version.h>\n#include <linux/perf_event.h>\nLINUX_VERSION_CODE\n"
    result = subprocess.run([*CC, "-E", "-P", "-x", "c", "-"], input=text, capture_output=True, text=True)
    if result.returncode:
        pytest.skip("needs the kernel's user-space headers (linux/perf_event.h: linux-libc-dev, kernel-headers)")
    code = int(result.stdout.split()[-1])
    version = f"{code >> 16}.{code >> 8 & 255}.{code & 255}"
    return KernelHeader("system", [], ["linux/perf_event.h", "linux/hw_breakpoint.h", *register_header(None)], version)


@functools.cache
def uapi_header():
    if not UAPI:
        pytest.skip(needs_uapi.kwargs["reason"])
    if not shutil.which(CC[0]):
        pytest.skip(f"needs a C compiler ({CC[0]})")
    registers = register_header(UAPI)
    directories = [UAPI, *([arch_dir(UAPI)] if registers else [])]
    named = re.findall(r"linux-(\d+\.\d+(?:\.\d+)?)", str(Path(UAPI).resolve()))
    version = named[-1] if named else HEADERS_VERSION
    return KernelHeader(
        "PERF_EVENT_UAPI", directories, ["linux/perf_event.h", "linux/hw_breakpoint.h", *registers], version
    )


@pytest.fixture(params=[system_header, uapi_header], ids=["system", "PERF_EVENT_UAPI"])
def header(request):
    """The kernel header of the system, then the one that PERF_EVENT_UAPI names."""
    return request.param()


def module_type(tag, kind="struct"):
    """The module's type; perf_mem_data_src is known to cffi as a typedef."""
    try:
        return ffi.typeof(f"{kind} {tag}")
    except ffi.error:
        return ffi.typeof(tag)


def module_fields(tag):
    """The names of a struct of the module, those of anonymous structs and unions among them."""
    return {
        name for name in dir(getattr(bindings, tag)(*FLEXIBLE.get(tag, ()))) if not re.fullmatch("__[a-z]+__", name)
    }


FLEXIBLE = {"perf_event_query_bpf": (1,)}
MODULE_CONSTANTS = {name for name in dir(lib) if name.isupper()}


STRUCTS = re.findall(
    r"(?m)^(?:__extension__ )?(?:struct|union) (\w+) {", (CDEFS / "kernel" / "perf_event.h").read_text()
)


def test_the_header_declares_nothing_that_the_module_lacks(header):
    """Every constant, enum, struct, field and function-like macro of a header no newer than ours is in the module."""
    lacking = header.constants - MODULE_CONSTANTS - DROPPED | header.functions - set(vars(bindings))
    lacking |= header.structs.keys() - set(STRUCTS)
    for tag in header.structs.keys() & set(STRUCTS):
        lacking |= {f"{tag}.{field}" for field, _ in header.structs[tag][1]} - {
            f"{tag}.{f}" for f in module_fields(tag)
        }
    if lacking and tuple(map(int, header.version.split("."))) > tuple(map(int, HEADERS_VERSION.split("."))):
        pytest.skip(
            f"Linux {header.version} is newer than {HEADERS_VERSION}: {len(lacking)} names more, {sorted(lacking)}"
        )
    assert not lacking


def test_the_module_declares_nothing_that_the_header_lacks(header):
    """Against the header it was generated from, the module has not one name more; an older header lacks some."""
    lacking = MODULE_CONSTANTS - header.constants
    lacking |= set(STRUCTS) - header.structs.keys()
    for tag in header.structs:
        lacking |= {f"{tag}.{field}" for field in header.lacks_fields(tag)}
    if lacking and not header.is_ours:
        known = len(MODULE_CONSTANTS) + sum(len(module_fields(tag)) for tag in STRUCTS)
        pytest.skip(
            f"the header of Linux {header.version} lacks {len(lacking)} of {known} names, which are not compared"
        )
    assert not lacking
    assert header.functions == {"PERF_MEM_S"}


def test_every_enum_has_the_headers_members(header):
    """``ffi.typeof("enum x")`` lists exactly the enumerators that the kernel put there."""
    for tag, names in header.enums.items():
        if tag not in DROPPED and not (tag == "perf_callchain_context" and ffi.sizeof("long") == 4):
            ours = ffi.typeof(f"enum {tag}").relements.keys()  # type: ignore[call-overload]
            assert ours >= set(names), tag
            assert ours == set(names) or not header.is_ours, tag


def test_every_constant_has_the_headers_value(header):
    """Macros, enumerators, ioctl codes and registers are what the C compiler takes them for."""
    answers = {name: int(text) for name, text in header.answers("constant").items()}
    assert header.constants == answers.keys()
    for name in sorted(answers.keys() & MODULE_CONSTANTS):
        if COUNTS.search(name) and not header.is_ours:
            continue
        assert answers[name] == getattr(lib, name) == getattr(bindings, name), name


def test_every_struct_has_the_headers_size(header):
    """The sizeof of each struct; one that a later kernel made longer begins as the older header has it."""
    for tag, text in header.answers("size").items():
        kind, _ = header.structs[tag]
        size = ffi.sizeof(module_type(tag, kind))
        if header.lacks_fields(tag):
            assert int(text) <= size, tag
        else:
            assert int(text) == size, tag


def test_every_field_has_the_headers_offset(header):
    """The offsetof of each field that is not made of bits."""
    compared = 0
    for place, text in header.answers("offset").items():
        tag, field = place.split(".")
        if header.lacks_fields(tag) and RESERVED.search(field):
            continue
        assert int(text) == ffi.offsetof(module_type(tag, header.structs[tag][0]), field), place
        compared += 1
    assert compared > 60


def test_every_single_bit_is_where_c_puts_it(header):
    """Each bit of each field, set alone through cffi, sets the byte that it sets in C; no field has more or fewer."""
    answers = header.answers("bit")
    compared = 0
    for tag, (kind, fields) in header.structs.items():
        ctype = module_type(tag, kind)
        for field in (name for name, shape in fields if shape != "array"):
            if header.lacks_fields(tag) and RESERVED.search(field):
                continue
            theirs = [text for place, text in answers.items() if place.startswith(f"{tag}.{field}.")]
            assert theirs == list(bits(ctype, field)), f"{tag}.{field}"
            compared += len(theirs)
    assert compared > 2500


def bits(ctype, field):
    """For each bit of a field: "byte:value" of the bytes that are set when it is, as the probe prints them."""
    pointer = ffi.new(ffi.getctype(ctype, "*"))  # type: ignore[call-overload]
    places = 8 * ffi.sizeof(ctype)
    for bit in range(places):
        ffi.memmove(pointer, bytes(places // 8), places // 8)
        for value in (1 << bit, -(1 << bit)):
            try:
                setattr(pointer, field, value)
                break
            except OverflowError:
                pass
        else:
            return
        yield " ".join(f"{i}:{byte}" for i, byte in enumerate(bytes(ffi.buffer(pointer))) if byte)


@needs_uapi
@needs_cc
@pytest.mark.parametrize("arch", sorted(path.stem for path in (CDEFS / "kernel" / "perf_regs").glob("*.h")))
def test_registers_of_every_architecture_have_the_kernels_numbers(arch):
    """Each cdefs/kernel/perf_regs/<arch>.h gives the names of the kernel's asm/perf_regs.h, no more, with their values."""
    kernel = KernelHeader(arch, [Path(UAPI, "arch", arch)], ["asm/perf_regs.h"])  # type: ignore[arg-type]
    text = (CDEFS / "kernel" / "perf_regs" / f"{arch}.h").read_text()
    ours = dict(re.findall(r"\b(PERF_REG_\w+)(?: =)? (\d+U?L*)\b", text))
    assert kernel.constants == ours.keys()
    asserts = [f'_Static_assert({name} == {value}, "{name}");' for name, value in ours.items()]
    run(
        [*CC, "-fsyntax-only", *kernel.flags, "-x", "c", "-"], input="\n".join(["#include <asm/perf_regs.h>", *asserts])
    )
    assert [f"enum {tag}" for tag in kernel.enums] == re.findall(r"enum \w+", text)


@needs_uapi
def test_every_architecture_of_the_kernel_is_there():
    """Every arch/*/asm/perf_regs.h has its header."""
    kernels = {path.parent.parent.name for path in Path(UAPI).glob("arch/*/asm/perf_regs.h")}  # type: ignore[arg-type]
    assert kernels == {path.stem for path in (CDEFS / "kernel" / "perf_regs").glob("*.h")}

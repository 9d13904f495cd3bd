#!/usr/bin/env python3
"""Translate the kernel's headers into the declarations that this project commits.

    scripts/regenerate.py INCLUDE_DIR [--check]

INCLUDE_DIR holds ``linux/perf_event.h``, ``linux/hw_breakpoint.h`` and ``arch/*/asm/perf_regs.h`` of one kernel, in a
folder whose path names the version (``…/linux-7.3.4/include``). Written are ``cdefs/kernel/perf_event.h``,
``cdefs/kernel/perf_regs/<arch>.h`` and ``perf_event_open_sys/bindings.pyi``; with ``--check`` nothing is written, a diff is
printed and the exit status is 1 if one of them drifted. Names, types, widths and values are taken over, the kernel's text
is not.

Whatever the script does not understand stops it, with the header's line.
"""

from __future__ import annotations

import argparse
import difflib
import keyword
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from pycparser import CParser, c_ast

ROOT = Path(__file__).resolve().parent.parent
TOPIC_HEADERS = ("linux/perf_event.h", "linux/hw_breakpoint.h")
REGISTER_HEADERS = "arch/*/asm/perf_regs.h"

# The only types the headers may use, by width in bits (negative: signed) and by their C99 names.
TYPES = {
    **{f"__u{bits}": (bits, f"uint{bits}_t") for bits in (8, 16, 32, 64)},
    **{f"__s{bits}": (-bits, f"int{bits}_t") for bits in (8, 16, 32, 64)},
}
TYPEDEFS = "".join(
    f"typedef {'unsigned' if bits > 0 else 'signed'} {kind} {name};\n"
    for kind, width in (("char", 8), ("short", 16), ("int", 32), ("long long", 64))
    for name, (bits, _) in TYPES.items()
    if abs(bits) == width
)
STUBS = {"linux/types.h": TYPEDEFS, "linux/ioctl.h": "", "asm/byteorder.h": ""}
LITTLE, BIG = "__LITTLE_ENDIAN_BITFIELD", "__BIG_ENDIAN_BITFIELD"

IOCTL = re.compile(r"(_IOW?R?) ?\('(.)', ?(\d+)(?:, ?([\w ]+?)( ?\*)?)?\)")
PASTE = "(((__u64)PERF_MEM_##a##_##s)<<PERF_MEM_##a##_SHIFT)"


class Untranslatable(Exception):
    """A construct of the header that this script has no rule for."""


def stop(where: object, what: str) -> NoReturn:
    raise Untranslatable(f"{where}: {what}")


class Number(NamedTuple):
    """A value of a C integer type. A ``long`` counts as 32 bits wide, and may not wrap: its width is the machine's."""

    value: int
    rank: int = 0  # int, long, long long
    unsigned: bool = False

    @property
    def literal(self) -> str:
        suffix = ("U" if self.unsigned else "") + "L" * self.rank
        return f"{self.value}{suffix}"

    def fitted(self, where: object) -> Number:
        """The value as its type holds it; wrapping is allowed where C defines it, and alike on every machine."""
        bits = 64 if self.rank == 2 else 32
        low, high = (0, 2**bits) if self.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        if low <= self.value < high:
            return self
        if not self.unsigned or self.rank == 1:
            stop(where, f"{self.value} does not fit its type on every machine")
        return self._replace(value=self.value % high)


BINARY = {
    "|": int.__or__,
    "&": int.__and__,
    "^": int.__xor__,
    "+": int.__add__,
    "-": int.__sub__,
    "*": int.__mul__,
    "<<": int.__lshift__,
    ">>": int.__rshift__,
}
UNARY = {"-": int.__neg__, "~": int.__invert__, "+": int.__pos__}


def fold(node: c_ast.Node, known: dict[str, Number], where: object) -> Number:
    """Evaluate a constant expression as a C compiler does."""
    if isinstance(node, c_ast.Constant) and (
        match := re.fullmatch(r"(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)([ul]*)", node.value.lower())
    ):
        digits, suffix = match.groups()
        value = int(digits, 8 if re.fullmatch("0[0-7]+", digits) else 0)
        rank, unsigned = suffix.count("l"), "u" in suffix
        if rank == 0 and value >= 2 ** (32 if unsigned or digits.startswith("0x") else 31):
            rank = 2
        limit = 2 ** (63 if rank == 2 else 31)
        return Number(value, rank, unsigned or value >= limit).fitted(where)
    if isinstance(node, c_ast.ID):
        if node.name not in known:
            stop(where, f"unknown name {node.name}")
        return known[node.name]
    if isinstance(node, c_ast.Cast):
        names = getattr(getattr(node.to_type.type, "type", None), "names", [None])
        if names[0] not in TYPES:
            stop(where, "a cast to a type that is not one of __u8 … __s64")
        bits = TYPES[names[0]][0]
        value = fold(node.expr, known, where).value % 2 ** abs(bits)
        if bits < 0 and value >= 2 ** (-bits - 1):
            value -= 2**-bits
        return Number(value, 2 if abs(bits) == 64 else 0, bits >= 32)
    if isinstance(node, c_ast.UnaryOp) and node.op in UNARY:
        operand = fold(node.expr, known, where)
        return operand._replace(value=UNARY[node.op](operand.value)).fitted(where)
    if isinstance(node, c_ast.BinaryOp) and node.op in BINARY:
        left, right = fold(node.left, known, where), fold(node.right, known, where)
        if node.op in ("<<", ">>"):
            bits = 64 if left.rank == 2 else 32
            if not 0 <= right.value < bits:
                stop(where, f"a shift by {right.value}")
            result = left
        else:
            result = max(left, right, key=lambda n: (n.rank, n.unsigned))
            left, right = (result._replace(value=n.value).fitted(where) for n in (left, right))
        return result._replace(value=BINARY[node.op](left.value, right.value)).fitted(where)
    stop(where, f"an expression with {type(node).__name__} {getattr(node, 'op', '')}".rstrip())


@dataclass
class Macro:
    name: str
    parameters: str | None
    body: str
    where: str


@dataclass
class Header:
    """What the header declares, in its order; ``structs`` are C text by tag, ``bit_unions`` those that cffi misplaces."""

    items: list[tuple[str, str]] = field(default_factory=list)  # (kind, name or text)
    constants: dict[str, Number] = field(default_factory=dict)
    enums: dict[int, tuple[str, list[str]]] = field(default_factory=dict)
    ioctls: dict[str, str] = field(default_factory=dict)
    structs: dict[str, list[str]] = field(default_factory=dict)
    bit_unions: set[str] = field(default_factory=set)
    fields: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)


def preprocess(include_dir: Path, header: str, order: str) -> Iterator[str | Macro]:
    """Run the C preprocessor; yield its lines, with each #define of the header itself as a Macro in its place."""
    with tempfile.TemporaryDirectory() as stubs:
        for name, text in STUBS.items():
            path = Path(stubs, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        command = [
            *shlex.split(os.environ.get("CC", "cc")),
            "-E",
            "-dD",
            "-undef",
            "-nostdinc",
            "-x",
            "c",
            f"-D{order}",
        ]
        result = subprocess.run(
            [*command, "-I", stubs, "-I", str(include_dir), str(include_dir / header)],
            capture_output=True,
            text=True,
        )
    if result.returncode:
        raise Untranslatable(result.stderr.strip())
    file, line = "", 0
    for text in result.stdout.splitlines():
        if marker := re.match(r'# (\d+) "(.*?)"', text):
            line, file = int(marker[1]) - 1, marker[2]
            yield text
            continue
        line += 1
        where = f"{file}:{line}"
        if define := re.match(r"#define (\w+)(\(.*?\))? ?(.*)", text):
            if file.endswith(header):
                yield Macro(define[1], define[2], define[3].strip(), where)
            yield ""
        elif text.startswith("#undef"):
            stop(where, text)
        else:
            yield text


def parse(text: str, where: object = "") -> c_ast.FileAST:
    try:
        return CParser().parse(text)
    except Exception as error:  # pycparser's parser and lexer have no common error class
        stop(where or "C", str(error))


def read(include_dir: Path, header: str, order: str) -> Header:
    """Translate one header for one byte order."""
    found = Header()
    chunk: list[str] = []
    pending: list[Macro] = []

    def flush() -> None:
        """Declarations are complete where braces balance; the macros met inside them come after."""
        text = "\n".join(chunk)
        if text.count("{") != text.count("}"):
            return
        for node in parse(TYPEDEFS + text).ext[len(TYPES) :]:
            declare(found, node)
        chunk[:] = [line for line in chunk if line.startswith("# ")][-1:]
        for macro in pending:
            define(found, macro)
        pending.clear()

    for line in preprocess(include_dir, header, order):
        if isinstance(line, Macro):
            pending.append(line)
            flush_marker(chunk, line)
            flush()
        elif not (line.startswith("typedef ") and line + "\n" in TYPEDEFS):
            chunk.append(line)
    flush()
    if pending:
        stop(pending[0].where, "a declaration without its end")
    return found


def flush_marker(chunk: list[str], macro: Macro) -> None:
    """Keep line numbers right across the line that the macro took."""
    file, _, number = macro.where.rpartition(":")
    chunk.append(f'# {number} "{file}"')


def define(found: Header, macro: Macro) -> None:
    where = f"{macro.where}: macro {macro.name}"
    if macro.parameters is not None:
        if (macro.name, macro.parameters.replace(" ", ""), macro.body.replace(" ", "")) != (
            "PERF_MEM_S",
            "(a,s)",
            PASTE,
        ):
            stop(where, "a function-like macro that is not the known PERF_MEM_S(a, s)")
        found.functions.append(macro.name)
        found.items.append(("function", macro.name))
    elif not macro.body:
        if not re.fullmatch(r"_\w+_H", macro.name):
            stop(where, "empty, and not an include guard")
    elif match := IOCTL.fullmatch(macro.body):
        code, letter, number, argument, pointer = match.groups()
        if argument and not (argument in TYPES or (pointer and argument == "char") or argument.startswith("struct ")):
            stop(where, f"an ioctl argument of type {argument}")
        size = f", {TYPES[argument][1] if argument in TYPES else argument}{' *' if pointer else ''}" if argument else ""
        found.ioctls[macro.name] = f"{code}('{letter}', {number}{size})"
    else:
        node = parse(f"{TYPEDEFS}int value = {macro.body};", where).ext[-1].init
        found.constants[macro.name] = fold(node, found.constants, where)
        found.items.append(("macro", macro.name))


def declare(found: Header, node: c_ast.Node) -> None:
    shape = node.type if isinstance(node, c_ast.Decl) and node.name is None else node
    if isinstance(shape, c_ast.Enum) and shape.values:
        last = Number(-1)
        for enumerator in shape.values.enumerators:
            where = f"{enumerator.coord}: enumerator {enumerator.name}"
            last = (
                fold(enumerator.value, found.constants, where)
                if enumerator.value
                else last._replace(value=last.value + 1).fitted(where)
            )
            found.constants[enumerator.name] = last
        names = [enumerator.name for enumerator in shape.values.enumerators]
        found.enums[len(found.items)] = (shape.name or "", names)
        found.items.append(("enum", str(len(found.items))))
    elif isinstance(shape, (c_ast.Struct, c_ast.Union)) and shape.decls and shape.name:
        tag = shape.name
        kind = type(shape).__name__.lower()
        lines, names = members(found, shape)
        found.fields[tag] = names
        found.structs[tag] = [f"{kind} {tag} {{", *indent(lines), "};"]
        if kind == "union" and any(" : " in line for line in lines):
            found.bit_unions.add(tag)
        found.items.append(("struct", tag))
    else:
        stop(node.coord, f"a declaration that is no enum, struct or union with a body ({type(shape).__name__})")


def indent(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def members(found: Header, shape: c_ast.Struct | c_ast.Union) -> tuple[list[str], list[tuple[str, str]]]:
    """Translate a body: its lines of C, and the (name, C type) that it gives the outer scope."""
    groups: list[tuple[bool, list[str]]] = []
    names: list[tuple[str, str]] = []
    for decl in shape.decls:
        kind = decl.type
        if isinstance(kind, (c_ast.Struct, c_ast.Union)) and decl.name is None and kind.name is None and kind.decls:
            lines, inner = members(found, kind)
            names += inner
            bits = any(" : " in line for line in lines)
            groups.append((bits, [f"{type(kind).__name__.lower()} {{", *indent(lines), "};"]))
            continue
        dimension = ""
        if isinstance(kind, c_ast.ArrayDecl):
            dimension = f"[{fold(kind.dim, found.constants, decl.coord).value}]" if kind.dim else "[]"
            kind = kind.type
        named = getattr(getattr(kind, "type", None), "names", None)
        if not isinstance(kind, c_ast.TypeDecl) or not named or named[0] not in TYPES or decl.name is None:
            where = decl.coord or getattr(kind.type, "coord", None) or shape.coord
            stop(where, f"member {decl.name or ''} of a type that this script has no rule for".replace("  ", " "))
        ctype = TYPES[named[0]][1]
        width = f" : {fold(decl.bitsize, found.constants, decl.coord).value}" if decl.bitsize else ""
        names.append((decl.name, ctype + dimension))
        groups.append((False, [f"{ctype} {decl.name}{dimension}{width};"]))
    if isinstance(shape, c_ast.Union):
        # cffi's API mode places bits by what precedes them, so in a union they come first; to C the order is all one.
        groups.sort(key=lambda group: not group[0])
    return [line for _, lines in groups for line in lines], names


def banner(version: str, source: str, comment: str) -> str:
    return comment % f"generated by scripts/regenerate.py from {source} of Linux {version}: do not edit"


def wrap(items: list[str]) -> list[str]:
    """Lay items out in lines of at most 112 columns, none of them broken."""
    text = " ".join(item.replace(" ", "\0") for item in items)
    return [
        line.replace("\0", " ") for line in textwrap.wrap(text, 112, break_long_words=False, break_on_hyphens=False)
    ]


def by_order(little: list[str], big: list[str]) -> list[str]:
    if little == big:
        return little
    return ["#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__", *big, "#else", *little, "#endif"]


def enumerator(name: str, number: Number) -> str:
    suffix = "" if -(2**31) <= number.value < 2**31 else "U" if 0 <= number.value < 2**32 else "ULL"
    return f"{name} = {number.value}{suffix},"


def c_text(little: Header, big: Header) -> list[str]:
    """The declarations as C that cffi reads too."""
    if little.constants != big.constants or little.ioctls != big.ioctls or little.items != big.items:
        raise Untranslatable("a constant, an ioctl or a whole declaration depends on the byte order")
    lines: list[str] = []
    for kind, name in little.items:
        if kind == "macro":
            lines.append(f"#define {name} {little.constants[name].literal}")
        elif kind == "function":
            expansion = PASTE.replace("__u64", "uint64_t").replace("<<", " << ")
            lines += ["#ifndef CFFI_CDEF", f"#define {name}(a, s) {expansion}", "#endif"]
        elif kind == "enum":
            tag, names = little.enums[int(name)]
            values = wrap([enumerator(name, little.constants[name]) for name in names])
            lines += [f"enum {tag} {{".replace("  ", " "), *indent(values), "};"]
        else:
            declaration = by_order(little.structs[name], big.structs[name])
            if name in little.bit_unions:
                # cffi's API mode puts all bits of an outermost union at shift 0: to cffi this is a struct around it.
                body = by_order(little.structs[name][1:-1], big.structs[name][1:-1])
                before = ["#ifdef CFFI_CDEF", "typedef struct {", "    union {", "#else", f"union {name} {{", "#endif"]
                alias = f"typedef union {name} {name};"
                after = ["#ifdef CFFI_CDEF", "    };", f"}} {name};", "#else", "};", alias, "#endif"]
                declaration = [*before, *body, *after]
            lines += declaration
    if little.ioctls:
        # The C compiler computes the codes: direction bits and sizeof(void *) differ by architecture.
        lines += ["#ifdef CFFI_CDEF", *(f"#define {name} ..." for name in little.ioctls), "#else"]
        lines += [*(f"#define {name} {code}" for name, code in little.ioctls.items()), "#endif"]
    return lines


def python_type(ctype: str) -> str:
    return "CData" if "[" in ctype else "int"


def stub_text(headers: list[Header], version: str) -> list[str]:
    """bindings.pyi: every constant with its value, a class for the fields of each struct, and a constructor."""
    lines = [
        banner(version, "linux/perf_event.h and linux/hw_breakpoint.h", "# %s"),
        "from typing import Final",
        "",
        "from ._native import CData",
        "",
        "def name_of(enum: str, value: int) -> str: ...",
        "def dump(attr: perf_event_attr_p) -> str: ...",
        "def __getattr__(name: str) -> int: ...  # PERF_REG_*: this architecture's registers",
    ]
    for header in headers:
        lines += [f"def {name}(a: str, s: str) -> int: ..." for name in header.functions]
        for tag, fields in header.fields.items():
            # A field that is a word of Python (perf_branch_entry's from) goes through getattr() and **{}.
            public = [
                (name, python_type(ctype))
                for name, ctype in fields
                if not name.startswith("__") and not keyword.iskeyword(name)
            ]
            flexible = any(ctype.endswith("[]") for _, ctype in fields)
            lines += [f"class {tag}_p(CData):", *indent(wrap([f"{name}: {kind};" for name, kind in public]))]
            arguments = ["*,", *(f"{name}: {kind} = ...," for name, kind in public)]
            if any(keyword.iskeyword(name) for name, _ in fields):
                arguments.append("**fields: int,")
            if flexible:
                arguments = [f"{public[0][0]}: int"]
            lines += [f"def {tag}(", *indent(wrap(arguments)), f") -> {tag}_p: ..."]
    for header in headers:
        lines += [f"{name}: Final = {number.value}" for name, number in header.constants.items()]
        lines += [f"{name}: Final[int]" for name in header.ioctls]
    return lines


def version_of(include_dir: Path) -> str:
    found = re.findall(r"linux-(\d+\.\d+(?:\.\d+)?)", str(include_dir.resolve()))
    if not found:
        raise Untranslatable(f"{include_dir}: the path names no kernel version (…/linux-7.3.4/include)")
    return str(found[-1])


def generate(include_dir: Path, version: str) -> dict[str, str]:
    """Return the text of every generated file by its path below the project's root."""
    files: dict[str, list[str]] = {}
    topics = [[read(include_dir, header, order) for order in (LITTLE, BIG)] for header in TOPIC_HEADERS]
    major, minor, patch = (*map(int, version.split(".")), 0)[:3]
    files["cdefs/kernel/perf_event.h"] = [
        banner(version, "linux/perf_event.h and linux/hw_breakpoint.h", "/* %s */"),
        "#pragma once",
        "#ifndef CFFI_CDEF",
        "#ifdef _LINUX_PERF_EVENT_H",
        '#error "include this header before <linux/perf_event.h>, which it stands for"',
        "#endif",
        "#define _LINUX_PERF_EVENT_H",
        "#define _LINUX_HW_BREAKPOINT_H",
        "#include <stdint.h>",
        "#include <sys/ioctl.h>",
        "#endif",
        "/* The kernel version of these declarations, as KERNEL_VERSION() packs it. */",
        f"#define perf_headers_version {major << 16 | minor << 8 | patch}",
        *(line for pair in topics for line in c_text(*pair)),
    ]
    for path in sorted(include_dir.glob(REGISTER_HEADERS)):
        header = str(path.relative_to(include_dir))
        registers = [read(include_dir, header, order) for order in (LITTLE, BIG)]
        arch = header.split("/")[1]
        files[f"cdefs/kernel/perf_regs/{arch}.h"] = [
            banner(version, f"asm/perf_regs.h ({arch})", "/* %s */"),
            "#pragma once",
            *c_text(*registers),
        ]
    files["perf_event_open_sys/bindings.pyi"] = stub_text([pair[0] for pair in topics], version)
    return {name: "\n".join(lines) + "\n" for name, lines in files.items()}


def drift(files: dict[str, str], root: Path) -> Iterator[str]:
    """Yield a diff from what is committed to what the headers say."""
    stale = {str(path.relative_to(root)) for path in root.glob("cdefs/kernel/perf_regs/*.h")} - files.keys()
    for name in sorted(files.keys() | stale):
        path = root / name
        old = path.read_text().splitlines() if path.exists() else []
        new = files.get(name, "").splitlines()
        yield from difflib.unified_diff(old, new, name, f"{name} (generated)", lineterm="")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("include_dir", type=Path, metavar="INCLUDE_DIR")
    parser.add_argument("--check", action="store_true", help="write nothing; print a diff and exit 1 if a file drifted")
    options = parser.parse_args(arguments)
    try:
        files = generate(options.include_dir, version_of(options.include_dir))
    except Untranslatable as error:
        print(f"regenerate.py: {error}", file=sys.stderr)
        return 2
    if options.check:
        difference = list(drift(files, ROOT))
        print(*difference, sep="\n", end="\n" if difference else "")
        return 1 if difference else 0
    for name, text in files.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Read one header of the kernel: what it declares, for one byte order. What is not understood stops the run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pycparser import c_ast

from . import Untranslatable, indent, stop
from .fold import TYPEDEFS, TYPES, Number, fold, parse

STUBS = {"linux/types.h": TYPEDEFS, "linux/ioctl.h": "", "asm/byteorder.h": ""}
LITTLE, BIG = "__LITTLE_ENDIAN_BITFIELD", "__BIG_ENDIAN_BITFIELD"
PASTE = "(((__u64)PERF_MEM_##a##_##s)<<PERF_MEM_##a##_SHIFT)"

_IOCTL = re.compile(r"(_IOW?R?) ?\('(.)', ?(\d+)(?:, ?([\w ]+?)( ?\*)?)?\)")
_ORDER = re.compile(rf"(if|elif) defined ?\(({LITTLE}|{BIG})\)|ifdef ({LITTLE}|{BIG})")


@dataclass
class Macro:
    """A #define of the header, its *parameters* with their parentheses, and where it stands."""

    name: str
    parameters: str | None
    body: str
    where: str


class Constants(dict[str, Number]):
    """Enumerators and macros by name. A macro is computed when it is asked for: it may name one defined after it."""

    def __init__(self) -> None:
        """Begin without any."""
        super().__init__()
        self.macros: dict[str, tuple[c_ast.Node, str]] = {}

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.macros

    def __missing__(self, name: str) -> Number:
        node, where = self.macros.pop(name)  # taken out: a macro that needs itself is an unknown name
        self[name] = fold(node, self, where)
        return self[name]


@dataclass
class Header:
    """What the header declares, in its order; ``structs`` are C text by tag, ``bit_unions`` those that cffi misplaces."""

    items: list[tuple[str, str]] = field(default_factory=list)  # (kind, name or text)
    constants: Constants = field(default_factory=Constants)
    enums: dict[int, tuple[str, list[str]]] = field(default_factory=dict)
    ioctls: dict[str, str] = field(default_factory=dict)
    structs: dict[str, list[str]] = field(default_factory=dict)
    bit_unions: set[str] = field(default_factory=set)
    guard: str = ""  # the macro that keeps the header from being read twice
    defined: set[str] = field(default_factory=set)


def read(path: Path, order: str) -> Header:
    """Translate one header for one byte order."""
    _check_conditions(path)
    found = Header()
    chunk: list[str] = []
    pending: list[Macro] = []

    def flush() -> None:
        """Parse the lines collected so far, if their braces balance; then add the macros that were defined among them."""
        text = "\n".join(chunk)
        if text.count("{") != text.count("}"):
            return
        for node in parse(TYPEDEFS + text).ext[len(TYPES) :]:
            _declare(found, node)
        chunk[:] = [line for line in chunk if line.startswith("# ")][-1:]
        for macro in pending:
            _define(found, macro)
        pending.clear()

    for line in _preprocess(path, order):
        if isinstance(line, Macro):
            pending.append(line)
            # A marker keeps the line numbers right across the line that the macro took.
            file, _, number = line.where.rpartition(":")
            chunk.append(f'# {number} "{file}"')
            flush()
        elif not (line.startswith("typedef ") and line + "\n" in TYPEDEFS):
            chunk.append(line)
    flush()
    if pending:
        stop(pending[0].where, "a declaration without its end")
    for macro_name in list(found.constants.macros):
        found.constants[macro_name]  # computes it
    return found


def _check_conditions(path: Path) -> None:
    """Stop at any #if other than the include guard and those on byte order: its declarations could be skipped unseen."""
    lines = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), path.read_text(), flags=re.DOTALL)
    guards = 0
    for number, line in enumerate(lines.splitlines(), 1):
        directive = re.match(r"\s*#\s*((?:el)?if.*)", line)
        if not directive:
            continue
        text = re.sub(r"\s+", " ", directive[1].split("//")[0]).strip()
        guards += bool(re.fullmatch(r"ifndef _\w+_H_?", text))
        if not _ORDER.fullmatch(text) and (not re.fullmatch(r"ifndef _\w+_H_?", text) or guards > 1):
            stop(f"{path}:{number}", f"#{text}: a condition that is neither the include guard nor the byte order")


def _preprocess(path: Path, order: str) -> Iterator[str | Macro]:
    """Run the C preprocessor; yield its lines, with each #define of the header itself as a Macro in its place."""
    with tempfile.TemporaryDirectory() as stubs:
        for stub, text in STUBS.items():
            target = Path(stubs, stub)
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
        # From standard input: beside a header of an unpacked tree lie others, which are not to be included.
        command = [*shlex.split(os.environ.get("CC", "cc")), "-E", "-dD", "-undef", "-nostdinc", f"-D{order}"]
        result = subprocess.run(
            [*command, "-I", stubs, "-x", "c", "-"],
            input=f'# 1 "{path}"\n{path.read_text()}',
            capture_output=True,
            text=True,
            cwd=stubs,
        )
    if result.returncode or "redefined" in result.stderr:
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
            if file == str(path):
                yield Macro(define[1], define[2], define[3].strip(), where)
            yield ""
        elif text.startswith("#"):
            stop(where, text)
        else:
            yield text


def _define(found: Header, macro: Macro) -> None:
    where = f"{macro.where}: macro {macro.name}"
    if macro.name in found.defined:
        stop(where, "defined before")
    found.defined.add(macro.name)
    if macro.parameters is not None:
        known = ("PERF_MEM_S", "(a,s)", PASTE)
        if (macro.name, macro.parameters.replace(" ", ""), macro.body.replace(" ", "")) != known:
            stop(where, "a function-like macro that is not the known PERF_MEM_S(a, s)")
        found.items.append(("function", macro.name))
    elif not macro.body:
        if not re.fullmatch(r"_\w+_H_?", macro.name):
            stop(where, "empty, and not an include guard")
        found.guard = macro.name
    elif match := _IOCTL.fullmatch(macro.body):
        code, letter, number, argument, pointer = match.groups()
        if argument and not (argument in TYPES or (pointer and argument == "char") or argument.startswith("struct ")):
            stop(where, f"an ioctl argument of type {argument}")
        size = f", {TYPES[argument][1] if argument in TYPES else argument}{' *' if pointer else ''}" if argument else ""
        found.ioctls[macro.name] = f"{code}('{letter}', {number}{size})"
    else:
        node = parse(f"{TYPEDEFS}int value = {macro.body};", where).ext[-1].init
        found.constants.macros[macro.name] = node, where
        found.items.append(("macro", macro.name))


def _declare(found: Header, node: c_ast.Node) -> None:
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
        lines = _members(found, shape)
        found.structs[tag] = [f"{kind} {tag} {{", *indent(lines), "};"]
        if kind == "union" and any(" : " in line for line in lines):
            found.bit_unions.add(tag)
        found.items.append(("struct", tag))
    else:
        stop(node.coord, f"a declaration that is no enum, struct or union with a body ({type(shape).__name__})")


def _members(found: Header, shape: c_ast.Struct | c_ast.Union) -> list[str]:
    """Translate a body to its lines of C."""
    groups: list[tuple[bool, list[str]]] = []
    for decl in shape.decls:
        kind = decl.type
        if isinstance(kind, (c_ast.Struct, c_ast.Union)) and decl.name is None and kind.name is None and kind.decls:
            lines = _members(found, kind)
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
        width = f" : {fold(decl.bitsize, found.constants, decl.coord).value}" if decl.bitsize else ""
        groups.append((False, [f"{TYPES[named[0]][1]} {decl.name}{dimension}{width};"]))
    if isinstance(shape, c_ast.Union):
        # cffi's API mode places bitfields behind the fields that precede them, even in a union. So in a union they are
        # written first; to a C compiler the order of a union's members makes no difference.
        groups.sort(key=lambda group: not group[0])
    return [line for _, lines in groups for line in lines]

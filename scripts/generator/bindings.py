"""Write perf_event_open_sys/bindings.pyi: a class for each C type, constructors, functions, constants."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator
from pathlib import Path

from . import banner, indent, wrap
from .cdefs import Module
from .types import CType

_HEAD = '''
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar, final, overload

from typing_extensions import Buffer, Self, Unpack, disjoint_base

from ._native import _Buffer

# Of struct perf_counts, a pointer is a perf_counts_p, an array a perf_counts_a, the struct itself a perf_counts_s. At run
# time all of these names are ffi.CData. Fields that begin with "__" (reserved ones) are left out, as is perf_branch_entry's
# "from", a word of Python: getattr(entry, "from").

_T = TypeVar("_T")
_P = TypeVar("_P", bound=CData)
_A = TypeVar("_A", bound=CData)
_C = TypeVar("_C", bound=CData)

@disjoint_base
class CData:
    """Any value of C."""

    def __bool__(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

class _Field:
    """A field of a struct, as CType.fields gives it."""

    type: CType[Any]
    offset: int
    bitshift: int
    bitsize: int
    flags: int

@final
class CType(Generic[_C]):
    """A C type, as ffi.typeof() returns it; _C is what ffi.new() makes of it."""

    kind: str
    cname: str
    item: CType[Any]
    length: int | None
    fields: list[tuple[str, _Field]]
    elements: dict[int, str]
    relements: dict[str, int]
    args: tuple[CType[Any], ...]
    result: CType[Any]
    ellipsis: bool
    abi: int

class _Number(CData):
    """An integer of C, as ffi.cast() makes one."""

    def __int__(self) -> int: ...
    def __float__(self) -> float: ...
    def __lt__(self, other: int | _Number, /) -> bool: ...
    def __le__(self, other: int | _Number, /) -> bool: ...
    def __gt__(self, other: int | _Number, /) -> bool: ...
    def __ge__(self, other: int | _Number, /) -> bool: ...

class _Enum(_Number):
    """A value of an enum, whose name ffi.string() gives."""

class _Struct(CData, Generic[_P]):
    """A struct or union; _P is a pointer to it."""

class _Memory(CData):
    """A pointer or an array."""

    def __lt__(self, other: _Memory, /) -> bool: ...
    def __le__(self, other: _Memory, /) -> bool: ...
    def __gt__(self, other: _Memory, /) -> bool: ...
    def __ge__(self, other: _Memory, /) -> bool: ...

class _Pointer(_Memory, Generic[_T, _A]):
    """A pointer to _T; _A is an array of it."""

    @overload
    def __getitem__(self, index: int, /) -> _T: ...
    @overload
    def __getitem__(self, index: slice, /) -> _A: ...
    def __setitem__(self, index: int | slice, value: Any, /) -> None: ...
    def __add__(self, n: int, /) -> Self: ...
    def __radd__(self, n: int, /) -> Self: ...
    @overload
    def __sub__(self, other: int, /) -> Self: ...
    @overload
    def __sub__(self, other: Self, /) -> int: ...

class _Array(_Memory, Generic[_T, _P]):
    """An array of _T; _P is a pointer to one element."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_T]: ...
    @overload
    def __getitem__(self, index: int, /) -> _T: ...
    @overload
    def __getitem__(self, index: slice, /) -> Self: ...
    def __setitem__(self, index: int | slice, value: Any, /) -> None: ...
    def __add__(self, n: int, /) -> _P: ...
    def __radd__(self, n: int, /) -> _P: ...
    @overload
    def __sub__(self, other: int, /) -> _P: ...
    @overload
    def __sub__(self, other: Self | _P, /) -> int: ...

@final
class void_p(_Memory):
    """A pointer that C converts to any other, such as ffi.NULL."""

class perf_record_p(_Memory):
    """A record of any type, of which records.iterate() yields a pointer to its own struct."""

    header: perf_event_header_s
'''
STRINGS = {"kprobe_func", "uprobe_path"}  # fields that are the address of a string


def text(module: Module, source: Path) -> str:
    """Return the stub of bindings.py at *source*; its public functions keep the annotations that they have there."""
    written = _functions(source) if source.exists() else {}
    lines = [banner(f"cdefs/ (headers of Linux {module.version})"), *_HEAD.strip().splitlines(), ""]
    for item in module.items():
        lines += _classes(item, module)
    lines.append("")
    generated = [_stem(name) for name in module.kernel_structs]
    for name in module.kernel_structs:
        lines += _constructor(name, module)
    if "copy" in written:
        lines += _copy(module)
    lines += _name_of(module)
    lines += _mem_s(module)
    generated += ["copy", "name_of", "PERF_MEM_S"]
    lines += [definition for name, definition in written.items() if name not in generated]
    lines += ["", *constants(module, "{name}: Final{value}")]
    return "\n".join(lines) + "\n"


def constants(module: Module, form: str) -> Iterator[str]:
    """Yield a line for each constant, registers last, whose architecture a comment names."""

    def line(name: str, value: int | None) -> str:
        return form.format(name=name, value="[int]" if value is None else f" = {value}")

    for name, value in module.constants.items():
        if name.isupper():
            yield line(name, value)
    yield ""
    yield "# A module has the registers of the architecture that it was built for; the others' are not there at run time."
    listed: set[str] = set()
    for arch, registers in module.registers.items():
        yield f"# {arch}"
        for name, value in registers.items():
            if name not in listed:
                others = [other.get(name, value) for other in module.registers.values()]
                yield line(name, value if others.count(value) == len(others) else None)
        listed |= registers.keys()


def _stem(name: str) -> str:
    return CType("struct", name).stem


def _is_flexible(name: str, module: Module) -> bool:
    return any(kind.kind == "array" and kind.length is None for _, kind in module.structs[name])


def _public(name: str, module: Module) -> list[tuple[str, CType]]:
    return [(field, kind) for field, kind in module.structs[name] if not field.startswith("__")]


def _classes(item: CType, module: Module) -> Iterator[str]:
    """Yield the classes of a type: pointer and array, and of a struct the struct itself and what they share, its fields."""
    pointer, array, value = item.pointer(), item.array(), item.value()
    bases = ""
    if item.kind == "struct":
        # A field that is a word of Python, perf_branch_entry's "from", is no attribute.
        fields = [
            f"{name}: {kind.value()};" for name, kind in _public(item.name, module) if not keyword.iskeyword(name)
        ]
        yield f"class _{item.stem}:"
        yield from indent(wrap(fields))
        yield "@final"
        yield f"class {value}(_{item.stem}, _Struct[{pointer}]): ..."
        bases = f"_{item.stem}, " + ("perf_record_p, " if item.stem.startswith("perf_record_") else "")
    yield "@final"
    yield f"class {pointer}({bases}_Pointer[{value}, {array}]): ..."
    yield "@final"
    yield f"class {array}(_Array[{value}, {pointer}]): ..."


def _constructor(name: str, module: Module) -> Iterator[str]:
    stem = _stem(name)
    if _is_flexible(name, module):
        yield f"def {stem}({_public(name, module)[0][0]}: int) -> {stem}_p: ..."
        return
    fields = {field: _initializer(kind) for field, kind in _public(name, module)}
    yield from _typed_dict(f"_{stem}_fields", fields)
    yield f"def {stem}(**fields: Unpack[_{stem}_fields]) -> {stem}_p: ..."
    if strings := STRINGS & fields.keys():
        yield f"# As the overrides of events.attr(): {' and '.join(sorted(strings))} may be strings."
        text = dict.fromkeys(strings, "int | str | bytes | PathLike[str]")
        yield from _typed_dict(f"_{stem}_overrides", fields | text)


def _typed_dict(name: str, fields: dict[str, str]) -> Iterator[str]:
    yield f'{name} = TypedDict("{name}", {{'
    yield from indent(wrap([f'"{field}": {kind},' for field, kind in fields.items()]))
    yield "}, total=False)"


def _copy(module: Module) -> Iterator[str]:
    """Yield copy(): it takes the fields of each struct, but for one that ends in an array."""
    closed = [name for name in module.structs if not _is_flexible(name, module)]
    for name in closed:
        if name not in module.kernel_structs:
            fields = {field: _initializer(kind) for field, kind in _public(name, module)}
            yield from _typed_dict(f"_{_stem(name)}_fields", fields)
    for name in module.structs:
        pointer, fields_of = f"{_stem(name)}_p", f"_{_stem(name)}_fields"
        if name in closed:
            yield "@overload"
            yield f"def copy(pointer: {pointer}, **overrides: Unpack[{fields_of}]) -> {pointer}: ..."
        elif name in module.kernel_structs:  # perf_event_query_bpf, whose length a field gives
            yield "@overload"
            yield f"def copy(pointer: {pointer}) -> {pointer}: ..."


def _initializer(kind: CType) -> str:
    return "int" if kind.kind == "scalar" else "Sequence[int] | bytes" if kind.kind == "array" else kind.argument()


def _name_of(module: Module) -> Iterator[str]:
    yield "def name_of("
    yield "    enum: Literal["
    for line in wrap([f'"{enum}",' for enum in (*module.enums, *module.register_enums)], 104):
        yield f"        {line}"
    yield "    ],"
    yield "    value: int,"
    yield ") -> str: ..."


def _mem_s(module: Module) -> Iterator[str]:
    """Yield PERF_MEM_S: its second argument goes by its first."""
    names = [name.removeprefix("PERF_MEM_") for name in module.constants if name.startswith("PERF_MEM_")]
    for first in (name.removesuffix("_SHIFT") for name in names if name.endswith("_SHIFT")):
        values = [name.removeprefix(f"{first}_") for name in names if name.startswith(f"{first}_")]
        literals = ", ".join(f'"{value}"' for value in values if value != "SHIFT")
        yield "@overload"
        yield f'def PERF_MEM_S(a: Literal["{first}"], s: Literal[{literals}]) -> int: ...'


def _functions(source: Path) -> dict[str, str]:
    """Return the public functions of a module by name, each as the stub declares it."""
    found = {}
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not re.match("_", node.name):
            node.args.defaults = [ast.Constant(...) for _ in node.args.defaults]
            node.args.kw_defaults = [default and ast.Constant(...) for default in node.args.kw_defaults]
            result = ast.unparse(node.returns) if node.returns else "Any"
            found[node.name] = f"def {node.name}({ast.unparse(node.args)}) -> {result}: ..."
    return found

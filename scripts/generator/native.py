"""Write perf_event_open_sys/_native.pyi: ``ffi``, whose methods know the C types by name, and ``lib``."""

from __future__ import annotations

import keyword

from . import banner, indent, wrap
from .bindings import constants
from .cdefs import Module
from .types import CType

_RTLD = ("DEEPBIND", "GLOBAL", "LAZY", "LOCAL", "NODELETE", "NOLOAD", "NOW")
_BUFFER = '''
class _HasArrayInterface(Protocol):
    """An array of NumPy, which its stubs do not call a buffer before Python 3.12."""

    @property
    def __array_interface__(self) -> Any: ...

_Buffer: TypeAlias = Buffer | _HasArrayInterface  # what C can read in place: ffi.from_buffer()

class _Bytes:
    """Memory of C as bytes, as ffi.buffer() returns it."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int | slice, /) -> bytes: ...
    def __setitem__(self, index: int | slice, value: Buffer, /) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __iter__(self) -> Iterator[bytes]: ...
'''
# What initialises a new struct, array or scalar.
_INIT = "dict[str, Any] | Sequence[Any] | CData | int"
_METHODS = """
    CData: TypeAlias = _CData
    CType: TypeAlias = _AnyCType
    @property
    def new(self) -> _New: ...
    @overload
    def addressof(self, struct: _Struct[_P], /) -> _P: ...
    @overload
    def addressof(self, array: _Array[Any, _P], index: int, /) -> _P: ...
    @overload
    def addressof(self, cdata: _CData, field: str, /, *fields: str | int) -> _CData: ...
    @overload
    def addressof(self, lib: _Lib, name: _Function, /) -> _CData: ...
    def alignof(self, ctype: _Name | _AnyCType | _CData, /) -> int: ...
    def buffer(self, cdata: _Memory, size: int = -1) -> _Bytes: ...
    def callback(self, ctype: Any, function: Any = None, error: Any = ..., onerror: Any = None) -> Any: ...
    def def_extern(self, name: str = ..., error: Any = ..., onerror: Any = ...) -> Any: ...
    def dlclose(self, lib: Any, /) -> None: ...
    def dlopen(self, path: Any, flags: int = ..., /) -> Any: ...
    def from_handle(self, handle: _CData, /) -> Any: ...
    @overload
    def gc(self, cdata: _C, destructor: Callable[[_C], object], size: int = ...) -> _C: ...
    @overload
    def gc(self, cdata: _CData, destructor: None, size: int = ...) -> None: ...
    def getctype(self, ctype: _Name | _AnyCType, replace_with: str = "") -> str: ...
    def init_once(self, function: Callable[[], _T], tag: object) -> _T: ...
    def integer_const(self, name: str) -> int: ...
    def list_types(self) -> tuple[list[str], list[str], list[str]]: ...
    def memmove(self, dest: _Memory | _Buffer, src: _Memory | _Buffer, n: int) -> None: ...
    @overload
    def new_allocator(self, *, should_clear_after_alloc: bool = ...) -> _New: ...
    @overload
    def new_allocator(
        self,
        alloc: Callable[[int], _CData],
        free: Callable[[_CData], object] | None = None,
        should_clear_after_alloc: bool = ...,
    ) -> _New: ...
    def new_handle(self, value: object, /) -> void_p: ...
    def offsetof(self, ctype: _Name | _AnyCType, field: str | int, /, *fields: str | int) -> int: ...
    def release(self, cdata: _CData, /) -> None: ...
    def sizeof(self, ctype: _Name | _AnyCType | _CData, /) -> int: ...
    @overload
    def string(self, cdata: _Enum, maxlen: int = -1) -> str: ...
    @overload
    def string(self, cdata: _Memory, maxlen: int = -1) -> bytes: ...
    def unpack(self, cdata: _Memory, length: int) -> Any: ...
"""


def text(module: Module) -> str:
    """Return the stub of the compiled module."""
    classes = [name for item in module.items() for name in (item.pointer(), item.array())]
    classes += [item.value() for item in module.items() if item.kind == "struct"]
    bases = ["CData", "CType", "void_p", "_Array", "_Enum", "_Memory", "_Number", "_Pointer", "_Struct"]
    lines = [
        banner(f"cdefs/ (headers of Linux {module.version})"),
        "from collections.abc import Callable, Iterator, Sequence",
        "from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, overload",
        "",
        "from typing_extensions import Buffer",
        "",
        "from .bindings import (",
        *indent(wrap([f"{name}," for name in bases + classes])),
        ")",
        "",
        '_C = TypeVar("_C", bound=CData)',
        '_P = TypeVar("_P", bound=CData)',
        '_T = TypeVar("_T")',
        *_BUFFER.splitlines(),
        "# Inside of the class _FFI these two names are its own.",
        "_CData: TypeAlias = CData",
        "_AnyCType: TypeAlias = CType[Any]",
        "_AnyCTypeOf: TypeAlias = CType[_C]",
        "",
        *_alias("_Name", [name for item in module.items() for name in _names(item)] + _enums(module) + ['"void *"']),
        *_alias("_Function", [f'"{name}"' for name in module.functions]),
        "",
        "class _New(Protocol):",
        '    """ffi.new(), and what ffi.new_allocator() returns."""',
        "",
        *indent(_by_name(module, "__call__", f"init: {_INIT} = ..., /", "ctype: CType[_C]")),
        "",
        "class _FFI:",
        "    NULL: Final[void_p]",
        "    error: type[Exception]",
        "    errno: int",
        *(f"    RTLD_{name}: Final[int]" for name in _RTLD),
        *_METHODS.strip("\n").splitlines(),
        *indent(_typeof(module)),
        *indent(_by_name(module, "cast", "value: _CData | int", "ctype: _AnyCTypeOf[_C]", is_cast=True)),
        "    @overload",
        "    def from_buffer(self, buffer: _Buffer, require_writable: bool = ...) -> char_a: ...",
        *indent(
            _by_name(module, "from_buffer", "buffer: _Buffer, require_writable: bool = ...", "ctype: _AnyCTypeOf[_C]")
        ),
        "",
        "ffi: _FFI",
        "",
        "class _Lib:",
        *indent([_function(name, *types) for name, types in module.functions.items()]),
        "    perf_headers_version: Final[int]",
        *(f"    {line}" if line else "" for line in constants(module, "{name}: Final{value}")),
        "",
        "lib: _Lib",
    ]
    return "\n".join(lines) + "\n"


def _spelled(item: CType) -> str:
    return f"{_spelled(item.item)} *" if item.item else item.name


def _pointer_names(item: CType) -> str:
    """Return the name of a pointer type, in quotes; that of a pointer to a pointer may be written in two ways."""
    name = _spelled(item)
    return f'"{name} *", "{name}*"' if item.item else f'"{name} *"'


def _names(item: CType) -> list[str]:
    return [f'"{_spelled(item)}"', _pointer_names(item), f'"{_spelled(item)}[]"']


def _enums(module: Module) -> list[str]:
    return [f'"enum {name}"' for name in (*module.enums, *module.register_enums)]


def _alias(name: str, literals: list[str]) -> list[str]:
    return [f"{name}: TypeAlias = Literal[", *indent(wrap([f"{literal}," for literal in literals])), "]"]


def _by_name(module: Module, method: str, parameters: str, ctype: str, *, is_cast: bool = False) -> list[str]:
    """Return the overloads of a method whose first argument names the type of the result."""
    results = []
    for item in module.items():
        results.append((_pointer_names(item), item.pointer()))
        if not is_cast:
            results.append((f'"{_spelled(item)}[]"', item.array()))
    if is_cast:
        results.append(('"void *"', "void_p"))
        results.append((", ".join(f'"{item.name}"' for item in module.items() if item.kind == "scalar"), "_Number"))
        results.append((", ".join(_enums(module)), "_Enum"))
    lines = []
    for names, result in results:
        lines += ["@overload", f"def {method}(self, ctype: Literal[{names}], {parameters}) -> {result}: ..."]
    return [*lines, "@overload", f"def {method}(self, {ctype}, {parameters}) -> _C: ..."]


def _typeof(module: Module) -> list[str]:
    lines = []
    for item in module.items():
        values = [(_pointer_names(item), item.pointer()), (f'"{_spelled(item)}[]"', item.array())]
        if item.kind == "struct":
            values.append((f'"{item.name}"', item.value()))
        for names, result in values:
            lines += ["@overload", f"def typeof(self, ctype: Literal[{names}], /) -> _AnyCTypeOf[{result}]: ..."]
    plain = [f'"{item.name}"' for item in module.items() if item.kind == "scalar"]
    return [
        *lines,
        "@overload",
        'def typeof(self, ctype: Literal["void *"], /) -> _AnyCTypeOf[void_p]: ...',
        "@overload",
        f"def typeof(self, ctype: Literal[{', '.join(plain)}], /) -> _AnyCTypeOf[_Number]: ...",
        "@overload",
        f"def typeof(self, ctype: Literal[{', '.join(_enums(module))}], /) -> _AnyCTypeOf[_Enum]: ...",
        "@overload",
        "def typeof(self, cdata: _C, /) -> _AnyCTypeOf[_C]: ...",
        "@overload",
        "def typeof(self, function: Callable[..., object], /) -> _AnyCType: ...",
    ]


def _function(name: str, parameters: list[tuple[str, CType]], result: CType) -> str:
    arguments = ["self"]
    for parameter, kind in parameters:
        arguments.append(f"{parameter}{'_' * keyword.iskeyword(parameter)}: {kind.argument()}")
    if parameters:
        arguments.append("/")
    return f"def {name}({', '.join(arguments)}) -> {result.value()}: ..."

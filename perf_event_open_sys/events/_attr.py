"""Make an attr from fields of which ``uprobe_path`` and ``kprobe_func`` may be strings."""

from __future__ import annotations

import os

from .._native import ffi
from ..bindings import perf_event_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..bindings import perf_event_attr_p

_POINTER = ffi.typeof("struct perf_event_attr *")
_STRINGS = ("uprobe_path", "kprobe_func")  # the fields that are the address of a string


def c_string(value: str | bytes | os.PathLike[str]) -> bytes:
    """Return the bytes of a path or a function's name, without the NUL that ends it in C.

    Raises:
        ValueError: the string has a NUL in it, where C would end it, or a character that cannot be encoded.
    """
    try:
        text = os.fsencode(value)
    except UnicodeEncodeError as error:
        raise ValueError(f"{value!r} cannot be encoded: {error.reason}") from None
    if b"\0" in text:
        raise ValueError(f"{value!r} has a NUL byte in it, where C would end it")
    return text


def new_attr(fields: dict[str, Any]) -> perf_event_attr_p:
    """Return a new attr of *fields*, of which ``uprobe_path`` or ``kprobe_func`` may be a string.

    A copy of the string lies behind the struct, in the same block of memory: it lives as long as the attr or
    ``attr[0]``.

    Raises:
        ValueError: a string that :func:`c_string` refuses; TypeError, OverflowError: as ``perf_event_attr``.
    """
    for name in _STRINGS:
        if isinstance(fields.get(name), (str, bytes, os.PathLike)):
            return _with_string(fields, name)
    return perf_event_attr(**fields)


def _with_string(fields: dict[str, Any], name: str) -> perf_event_attr_p:
    try:
        string = c_string(fields[name])
    except ValueError as error:
        raise ValueError(f"perf_event_attr.{name}: {error}") from None
    plain = perf_event_attr(**fields | {name: 0})
    block = ffi.new("char[]", bytes(ffi.buffer(plain)) + string)  # with a NUL at its end
    # A struct from ffi.new_allocator() keeps the block that its alloc function returned alive.
    attr: Any = ffi.new_allocator(alloc=lambda _size: block, should_clear_after_alloc=False)(_POINTER)
    setattr(attr, name, int(ffi.cast("uintptr_t", block + len(ffi.buffer(plain)))))
    owned: perf_event_attr_p = attr
    return owned

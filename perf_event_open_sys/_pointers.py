"""Check the type of every pointer that a caller passes, before it is passed to C.

cffi alone accepts too much. For a list or a tuple it makes a temporary array: C fills that, and the caller gets
nothing. And it accepts a ``void *``, such as that of ``ffi.new_handle``, as a pointer to anything.
"""

from __future__ import annotations

from ._memory import keeping
from ._native import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_typeof = ffi.typeof
_CData: Any = ffi.CData


def _refuse(parameter: str, expected: str, value: Any) -> NoReturn:
    given = type(value).__name__
    if isinstance(value, _CData):
        kind = _typeof(value)
        given = f"{kind.cname}, NULL" if kind.kind == "pointer" and not value else kind.cname
    raise TypeError(f"{parameter} must be a {expected}, not {given}")


def _pointer(parameter: str, ctype: str) -> Callable[[Any], Any]:
    """Return a function that checks that its argument points to *ctype*, and returns it.

    An array is accepted as a pointer to its first element, as in C, and a struct as a pointer to itself. Anything else,
    and NULL, is a TypeError that names *parameter*.
    """
    name: Any = f"{ctype} *"  # Any: the stub of ffi.typeof() knows type names only where they are literals
    expected = _typeof(name)

    def check(value: Any) -> Any:
        if isinstance(value, _CData):
            kind = _typeof(value)
            if kind is expected and value:
                return value
            if kind is expected.item:
                return ffi.gc(ffi.addressof(value), keeping(value))  # the address alone does not keep the struct
            if kind.kind == "array" and kind.item is expected.item and len(value):
                return ffi.gc(value + 0, keeping(value))
        _refuse(parameter, expected.cname, value)

    return check


def _array(parameter: str, ctype: Any) -> Callable[[Any], Any]:
    """Return a function that returns its argument if that is an array of *ctype*, and raises TypeError if not."""
    item = _typeof(ctype)

    def check(value: Any) -> Any:
        if isinstance(value, _CData):
            kind = _typeof(value)
            if kind.kind == "array" and kind.item is item:
                return value
        _refuse(parameter, f"{ctype}[]", value)

    return check


attr_pointer = _pointer("attr", "struct perf_event_attr")
page_pointer = _pointer("page", "struct perf_event_mmap_page")
counts_pointer = _pointer("counts", "struct perf_counts")
sample_pointer = _pointer("sample", "struct perf_sample")
counts_array = _array("out", "struct perf_counts")
samples_array = _array("out", "struct perf_sample")
fd_array = _array("fds", "int")

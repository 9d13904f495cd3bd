"""Every pointer that a caller gives is checked for its type here, before C sees it.

cffi alone is too kind: it makes a temporary array of a list or a tuple, to which C then writes in vain, and takes a
``void *``, a handle for example, for any pointer.
"""

from __future__ import annotations

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
    """Return a function that gives a pointer to *ctype* back, and raises TypeError for anything else, NULL included.

    As in C, an array stands for its first element. A struct stands for its address.
    """
    name: Any = f"{ctype} *"  # a name that is not written out is Any to the types of ffi
    expected = _typeof(name)

    def check(value: Any) -> Any:
        if isinstance(value, _CData):
            kind = _typeof(value)
            if kind is expected and value:
                return value
            if kind is expected.item:
                return ffi.addressof(value)
            if kind.kind == "array" and kind.item is expected.item and len(value):
                return value + 0
        _refuse(parameter, expected.cname, value)

    return check


def _array(parameter: str, ctype: Any) -> Callable[[Any], Any]:
    """Return a function that gives an array of *ctype* back, and raises TypeError for anything else."""
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

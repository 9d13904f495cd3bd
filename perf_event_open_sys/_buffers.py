"""The caller's buffers, and parts of memory, as arrays of C."""

from __future__ import annotations

from ._memory import keeping
from ._native import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from ._native import _Buffer
    from .bindings import CData, CType, char_a, char_p, perf_sample_a, perf_sample_p

    _C = TypeVar("_C", bound=CData)

_BYTES = ffi.typeof("char[]")


def array(ctype: CType[_C], pointer: perf_sample_p | perf_sample_a | char_p, size: int) -> _C:
    """Return the *size* bytes from *pointer* on as an array of type *ctype*, which keeps the pointer alive."""
    return ffi.from_buffer(ctype, ffi.buffer(pointer, size))


def from_buffer(buffer: _Buffer, *, require_writable: bool = False) -> char_a:
    """Return ``ffi.from_buffer(buffer)``, which of a memoryview keeps the object behind it alive, and not the memoryview.

    CPython before 3.11.9 and 3.12.3 crashes when its garbage collector meets a memoryview that is in a cycle and whose
    memory is in use. An exception that is kept makes such a cycle easily: it refers to the frames of its traceback, and
    these to the caller's memoryview.
    """
    found = ffi.from_buffer(buffer, require_writable=require_writable)
    if type(buffer) is not memoryview:
        return found
    try:
        owner = ffi.from_buffer(buffer.obj)
    except (BufferError, TypeError, ValueError):  # only a part of that object is contiguous
        return found
    begin, size = ffi.cast("char *", found), len(found)
    ffi.release(found)
    return array(_BYTES, ffi.gc(begin, keeping(owner)), size)

"""Memory that C code fills, and which Python object keeps it alive."""

from __future__ import annotations

import gc

from ._native import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_OWNER = "the owner of the memory"  # the one key of the dictionary that keeping() makes

new_uncleared = ffi.new_allocator(should_clear_after_alloc=False)  # as ffi.new, but the memory is not set to 0


def keeping(owner: Any) -> Callable[[Any], None]:
    """Return a destructor for ``ffi.gc`` that only keeps a reference to *owner*, the object whose memory is pointed to.

    It is the ``get`` method of a dictionary that holds *owner*: like a destructor it takes one argument, and calling it
    is faster than calling a Python function. *owner* does not use a memoryview's memory: see :mod:`._buffers`.
    """
    kept: dict[Any, Any] = {_OWNER: owner}
    return kept.get


def owner_of(pointer: Any) -> Any:
    """Return the object that *pointer* keeps alive by the destructor from :func:`keeping`; None if it has none."""
    for referent in gc.get_referents(pointer):
        kept = getattr(referent, "__self__", None)
        if type(kept) is dict and _OWNER in kept:
            return kept[_OWNER]
    return None

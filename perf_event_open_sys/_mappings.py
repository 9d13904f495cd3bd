"""The mappings that this package has made, each found by the pointer that was handed out for it.

Such a pointer may outlive its mapping: after ``ffi.release``, and in a forked child, where the kernel does not copy the
mapping (``VM_DONTCOPY``) and something else may lie at its address. What is known of it then is here, and its memory is not
touched again.
"""

from __future__ import annotations

import os

from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from .bindings import CType, _Memory, void_p

    _P = TypeVar("_P", bound=_Memory)


class Mapping:
    """What one pointer stands for.

    ``owner`` is the same pointer, which unmaps the memory when the last reference to it goes: a view, or a call into C
    in another thread, keeps the memory by it. It is None once the mapping is gone, and ``gone`` says why.
    """

    __slots__ = ("gone", "owner", "reference", "size", "writable")

    def __init__(self, owner: _Memory, size: int, *, writable: bool) -> None:
        self.owner: Any = owner
        self.size = size  # of the ring, in bytes, as it was mapped: the shared page may say anything later
        self.writable = writable
        self.gone = ""
        self.reference: Any = None


_mappings: dict[int, Mapping] = {}  # by the id() of the pointer that was handed out
groups: dict[Any, Any] = {}  # what ring.drain_into() found out of several pages; empty as soon as one of them is gone
_forks = [0]  # how many forks this process is away from the one that imported the package


def _forked(mappings: dict[int, Mapping] = _mappings, forks: list[int] = _forks) -> None:
    forks[0] += 1
    for mapping in list(mappings.values()):
        mapping.gone = mapping.gone or "belongs to the parent of this process, fork() does not copy it: map it again"
        mapping.owner = None
    groups.clear()


os.register_at_fork(after_in_child=_forked)


def own(ctype: CType[_P], address: void_p, mapped_size: int, ring_size: int, *, writable: bool) -> _P:
    """Return a pointer of *ctype* that owns what was mapped at *address*, until it is released or collected."""
    from weakref import ref

    def unmap(
        address: _P,
        munmap: Any = lib.ring_unmap,  # a name of the module may be None by then, at the end of the interpreter
        forks: list[int] = _forks,
        forks_then: int = _forks[0],
    ) -> None:
        if forks[0] == forks_then:
            munmap(address, mapped_size)

    owner = ffi.gc(ffi.cast(ctype, address), unmap, mapped_size)
    mapping = Mapping(owner, ring_size, writable=writable)

    def release(_: _P, known_groups: dict[Any, Any] = groups) -> None:
        mapping.gone = mapping.gone or "was unmapped: its with block has ended, or it was released"
        mapping.owner = None
        known_groups.clear()

    pointer = ffi.gc(owner, release)
    key = id(pointer)

    def forget(_: Any, mappings: dict[int, Mapping] = _mappings) -> None:
        mappings.pop(key, None)

    mapping.reference = ref(pointer, forget)
    _mappings[key] = mapping
    return pointer


def find(pointer: _P) -> tuple[_P, Mapping] | None:
    """Return the owner of a pointer that :func:`own` has made and what it stands for; None for any other pointer.

    Raises:
        ValueError: the mapping is gone.
    """
    mapping = _mappings.get(id(pointer))
    if mapping is None:
        return None
    owner = mapping.owner  # once: another thread may release it now
    if owner is None:
        raise ValueError(f"the ring {mapping.gone}")
    return owner, mapping

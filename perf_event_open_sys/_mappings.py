"""Keep a note of each mapping that this package has made, found by the pointer that ``ring.map`` returned for it.

Such a pointer may outlive its mapping: after ``ffi.release``, and in a forked child, into which the kernel does not
copy the mapping (``VM_DONTCOPY``), so that something else may lie at its address. The note then says that the mapping
is gone, and nothing reads or writes the memory at that address.
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
    """The note of one mapping.

    ``owner`` is a second pointer to the mapping, of the same type; the memory is unmapped when the last reference to
    ``owner`` goes. A view of the ring, or a thread that is in a call into C, holds a reference, so that the memory is
    not unmapped under it. Once the mapping is released, ``owner`` here is None, and ``gone`` says why.
    """

    __slots__ = ("gone", "owner", "reference", "size", "writable")

    def __init__(self, owner: _Memory, size: int, *, writable: bool) -> None:
        self.owner: Any = owner
        self.size = size  # of the mapped ring in bytes; the page's data_size is not used, others may write to the page
        self.writable = writable
        self.gone = ""
        self.reference: Any = None


_mappings: dict[int, Mapping] = {}  # id() of the pointer that ring.map() returned -> the note
groups: dict[Any, Any] = {}  # ring.drain_into() keeps here what it prepared for its pages; cleared when a mapping goes
_forks = [0]  # how many forks lie between the process that imported the package and this one


def _forked(mappings: dict[int, Mapping] = _mappings, forks: list[int] = _forks) -> None:
    forks[0] += 1
    for mapping in list(mappings.values()):
        mapping.gone = mapping.gone or "belongs to the parent of this process, fork() does not copy it: map it again"
        mapping.owner = None
    groups.clear()


os.register_at_fork(after_in_child=_forked)


def own(ctype: CType[_P], address: void_p, mapped_size: int, ring_size: int, *, writable: bool) -> _P:
    """Return a pointer of type *ctype* to the memory mapped at *address*, which it owns.

    The memory is unmapped when the pointer is released (``with``, ``ffi.release``) or collected.
    """
    from weakref import ref

    def unmap(
        address: _P,
        munmap: Any = lib.ring_unmap,  # a default, since at the interpreter's end a module's names may be None
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
    """Return the ``owner`` and the note of the mapping that :func:`own` made *pointer* for; None for other pointers.

    Raises:
        ValueError: the mapping is gone.
    """
    mapping = _mappings.get(id(pointer))
    if mapping is None:
        return None
    owner = mapping.owner  # read once: another thread may release the mapping between two reads
    if owner is None:
        raise ValueError(f"the ring {mapping.gone}")
    return owner, mapping

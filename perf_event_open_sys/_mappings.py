"""Keep a note of each mapping that this package has made, found by the pointer that ``ring.map`` returned for it.

Such a pointer may outlive its mapping: after ``ffi.release``, and in a forked child, into which the kernel does not
copy the mapping (``VM_DONTCOPY``), so that something else may lie at its address. The note then says that the mapping
is gone, and nothing reads or writes the memory at that address.
"""

from __future__ import annotations

import os
from _weakref import ref  # the C part of weakref: no file is opened for it, so that EMFILE cannot refuse a ring

from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _P = TypeVar("_P", bound=Any)
    _G = TypeVar("_G")


class Mapping:
    """The note of one mapping.

    ``owner`` is a second pointer to the mapping, of the same type; the memory is unmapped when the last reference to
    ``owner`` goes. A view of the ring, or a thread that is in a call into C, holds a reference, so that the memory is
    not unmapped under it. Once the mapping is released, ``owner`` here is None, and ``gone`` says why.
    """

    __slots__ = ("gone", "owner", "reference", "size", "writable")

    def __init__(self, owner: Any, size: int, *, writable: bool) -> None:
        self.owner: Any = owner
        self.size = size  # of the mapped ring in bytes; the page's data_size is not used, others may write to the page
        self.writable = writable
        self.gone = ""
        self.reference: Any = None


_mappings: dict[int, Mapping] = {}  # id() of the pointer that ring.map() returned -> the note
_groups: dict[Any, Any] = {}  # what ring.drain_into() prepared for its pages; cleared when a mapping goes
_version = [0]  # how many mappings have gone
_GROUPS_KEPT = 64
_forks = [0]  # how many forks lie between the process that imported the package and this one


def _forked(mappings: dict[int, Mapping] = _mappings, forks: list[int] = _forks) -> None:
    forks[0] += 1
    for mapping in list(mappings.values()):
        mapping.gone = mapping.gone or "belongs to the parent of this process, fork() does not copy it: map it again"
        mapping.owner = None
    _version[0] += 1
    _groups.clear()


os.register_at_fork(after_in_child=_forked)


def own(ctype: Any, address: Any, mapped_size: int, ring_size: int, *, writable: bool) -> Any:
    """Return a pointer of type *ctype* to the memory mapped at *address*, which it owns.

    The memory is unmapped when the pointer is released (``with``, ``ffi.release``) or collected.
    """

    def unmap(
        address: Any,
        munmap: Any = lib.ring_unmap,  # a default, since at the interpreter's end a module's names may be None
        forks: list[int] = _forks,
        forks_then: int = _forks[0],
    ) -> None:
        if forks[0] == forks_then:
            munmap(address, mapped_size)

    owner = ffi.gc(ffi.cast(ctype, address), unmap, mapped_size)
    mapping = Mapping(owner, ring_size, writable=writable)

    def release(_: Any, known_groups: dict[Any, Any] = _groups, version: list[int] = _version) -> None:
        mapping.gone = mapping.gone or "was unmapped: its with block has ended, or it was released"
        mapping.owner = None
        version[0] += 1
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


def group(key: tuple[int, ...], prepare: Callable[[], _G]) -> _G:
    """Return what *prepare* returned for the pages whose id() are *key*: from an earlier call, if none has gone since."""
    known: _G | None = _groups.get(key)
    if known is not None:
        return known
    before = _version[0]
    prepared = prepare()
    if len(_groups) > _GROUPS_KEPT:
        _groups.clear()
    if all(number in _mappings for number in key):  # when a mapping of the caller's own goes, nobody says so
        _groups[key] = prepared
        if _version[0] != before:  # a mapping went during the preparation, or before the line above
            _groups.pop(key, None)
    return prepared

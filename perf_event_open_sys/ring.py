"""Map and read the ring buffer of an event, into which the kernel writes its records.

A ring is represented by its control page, a ``struct perf_event_mmap_page *``. Only one thread at a time may read from
a ring; the kernel may write to it meanwhile. All functions copy the records out of the ring, except :func:`data`.

Every function raises ``ValueError`` for a page whose mapping is gone: it was released, or this process is a forked
child of the one that mapped it. A page that the caller has mapped without :func:`map` is accepted; the sizes of its
rings are read from the page.

Source: perf_event_open(2), "MMAP layout"; the kernel's ``kernel/events/ring_buffer.c``.
"""

from __future__ import annotations

import builtins
import os
from errno import EBADMSG, ENOBUFS

from . import errors
from ._buffers import from_buffer
from ._mappings import find, group, own
from ._memory import new_uncleared
from ._native import ffi, lib
from ._pointers import page_pointer
from ._walk import CorruptRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn, TypeVar

    from ._native import _Buffer
    from .bindings import (
        CType,
        _Memory,
        _perf_event_mmap_page_p_a,
        perf_event_mmap_page_p,
        uint8_t_a,
        uint8_t_p,
        uint64_t_a,
    )

    _P = TypeVar("_P", bound=_Memory)

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_PAGE = ffi.typeof("struct perf_event_mmap_page *")
_AUX = ffi.typeof("uint8_t *")
_PAGES = ffi.typeof("struct perf_event_mmap_page *[]")
_SIZES = ffi.typeof("uint64_t[]")
_SHARES = ffi.typeof("struct ring_share[]")
_NEEDED = ffi.typeof("size_t *")


def _ring(page: perf_event_mmap_page_p, *, writable: bool = False) -> tuple[perf_event_mmap_page_p, int]:
    """Return a pointer that keeps the mapping of *page* alive, and the size of the data ring in bytes (0: no data ring)."""
    found = find(page)
    if found is None:
        page = page_pointer(page)
        return page, lib.ring_data_size(page)
    owner, mapping = found
    if writable and not mapping.writable:
        raise ValueError("the ring is mapped read-only (overwrite=True): use snapshot_into")
    return owner, mapping.size


def _map(ctype: CType[_P], fd: int, pages: int, *, offset: int = 0, writable: bool = True) -> _P:
    """Map a ring of *pages* pages at *offset* of the event's file; at offset 0, one page more: the control page."""
    event_id = ffi.new("uint64_t *")
    ring_size = pages * _PAGE_SIZE
    size = ring_size + (0 if offset else _PAGE_SIZE)
    address = ffi.NULL
    # The ioctl fails for a file that is no event, for which mmap could succeed.
    if not lib.ioctl_id(fd, event_id):
        address = lib.ring_map(fd, size, offset, writable)
    if not address:
        errors.map_refused(fd, size // _PAGE_SIZE, "AUX ring" if offset else "ring")
    pointer: _P = own(ctype, address, size, ring_size, writable=writable)
    return pointer


def map(fd: int, data_pages: int, *, overwrite: bool = False) -> perf_event_mmap_page_p:  # noqa: A001 - what it does
    """Map the ring of an event; return its ``struct perf_event_mmap_page *``, which owns the mapping.

    It is unmapped at the end of a ``with`` block, by ``ffi.release``, or when collected. A mapped ring keeps the event
    alive after ``os.close(fd)``.

    Args:
        fd: the event.
        data_pages: the size of the ring in pages: a power of two, or 0 for the control page alone. On most machines the
            rings of an ordinary user together may have 128 pages of 4 KiB (``kernel.perf_event_mlock_kb``) for each
            online CPU, and beyond that what ``RLIMIT_MEMLOCK`` allows.
        overwrite: True maps the ring read-only: the kernel then overwrites the oldest records, read or not. Open the
            event with ``attr.write_backward``, and read the ring by :func:`snapshot_into`.

    Raises:
        ValueError: *data_pages* is no power of two.
        OSError: ``EPERM`` where ``kernel.perf_event_mlock_kb`` is used up, ``EINVAL`` for an inherited per-task event,
            ``ENOTTY`` where *fd* is no event, …
    """
    data_pages = range(data_pages).stop  # a Python int, whatever integer was given: NumPy's would wrap when multiplied
    if data_pages < 0 or data_pages & (data_pages - 1):
        raise ValueError(f"data_pages is {data_pages}, and must be a power of two or 0")
    return _map(_PAGE, fd, data_pages, writable=not overwrite)


def head(page: perf_event_mmap_page_p) -> int:
    """Return ``data_head``, the position where the kernel writes next, loaded with acquire order.

    Positions are 64-bit byte counts, not reduced modulo the ring's size: position ``p`` is at index ``p %
    page.data_size`` of :func:`data`. They grow; in a ring that is written backward ``data_head`` counts down from
    2**64.
    """
    return lib.ring_head(_ring(page)[0])


def tail(page: perf_event_mmap_page_p) -> int:
    """Return ``data_tail``, the position up to which the ring was read; see :func:`head`."""
    return lib.ring_tail(_ring(page)[0])


def set_tail(page: perf_event_mmap_page_p, tail: int) -> None:
    """Set ``data_tail``, with release order: the kernel may overwrite everything before the position *tail*.

    Raises:
        ValueError: *page* is gone, or mapped read-only (``overwrite=True``).
    """
    lib.ring_set_tail(_ring(page, writable=True)[0], tail)


def data(page: perf_event_mmap_page_p) -> memoryview:
    """Return the data pages as a read-only memoryview, which keeps the ring mapped as long as the view exists.

    Position ``p`` is at index ``p % page.data_size``. Bytes before the tail may change at any time.
    """
    owner, data_size = _ring(page)
    return memoryview(ffi.buffer(owner, _PAGE_SIZE + data_size))[_PAGE_SIZE:].toreadonly()


def read_into(page: perf_event_mmap_page_p, buffer: _Buffer) -> int:
    """Move as many whole records as fit into *buffer*, oldest first; return their size in bytes, 0 if there are none.

    ``data_head`` is loaded once, ``data_tail`` stored once. A record that continues at the start of the ring is joined.

    Args:
        page: the ring, from :func:`map`.
        buffer: any writable buffer, of 64 KiB or more: no record is larger.

    Raises:
        BufferError: *buffer* is smaller than the next record (the message says how large that is), or not writable or
            contiguous. Nothing is consumed.
        CorruptRecord: the next record's header cannot be one; earlier calls have returned the records before it.
            Headers are only looked at if *buffer* is smaller than what the ring holds.
        ValueError: *page* is gone, mapped read-only (``overwrite=True``), or not a ring that is read forward.

    Source: the kernel's ``__perf_output_begin``, ``perf_output_put_handle``.
    """
    owner, data_size = _ring(page, writable=True)
    target = from_buffer(buffer, require_writable=True)
    size = lib.ring_read_sized(owner, data_size, target, len(target))
    if size < 0:
        _failed(owner, data_size, len(target))
    return size


def read(page: perf_event_mmap_page_p) -> bytearray:
    """Return all whole records that are in the ring now, and consume them; exceptions as for :func:`read_into`."""
    owner, data_size = _ring(page)
    size = (lib.ring_head(owner) - lib.ring_tail(owner)) % 2**64
    # A ring that looks empty gets 64 KiB, the largest record there can be, for a record that arrives now.
    buffer = bytearray((size or 1 << 16) if size <= data_size else 0)
    del buffer[read_into(page, buffer) :]
    return buffer


def drain_into(pages: Sequence[perf_event_mmap_page_p], buffer: _Buffer) -> int:
    """Move the records of many rings into *buffer*, ring after ring, in one call into C; return their size in bytes.

    As many whole records as fit are moved; the others stay in their rings. If not all fit, each ring gets an equal
    share of *buffer*, or its next record where that alone is larger than a share. What small rings do not use of their
    shares goes to the rings that have more. If *buffer* does not hold the next record of every ring, the rings of which
    least has been consumed so far get theirs. No ring starves. The records of each ring are in order;
    ``records.parse(…).sort_by_time()`` puts those of all rings in order.

    If the function raises, nothing was consumed from any ring, and for an error of one page the exception's ``index``
    is that page's index in *pages*.

    Args:
        pages: rings, from :func:`map`, that only the calling thread reads now.
        buffer: any writable buffer; one as large as all rings together takes everything that they hold.

    Raises:
        BufferError: there are records, and *buffer* is smaller than the next record of every ring; or it is not
            writable or contiguous.
        CorruptRecord: a ring has more than its share, and its next record's header cannot be one.
        ValueError: a page is gone, mapped read-only, given twice, or not a ring that is read forward.
    """
    pages = tuple(pages)  # another thread may change a list meanwhile
    owners, pointers, sizes = group(tuple(builtins.map(id, pages)), lambda: _prepare(pages))
    target = from_buffer(buffer, require_writable=True)
    shares, needed = new_uncleared(_SHARES, len(sizes)), ffi.new(_NEEDED)
    size = lib.ring_drain(pointers, sizes, len(sizes), target, len(target), shares, needed)
    if size >= 0:
        return size
    if ffi.errno == ENOBUFS:
        raise BufferError(f"the next records have {needed[0]} bytes or more, and the buffer {len(target)}")
    place = needed[0]
    try:
        _failed(owners[place], sizes[place], len(target))
    except ValueError as error:
        error.index = place  # type: ignore[attr-defined]
        raise


def _prepare(
    pages: Sequence[perf_event_mmap_page_p],
) -> tuple[list[perf_event_mmap_page_p], _perf_event_mmap_page_p_a, uint64_t_a]:
    """Return a list of pointers that keep *pages* mapped, and arrays for C of the pages and of their rings' sizes."""
    owners, sizes, addresses = [], [], set()
    for place, page in enumerate(pages):
        try:
            owner, size = _ring(page, writable=True)
            if int(ffi.cast("uintptr_t", owner)) in addresses:
                raise ValueError("a page is given twice: its records would be read twice")
        except (TypeError, ValueError) as error:
            error.index = place  # type: ignore[union-attr]
            raise
        addresses.add(int(ffi.cast("uintptr_t", owner)))
        owners.append(owner)
        sizes.append(size)
    return owners, ffi.new(_PAGES, owners), ffi.new(_SIZES, sizes)


def snapshot_into(page: perf_event_mmap_page_p, buffer: _Buffer) -> int:
    """Copy the records that a ring written backward holds, newest first; return their size in bytes.

    The event was opened with ``attr.write_backward``, and the ring mapped with ``overwrite=True``. Nothing is consumed,
    and the kernel goes on overwriting the oldest records, unless ``ioctls.pause_output`` stops it. Records that were
    overwritten during the copy are left out. If the kernel is writing, so are the oldest of the others, as many bytes
    as the largest record has: the kernel may be writing a record there.

    Args:
        page: the ring, from :func:`map`.
        buffer: any writable buffer; one as large as the ring takes everything.

    Raises:
        BufferError: *buffer* is smaller than the newest record, or not writable or contiguous.
        ValueError: *page* is gone, or not a ring that is written backward.

    Source: the kernel's ``__perf_output_begin``, for ``write_backward``.
    """
    owner, data_size = _ring(page)
    target = from_buffer(buffer, require_writable=True)
    size = lib.ring_snapshot_sized(owner, data_size, target, len(target))
    if size < 0:
        if ffi.errno == ENOBUFS:
            raise BufferError(f"the newest record does not fit into {len(target)} bytes")
        raise ValueError(f"not a ring that is written backward: data_head is {lib.ring_head(owner):#x}")
    return size


def map_aux(fd: int, page: perf_event_mmap_page_p, aux_pages: int) -> uint8_t_p:
    """Map the AUX ring of an event; return a ``uint8_t *``, which owns the mapping as the pointer from :func:`map` does.

    The kernel wants ``page.aux_offset`` and ``page.aux_size`` to be set before: this function sets them, and restores
    them if the kernel refuses the mapping.

    Args:
        fd: the event, of a PMU with an AUX area: Intel PT and BTS, ARM SPE and CoreSight, …
        page: its ring, from :func:`map`.
        aux_pages: the size of the AUX ring in pages: a power of two.

    Raises:
        ValueError: *aux_pages* is no power of two, or *page* is gone.
        OSError: ``EINVAL``, ``EOPNOTSUPP`` where the PMU has no AUX area.
    """
    aux_pages = range(aux_pages).stop
    if aux_pages <= 0 or aux_pages & (aux_pages - 1):
        raise ValueError(f"aux_pages is {aux_pages}, and must be a power of two")
    owner, data_size = _ring(page, writable=True)
    before = owner.aux_offset, owner.aux_size
    try:
        owner.aux_offset, owner.aux_size = _PAGE_SIZE + data_size, aux_pages * _PAGE_SIZE
        return _map(_AUX, fd, aux_pages, offset=_PAGE_SIZE + data_size)
    except BaseException:
        owner.aux_offset, owner.aux_size = before
        raise


def read_aux_into(page: perf_event_mmap_page_p, aux: uint8_t_p | uint8_t_a, buffer: _Buffer) -> int:
    """Copy the unread bytes of the AUX ring into *buffer*, oldest first, as many as fit; return how many.

    ``aux_tail`` is advanced past them: the kernel may overwrite them. ``aux_head`` and ``aux_tail`` are positions that
    only grow, as ``data_head`` and ``data_tail``.

    Args:
        page: the ring, from :func:`map`.
        aux: its AUX ring: the pointer from :func:`map_aux`, or a ``uint8_t[]`` over a mapping of the caller's that has
            at least ``page.aux_size`` bytes.
        buffer: any writable buffer.

    Raises:
        BufferError: *buffer* is not writable or contiguous.
        ValueError: *page* or *aux* is gone, or *page* describes no AUX ring.

    Source: the kernel's ``perf_aux_output_begin``, ``perf_aux_output_end``.
    """
    owner, _ = _ring(page, writable=True)
    aux, aux_size = _aux_ring(aux, owner)
    target = from_buffer(buffer, require_writable=True)
    size = lib.ring_read_aux_sized(owner, aux, aux_size, target, len(target))
    if size < 0:
        raise ValueError(f"not an AUX ring: size {aux_size}, head {owner.aux_head}, tail {owner.aux_tail}")
    return size


def _aux_ring(aux: uint8_t_p | uint8_t_a, page: perf_event_mmap_page_p) -> tuple[uint8_t_p | uint8_t_a, int]:
    """Return a pointer that keeps *aux* mapped, and the size of the AUX ring in bytes; 0 if *aux* is a shorter array."""
    kind = ffi.typeof(aux) if isinstance(aux, ffi.CData) else None
    if kind is _AUX and aux:
        found = find(aux)
        return (found[0], found[1].size) if found else (aux, page.aux_size)
    if kind and kind.kind == "array" and kind.item is _AUX.item:
        size = page.aux_size  # read once: others may write to the page
        return aux, size if size <= ffi.sizeof(aux) else 0
    raise TypeError(f"aux must be a uint8_t *, not {kind.cname if kind else type(aux).__name__}")


def _failed(page: perf_event_mmap_page_p, data_size: int, room: int) -> NoReturn:
    if ffi.errno == ENOBUFS:
        raise BufferError(
            f"the next record has {lib.ring_next_size_sized(page, data_size)} bytes, and the buffer {room}"
        )
    if ffi.errno == EBADMSG:
        raise CorruptRecord(lib.ring_tail(page) % data_size)
    raise ValueError(
        f"not a ring that is read forward: data_offset {page.data_offset:#x}, data_size {page.data_size:#x}, "
        f"data_head {page.data_head:#x}, data_tail {page.data_tail:#x}"
    )

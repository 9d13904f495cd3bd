"""The mapped ring of an event: records from the kernel, in order, without a lock.

A ring is its control page, a ``struct perf_event_mmap_page *``. One thread at a time may consume a ring; the kernel writes
it meanwhile from any CPU. What is handed out are copies, except for :func:`data`.

Source: perf_event_open(2), "MMAP layout"; the kernel's ``kernel/events/ring_buffer.c``.
"""

from __future__ import annotations

import os
from errno import EBADMSG, ENOBUFS

from . import errors
from ._native import ffi, lib
from .records import CorruptRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ._native import CData

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_PAGE = ffi.typeof("struct perf_event_mmap_page *")

_read_only: set[CData] = set()  # the mapped pages whose tail cannot be written


def _mapped(ctype: Any, fd: int, pages: int, offset: int, *, writable: bool) -> CData:
    """Map *pages* from *offset* on, and before them the control page where that is 0."""
    size = (pages + (offset == 0)) * _PAGE_SIZE
    address = lib.ring_map(fd, size, offset, writable)
    if not address:
        errors.map_refused(fd, pages)
    pointer = ffi.cast(ctype, address)

    def unmap(pointer: CData) -> None:
        _read_only.discard(pointer)
        lib.ring_unmap(pointer, size)

    if not writable:
        _read_only.add(pointer)
    return ffi.gc(pointer, unmap, size)


def map(fd: int, data_pages: int, *, overwrite: bool = False) -> CData:  # noqa: A001 - what it does
    """Map the ring of an event; return its ``struct perf_event_mmap_page *``, which owns the mapping.

    It is unmapped at the end of a ``with`` block, by ``ffi.release``, or when collected; the pointer is not to be used
    after. A mapped ring keeps the event alive after ``os.close(fd)``.

    Args:
        fd: the event.
        data_pages: the size of the ring in pages: a power of two, or 0 for the control page alone.
        overwrite: let the kernel overwrite what was not read: the mapping is read-only, and with ``attr.write_backward``
            :func:`snapshot_into` reads it.

    Raises:
        ValueError: *data_pages* is no power of two.
        OSError: ``EPERM`` where ``kernel.perf_event_mlock_kb`` is used up, ``EINVAL`` for an inherited per-task event, …
    """
    if data_pages < 0 or data_pages & (data_pages - 1):
        raise ValueError(f"data_pages is {data_pages}, and must be a power of two or 0")
    return _mapped(_PAGE, fd, data_pages, 0, writable=not overwrite)


def head(page: CData) -> int:
    """Return where the kernel writes next: 64-bit and monotonic, loaded with acquire order."""
    return lib.ring_head(page)


def tail(page: CData) -> int:
    """Return how far the ring was read: 64-bit and monotonic."""
    return lib.ring_tail(page)


def set_tail(page: CData, tail: int) -> None:
    """Give the room before *tail* back to the kernel, with release order."""
    _must_be_writable(page)
    lib.ring_set_tail(page, tail)


def data(page: CData) -> memoryview:
    """Return the data pages as a read-only memoryview, which keeps the mapping.

    Position ``p`` is at index ``p % page.data_size``. Bytes before the tail may change at any time.
    """
    end = page.data_offset + page.data_size
    return memoryview(ffi.buffer(page, end))[page.data_offset :].toreadonly()


def read_into(page: CData, buffer: Any) -> int:
    """Move as many whole records as fit into *buffer*, oldest first; return their size in bytes, 0 if there are none.

    The head is loaded once and the tail stored once. Records that wrap are joined.

    Raises:
        BufferError: *buffer* is smaller than the next record (the message says how large that is), or not writable or
            contiguous. Nothing is consumed.
        CorruptRecord: the next record's header cannot be one. Those before it were delivered.
        ValueError: *page* is no ring that is read forward.
    """
    if _read_only:
        _must_be_writable(page)
    target = ffi.from_buffer(buffer, require_writable=True)
    size = lib.ring_read(page, target, len(target))
    if size < 0:
        _failed(page, len(target))
    return size


def read(page: CData) -> bytearray:
    """Return all whole records that are there now, as :func:`read_into`."""
    size = (lib.ring_head(page) - lib.ring_tail(page)) % 2**64
    # A record that comes between the two looks at an empty ring finds room too: its size is a u16.
    buffer = bytearray((size or 1 << 16) if size <= page.data_size else 0)
    del buffer[read_into(page, buffer) :]
    return buffer


def snapshot_into(page: CData, buffer: Any) -> int:
    """Copy what an overwritten ring holds, newest record first, up to the first torn one; return the size in bytes.

    For :func:`map` with ``overwrite=True`` of an event with ``attr.write_backward``. Nothing is consumed, and the kernel
    goes on writing over the oldest unless ``ioctls.pause_output`` stops it. Of a ring that is being written, what was
    overwritten meanwhile is left out, and the room of one more record, as large as any of these: it may be half there.

    Raises:
        BufferError: *buffer* is smaller than the newest record, or not writable or contiguous.
        ValueError: *page* is no ring that is written backward.
    """
    target = ffi.from_buffer(buffer, require_writable=True)
    size = lib.ring_snapshot(page, target, len(target))
    if size < 0:
        if ffi.errno == ENOBUFS:
            raise BufferError(f"the newest record does not fit into {len(target)} bytes")
        raise ValueError(f"not a ring that is written backward: data_head is {page.data_head:#x}")
    return size


def map_aux(fd: int, page: CData, aux_pages: int) -> CData:
    """Map the AUX ring of an event behind its data ring; return an owned ``uint8_t *``, as :func:`map`.

    *aux_pages* is a power of two. ``page.aux_offset`` and ``page.aux_size`` are set, as the kernel asks.

    Raises:
        ValueError: *aux_pages* is no power of two.
        OSError: ``EINVAL``, ``EOPNOTSUPP`` where the PMU has no AUX area.
    """
    if aux_pages <= 0 or aux_pages & (aux_pages - 1):
        raise ValueError(f"aux_pages is {aux_pages}, and must be a power of two")
    _must_be_writable(page)
    page.aux_offset = page.data_offset + page.data_size
    page.aux_size = aux_pages * _PAGE_SIZE
    return _mapped("uint8_t *", fd, aux_pages, page.aux_offset, writable=True)


def read_aux_into(page: CData, aux: CData, buffer: Any) -> int:
    """Move what is in the AUX ring into *buffer*, oldest first, as much as fits; return its size in bytes.

    ``aux_head`` and ``aux_tail`` are monotonic, 64-bit, and never masked when stored.

    Raises:
        BufferError: *buffer* is not writable or contiguous.
        ValueError: *page* describes no AUX ring.
    """
    _must_be_writable(page)
    target = ffi.from_buffer(buffer, require_writable=True)
    size = lib.ring_read_aux(page, aux, target, len(target))
    if size < 0:
        raise ValueError(f"not an AUX ring: size {page.aux_size}, head {page.aux_head}, tail {page.aux_tail}")
    return size


def _must_be_writable(page: CData) -> None:
    if page in _read_only:
        raise ValueError("the ring is mapped read-only (overwrite=True): use snapshot_into")


def _failed(page: CData, room: int) -> NoReturn:
    if ffi.errno == ENOBUFS:
        raise BufferError(f"the next record has {lib.ring_next_size(page)} bytes, and the buffer {room}")
    if ffi.errno == EBADMSG:
        raise CorruptRecord(lib.ring_tail(page) % page.data_size)
    raise ValueError(
        f"not a ring that is read forward: data_offset {page.data_offset:#x}, data_size {page.data_size:#x}, "
        f"data_head {page.data_head:#x}, data_tail {page.data_tail:#x}"
    )

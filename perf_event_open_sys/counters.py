"""Counts of events: one, a group, or many at once, in any of the 32 read formats.

A count is a ``struct perf_counts *``: ``value``, ``time_enabled`` and ``time_running`` in nanoseconds, ``id``, ``lost``;
a field that the format lacks is 0. Pass the attr's own ``read_format``.

Source: perf_event_open(2), "Reading results"; the kernel's ``perf_read_group``, ``perf_read_one``.
"""

from __future__ import annotations

from errno import EBADMSG, ENOBUFS, ENODATA

from . import errors
from ._mappings import find
from ._native import ffi, lib
from ._pointers import counts_array, counts_pointer, fd_array, page_pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from .bindings import int_a, perf_counts_a, perf_counts_p, perf_counts_s, perf_event_mmap_page_p

_COUNTS = ffi.typeof("struct perf_counts *")
_COUNTS_ARRAY = ffi.typeof("struct perf_counts[]")
_FDS = ffi.typeof("int[]")
_SIZE = ffi.typeof("size_t *")
_WORDS = ffi.typeof("uint64_t[]")
_new = ffi.new
_read = lib.counters_read
_read_many = lib.counters_read_many


def read(fd: int, read_format: int = 0) -> list[perf_counts_p]:
    """Read an event, or with ``PERF_FORMAT_GROUP`` all of its group: one ``struct perf_counts *`` each, leader first.

    Raises:
        EOFError: a pinned event has lost its place on the PMU, and counts no more.
        ValueError: *read_format* is not the event's.
        OSError: as read(2).
    """
    counts = _new(_COUNTS)
    nr = _read(fd, read_format, counts, 1)
    if nr == 1:
        return [counts]
    if nr <= 0:
        _failed(nr, fd, read_format)
    room = 0
    while nr > room:  # a group may grow between two reads
        room = nr
        members = _new(_COUNTS_ARRAY, room)
        nr = _read(fd, read_format, members, room)
    if nr <= 0:
        _failed(nr, fd, read_format)
    return [_new(_COUNTS, members[i]) for i in range(nr)]


def read_into(fds: Sequence[int] | int_a, read_format: int, out: perf_counts_a) -> int:
    """Read many events in one call into C, which releases the GIL once; return how many elements of *out* were filled.

    Args:
        fds: a sequence of ints or, fastest, an ``int[]``; all events have the same *read_format*.
        read_format: with ``PERF_FORMAT_GROUP`` each fd fills an element for each member of its group.
        out: a ``struct perf_counts[]`` with room for all.

    Raises:
        BufferError: *out* is too small.
        EOFError, ValueError, OSError: as :func:`read`, for the first event that fails, which is named; the exception's
            ``index`` is its place in *fds*. The counts of those before it are in *out*.
    """
    array: int_a = (
        fd_array(fds)
        if isinstance(fds, ffi.CData)
        else _new(_FDS, fds if isinstance(fds, (list, tuple)) else list(fds))
    )
    failed = _new(_SIZE)
    filled = _read_many(array, len(array), read_format, counts_array(out), len(out), failed)
    if filled < 0:
        if ffi.errno == ENOBUFS:
            raise BufferError(f"{len(out)} elements are too few for the counts of {len(array)} events")
        try:
            _failed(0 if ffi.errno == ENODATA else -1, array[failed[0]], read_format)
        except (EOFError, ValueError, OSError) as error:
            error.index = failed[0]  # type: ignore[union-attr]
            raise
    return filled


def scaled(counts: perf_counts_p | perf_counts_s) -> int | None:
    """Return the estimate ``value * time_enabled // time_running`` for an event that shared its counter.

    Exact: the product has 128 bits. The value itself where the format has no times; None where the event was enabled and
    never ran, so that nothing is known.
    """
    words = _new(_WORDS, 2)
    if not lib.counters_scale(counts_pointer(counts), words):
        return None
    return int(words[1] << 64 | words[0])


def read_user(page: perf_event_mmap_page_p, out: perf_counts_p | None = None) -> perf_counts_p | None:
    """Read an event of the calling thread without a system call, from its mapped control page.

    The event must be one of this thread (pid 0, cpu -1). On x86 it is read by ``rdpmc``, on arm64
    (``kernel.perf_user_access``) by the PMU's registers, on riscv64 by its CSRs.

    Args:
        page: the event's control page, from ``ring.map(fd, 0)`` or with a ring.
        out: a ``struct perf_counts *`` to fill; a new one unless given.

    Returns:
        *out*, with ``value`` and both times; None where the kernel or the architecture allows no such read: then
        :func:`read` the file descriptor.

    Raises:
        ValueError: the page was unmapped, or belongs to the parent of this process.

    Source: perf_event_open(2), ``struct perf_event_mmap_page``; the kernel's ``perf_event_update_userpage``.
    """
    found = find(page)
    counts = _new(_COUNTS) if out is None else counts_pointer(out)
    return counts if lib.counters_read_user(found[0] if found else page_pointer(page), counts) else None


def _failed(nr: int, fd: int, read_format: int) -> NoReturn:
    if nr == 0:
        raise EOFError(
            f"read of event {fd}: end of file. A pinned event could not be kept on its PMU and counts no more"
        )
    if ffi.errno == EBADMSG:
        raise ValueError(f"read_format {read_format:#x} does not describe what was read from event {fd}")
    errors.refused(f"read of event {fd}")

"""Counts of events: one, a group, or many at once, in any of the 32 read formats.

A count is a ``struct perf_counts *``: ``value``, ``time_enabled`` and ``time_running`` in nanoseconds, ``id``, ``lost``;
a field that the format lacks is 0. *read_format* is the one of the attr the event was opened with.

Source: perf_event_open(2), "Reading results"; the kernel's ``perf_read_group``, ``perf_read_one``.
"""

from __future__ import annotations

from errno import EBADMSG, ENOBUFS, ENODATA

from . import errors
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from ._native import CData

_COUNTS = ffi.typeof("struct perf_counts *")
_COUNTS_ARRAY = ffi.typeof("struct perf_counts[]")
_SIZE = ffi.typeof("size_t *")
_WORDS = ffi.typeof("uint64_t[2]")
_new = ffi.new
_read = lib.counters_read
_read_many = lib.counters_read_many


def read(fd: int, read_format: int = 0) -> list[CData]:
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


def read_into(fds: Sequence[int] | CData, read_format: int, out: CData) -> int:
    """Read many events into *out*, a ``struct perf_counts[]``; return how many of its elements were filled.

    *fds* is a sequence of ints or, fastest, an ``int[]``; all have the same *read_format*. With ``PERF_FORMAT_GROUP`` each
    fills an element per member. One call into C, which releases the GIL once.

    Raises:
        BufferError: *out* is too small.
        EOFError, ValueError, OSError: as :func:`read`, for the first that fails, which is named.
    """
    if not isinstance(fds, (list, tuple, ffi.CData)):
        fds = list(fds)
    failed = _new(_SIZE)
    filled = _read_many(fds, len(fds), read_format, out, len(out), failed)
    if filled < 0:
        if ffi.errno == ENOBUFS:
            raise BufferError(f"{len(out)} elements are too few for the counts of {len(fds)} files")
        _failed(0 if ffi.errno == ENODATA else -1, fds[failed[0]], read_format)
    return filled


def scaled(counts: CData) -> int | None:
    """Return the estimate ``value * time_enabled // time_running`` for an event that shared its counter.

    Exact: the product has 128 bits. The value itself where the format has no times; None where the event was enabled and
    never ran, so that nothing is known.
    """
    pointer = counts if ffi.typeof(counts) is _COUNTS else ffi.addressof(counts)  # an element of an array
    words = _new(_WORDS)
    if not lib.counters_scale(pointer, words):
        return None
    return int(words[1] << 64 | words[0])


def read_user(page: CData, out: CData | None = None) -> CData | None:
    """Read an event of the calling thread without a system call, from its mapped control page.

    Returns *out*, a ``struct perf_counts *`` (a new one unless given) with ``value`` and both times; None where the kernel
    or the architecture allows no such read: then read the file. The event must be one of this thread (pid 0, cpu -1).
    On x86 by ``rdpmc``, on arm64 (``kernel.perf_user_access``) by the PMU's registers, on riscv64 by its CSRs.

    Source: perf_event_open(2), ``struct perf_event_mmap_page``; the kernel's ``perf_event_update_userpage``.
    """
    counts = _new(_COUNTS) if out is None else out
    return counts if lib.counters_read_user(page, counts) else None


def _failed(nr: int, fd: int, read_format: int) -> NoReturn:
    if nr == 0:
        raise EOFError(
            f"read of event {fd}: end of file. A pinned event could not be kept on its PMU and counts no more"
        )
    if ffi.errno == EBADMSG:
        raise ValueError(f"read_format {read_format:#x} does not describe what was read from event {fd}")
    errors.refused(f"read of event {fd}")

"""Read the counts of one event, of a group, or of many events at once, in any of the 32 read formats.

A count is a ``struct perf_counts *`` with the fields ``value``, ``time_enabled`` and ``time_running`` (in nanoseconds),
``id`` and ``lost``; a field that the read format does not ask for is 0. The argument ``read_format`` of the functions
must be the ``attr.read_format`` that the event was opened with.

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
    """Read the count of an event, or, with ``PERF_FORMAT_GROUP``, the counts of all events of its group.

    Args:
        fd: the event; to read a group, its leader.
        read_format: the ``attr.read_format`` that the event was opened with.

    Returns:
        A ``struct perf_counts *`` for each event, the leader's first; each owns its memory.

    Raises:
        EOFError: the event is pinned and could not be kept on its PMU: it counts no more.
        ValueError: *read_format* is not the event's.
        OSError: read(2) failed.

    Source: the kernel's ``perf_read``.
    """
    counts = _new(_COUNTS)
    nr = _read(fd, read_format, counts, 1)
    if nr == 1:
        return [counts]
    room = 1
    while nr > room:  # again if the group has grown since the last read
        room = nr
        members = _new(_COUNTS_ARRAY, room)
        nr = _read(fd, read_format, members, room)
    if nr <= 0:
        _failed(nr, fd, read_format)
    return [_new(_COUNTS, members[i]) for i in range(nr)]


def read_into(fds: Sequence[int] | int_a, read_format: int, out: perf_counts_a) -> int:
    """Read many events in one call into C, which releases the GIL once; return how many elements of *out* were filled.

    Args:
        fds: the events: a sequence of ints or, fastest, an ``int[]`` cdata.
        read_format: the ``attr.read_format`` of all of them. With ``PERF_FORMAT_GROUP`` each fd fills one element of
            *out* for each member of its group.
        out: a ``struct perf_counts[]`` of the caller's, with an element for every count.

    Raises:
        BufferError: *out* has too few elements.
        EOFError, ValueError, OSError: an event cannot be read, for the reasons of :func:`read`. The message names its
            fd, the exception's ``index`` is its index in *fds*, and *out* has the counts of the events before it.
    """
    if not isinstance(fds, (ffi.CData, list, tuple)):
        fds = list(fds)
    array = fd_array(fds) if isinstance(fds, ffi.CData) else _new(_FDS, fds)
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
    """Return ``value * time_enabled // time_running``, the estimated count of an event that shared its counter.

    The product has 128 bits, so that it does not overflow. If both times are 0, as they are without times in the read
    format, the result is ``value``. If only ``time_running`` is 0, the event was enabled and never on the PMU: the
    result is None.
    """
    words = _new(_WORDS, 2)
    if not lib.counters_scale(counts_pointer(counts), words):
        return None
    return int(words[1] << 64 | words[0])


def read_user(page: perf_event_mmap_page_p, out: perf_counts_p | None = None) -> perf_counts_p | None:
    """Read an event of the calling thread without a system call, from its mapped control page.

    The event must count the calling thread (opened with pid 0, cpu -1). The counter is read by ``rdpmc`` on x86, by the
    PMU's registers on arm64 (if the sysctl ``kernel.perf_user_access`` is 1), by CSRs on riscv64.

    Args:
        page: the event's control page, from ``ring.map``; ``ring.map(fd, 0)`` maps the control page alone.
        out: a ``struct perf_counts *`` to fill; None makes a new one.

    Returns:
        *out* or the new one, with ``value``, ``time_enabled`` and ``time_running``. None if the kernel or the
        architecture does not allow such a read of this event: then call :func:`read` with its file descriptor.

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

"""The system call perf_event_open, and the twelve ioctls of an event's file descriptor.

Each function raises ``OSError`` if the kernel refuses the call; the message names the call and, if it is known, the
rule that was broken. *fd* is always the file descriptor of an event. *flags* of :func:`enable`, :func:`disable` and
:func:`reset` is 0 for that event alone, or ``PERF_IOC_FLAG_GROUP`` for its whole group, whichever member *fd* is.

Source: perf_event_open(2); the kernel's ``_perf_ioctl``, ``perf_compat_ioctl``.
"""

from __future__ import annotations

from errno import EBADF, ENOSPC

from . import errors
from ._native import ffi, lib
from ._pointers import attr_pointer
from .bindings import perf_event_query_bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .bindings import perf_event_attr_p


def perf_event_open(
    attr: perf_event_attr_p,
    pid: int = 0,
    cpu: int = -1,
    group_fd: int = -1,
    flags: int = lib.PERF_FLAG_FD_CLOEXEC,
) -> int:
    """Open the event that *attr* describes; return its file descriptor, which the caller closes.

    Args:
        attr: the event, which is passed to the kernel as it is.
        pid: the thread to count: 0 is the calling **thread** (not the process), -1 every thread that runs on *cpu*.
        cpu: the CPU to count on; -1 is any CPU, and needs a *pid* other than -1.
        group_fd: the leader of the group that the event joins; -1 opens it as a leader.
        flags: ``PERF_FLAG_*``. By default the file descriptor is closed by an exec; without ``PERF_FLAG_FD_CLOEXEC`` it
            stays open there.

    Raises:
        OSError: its subclass by errno (``PermissionError``, ``FileNotFoundError``, …), with the reason that
            :func:`~perf_event_open_sys.errors.diagnose` gives. After ``E2BIG``, ``attr.size`` is the size that the
            kernel knows.
        TypeError: *attr* is no pointer to a ``struct perf_event_attr``.

    Source: perf_event_open(2); the kernel's ``perf_event_open`` in kernel/events/core.c.
    """
    attr = attr_pointer(attr)
    fd = lib.perf_event_open(attr, pid, cpu, group_fd, flags)
    if fd < 0:
        errors.open_refused(attr, pid, cpu, group_fd, flags)
    return fd


def enable(fd: int, flags: int = 0) -> None:
    """Start counting, for the event or, by *flags*, its group."""
    if lib.ioctl_enable(fd, flags):
        errors.refused("PERF_EVENT_IOC_ENABLE")


def disable(fd: int, flags: int = 0) -> None:
    """Stop counting, for the event or, by *flags*, its group. The count can still be read."""
    if lib.ioctl_disable(fd, flags):
        errors.refused("PERF_EVENT_IOC_DISABLE")


def reset(fd: int, flags: int = 0) -> None:
    """Set the count to 0, for the event or, by *flags*, its group.

    ``time_enabled``, ``time_running`` and ``lost`` are not reset.
    """
    if lib.ioctl_reset(fd, flags):
        errors.refused("PERF_EVENT_IOC_RESET")


def refresh(fd: int, count: int) -> None:
    """Enable a sampling event for *count* more overflows; the last of them disables it.

    If a signal was asked for (``F_SETSIG``), the last overflow's has ``si_code`` ``POLL_HUP``.

    Raises:
        OSError: ``EINVAL`` for an inherited event, or one that does not sample.

    Source: the kernel's ``_perf_event_refresh``.
    """
    if lib.ioctl_refresh(fd, count):
        errors.refused("PERF_EVENT_IOC_REFRESH")


def period(fd: int, period: int) -> None:
    """Change the sampling period of an event, or, if it was opened with ``attr.freq``, its frequency.

    The change takes effect at once. A software event overflows at once, the next time still after its old period, and
    only then by the new one.

    Args:
        fd: a sampling event.
        period: how many counts there are between two overflows; with ``attr.freq``, overflows per second.

    Raises:
        OSError: ``EINVAL`` if the event does not sample, or *period* is 0, from 2**63 on, or a frequency above
            ``kernel.perf_event_max_sample_rate``.

    Source: the kernel's ``perf_event_period``; the argument is a pointer to a u64.
    """
    if lib.ioctl_period(fd, period):
        errors.refused("PERF_EVENT_IOC_PERIOD")


def set_output(fd: int, output_fd: int) -> None:
    """Send the records of *fd* to the ring of *output_fd*; with an *output_fd* of -1, stop that.

    Both events must have been opened for the same CPU, or both for any CPU (cpu -1) and the same thread.

    Raises:
        OSError: ``EINVAL`` if a rule is broken, which the message names; ``EBADF`` if a file descriptor is not open.

    Source: perf_event_open(2), PERF_EVENT_IOC_SET_OUTPUT; the kernel reads the argument as a long.
    """
    if lib.ioctl_set_output(fd, output_fd):
        truncated = output_fd == -1 and ffi.errno == EBADF and ffi.sizeof("long") == 4
        hint = (
            "a 64-bit kernel takes the -1 of a 32-bit process for 4294967295: it cannot be detached"
            if truncated
            else ""
        )
        errors.refused("PERF_EVENT_IOC_SET_OUTPUT", hint)


def set_filter(fd: int, filter: str | bytes) -> None:  # noqa: A002 - the man page's word
    """Count and sample only what *filter* selects.

    Args:
        fd: the event.
        filter: for a tracepoint, a condition on its fields, as in ``"prev_pid == 1"``; for a PMU with address filters,
            such as Intel PT's, ranges of addresses, as in ``"filter 0x1000/0x200@/bin/sh"``.

    Raises:
        ValueError: *filter* has a null byte in it.
        OSError: ``EINVAL`` if the filter does not parse or the event takes none. ``events.explain_filter`` says what is
            wrong with a tracepoint's.
    """
    text = filter.encode() if isinstance(filter, str) else bytes(memoryview(filter))
    if b"\0" in text:
        raise ValueError("a filter cannot contain a null byte")
    if lib.ioctl_set_filter(fd, text):
        errors.refused("PERF_EVENT_IOC_SET_FILTER")


def id(fd: int) -> int:  # noqa: A001 - the man page's word
    """Return the event's id: the one in counts (``PERF_FORMAT_ID``) and in samples (``PERF_SAMPLE_ID``)."""
    value = ffi.new("uint64_t *")
    if lib.ioctl_id(fd, value):
        errors.refused("PERF_EVENT_IOC_ID")
    return int(value[0])


def set_bpf(fd: int, prog_fd: int) -> None:
    """Attach a BPF program to an event.

    Args:
        fd: a tracepoint, kprobe or uprobe, which runs the program when it is hit; or another event, which runs it
            at each overflow.
        prog_fd: the file descriptor of the loaded program.

    Raises:
        OSError: ``EINVAL`` if the program's type does not fit the event, ``EEXIST`` if the event has a program already.
    """
    if lib.ioctl_set_bpf(fd, prog_fd):
        errors.refused("PERF_EVENT_IOC_SET_BPF")


def pause_output(fd: int, paused: bool) -> None:
    """Pause the writing of records to the event's ring, or resume it.

    Records that come while it is paused are dropped, and counted as lost.

    Raises:
        OSError: ``EINVAL`` if the event has no mapped ring.
    """
    if lib.ioctl_pause_output(fd, bool(paused)):
        errors.refused("PERF_EVENT_IOC_PAUSE_OUTPUT")


def query_bpf(fd: int, max_ids: int = 64) -> list[int]:
    """Return the ids of the BPF programs that are attached to the same tracepoint, kprobe or uprobe as the event.

    Args:
        fd: the event.
        max_ids: how many ids the kernel may return.

    Raises:
        OSError: ``ENOSPC`` if there are more programs than *max_ids*; the message says how many.
    """
    query = perf_event_query_bpf(max_ids)
    if lib.ioctl_query_bpf(fd, query):
        hint = f"there are {query.prog_cnt} programs, and room for {max_ids} ids" if ffi.errno == ENOSPC else ""
        errors.refused("PERF_EVENT_IOC_QUERY_BPF", hint)
    return [query.ids[i] for i in range(query.prog_cnt)]


def modify_attributes(fd: int, attr: perf_event_attr_p) -> None:
    """Change a breakpoint: it gets the ``bp_addr``, ``bp_len``, ``bp_type`` and ``disabled`` of *attr*.

    Raises:
        OSError: ``EINVAL``, ``EOPNOTSUPP`` if *fd* is no breakpoint, or another field of *attr* differs from the
            event's.

    Source: the kernel's ``perf_event_modify_attr``, ``modify_user_hw_breakpoint_check``.
    """
    if lib.ioctl_modify_attributes(fd, attr_pointer(attr)):
        errors.refused("PERF_EVENT_IOC_MODIFY_ATTRIBUTES")

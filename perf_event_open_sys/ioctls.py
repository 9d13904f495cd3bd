"""The system call and the twelve ioctls of an event's file descriptor, with the kernel's argument types.

Each raises ``OSError`` for what the kernel refuses, its message naming the call and, where it is known, the rule that was
broken. *flags* is 0 for the event alone or ``PERF_IOC_FLAG_GROUP`` for all of its group, whichever member *fd* is.

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

    *pid* 0 is the calling **thread**, -1 everybody (then *cpu* is named); *cpu* -1 is any. *attr* goes to the kernel as it
    is. Not inherited over exec by default; without ``PERF_FLAG_FD_CLOEXEC`` in *flags* it is.

    Raises:
        OSError: by errno (``PermissionError``, ``FileNotFoundError``, …), with :func:`errors.diagnose`'s reason. After
            ``E2BIG``, ``attr.size`` holds the size that the kernel knows.
    """
    attr = attr_pointer(attr)
    fd = lib.perf_event_open(attr, pid, cpu, group_fd, flags)
    if fd < 0:
        errors.open_refused(attr, pid, cpu, group_fd, flags)
    return fd


def enable(fd: int, flags: int = 0) -> None:
    """Start counting."""
    if lib.ioctl_enable(fd, flags):
        errors.refused("PERF_EVENT_IOC_ENABLE")


def disable(fd: int, flags: int = 0) -> None:
    """Stop counting; the count stays."""
    if lib.ioctl_disable(fd, flags):
        errors.refused("PERF_EVENT_IOC_DISABLE")


def reset(fd: int, flags: int = 0) -> None:
    """Set the count to 0; the times and ``lost`` stay."""
    if lib.ioctl_reset(fd, flags):
        errors.refused("PERF_EVENT_IOC_RESET")


def refresh(fd: int, count: int) -> None:
    """Enable a sampling event for *count* more overflows; the last disables it and signals ``POLL_HUP`` (F_SETSIG)."""
    if lib.ioctl_refresh(fd, count):
        errors.refused("PERF_EVENT_IOC_REFRESH")


def period(fd: int, period: int) -> None:
    """Set the events between two overflows, or, with ``attr.freq``, the overflows per second.

    Effective at once; a software event overflows at once, then after its old period, then by the new one.
    """
    if lib.ioctl_period(fd, period):
        errors.refused("PERF_EVENT_IOC_PERIOD")


def set_output(fd: int, output_fd: int) -> None:
    """Send the records of *fd* to the ring of *output_fd*; -1 detaches it.

    Both events must be on the same CPU, or both on none (``EINVAL`` otherwise).

    Raises:
        OSError: ``EINVAL``, ``EBADF``; the message names the rule that was broken.

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
    """Let only what *filter* describes through: a tracepoint's fields (``"prev_pid == 1"``), or a PMU's addresses."""
    text = filter.encode() if isinstance(filter, str) else bytes(memoryview(filter))
    if b"\0" in text:
        raise ValueError("a filter cannot contain a null byte")
    if lib.ioctl_set_filter(fd, text):
        errors.refused("PERF_EVENT_IOC_SET_FILTER")


def id(fd: int) -> int:  # noqa: A001 - the man page's word
    """Return the event's id, the one that ``PERF_FORMAT_ID`` and ``PERF_SAMPLE_ID`` give."""
    value = ffi.new("uint64_t *")
    if lib.ioctl_id(fd, value):
        errors.refused("PERF_EVENT_IOC_ID")
    return int(value[0])


def set_bpf(fd: int, prog_fd: int) -> None:
    """Attach a loaded BPF program to a tracepoint, kprobe, uprobe or (as an overflow handler) another event."""
    if lib.ioctl_set_bpf(fd, prog_fd):
        errors.refused("PERF_EVENT_IOC_SET_BPF")


def pause_output(fd: int, paused: bool) -> None:
    """Stop the event's ring from being written, or let it go on; what comes meanwhile is lost and counted as such."""
    if lib.ioctl_pause_output(fd, bool(paused)):
        errors.refused("PERF_EVENT_IOC_PAUSE_OUTPUT")


def query_bpf(fd: int, max_ids: int = 64) -> list[int]:
    """Return the ids of the BPF programs on the same tracepoint, at most *max_ids*.

    Raises:
        OSError: ``ENOSPC`` where there are more; the message says how many.
    """
    query = perf_event_query_bpf(max_ids)
    if lib.ioctl_query_bpf(fd, query):
        hint = f"there are {query.prog_cnt} programs, and room for {max_ids} ids" if ffi.errno == ENOSPC else ""
        errors.refused("PERF_EVENT_IOC_QUERY_BPF", hint)
    return [query.ids[i] for i in range(query.prog_cnt)]


def modify_attributes(fd: int, attr: perf_event_attr_p) -> None:
    """Move a breakpoint: give it the ``bp_addr``, ``bp_len``, ``bp_type`` and ``disabled`` of *attr*."""
    if lib.ioctl_modify_attributes(fd, attr_pointer(attr)):
        errors.refused("PERF_EVENT_IOC_MODIFY_ATTRIBUTES")

"""What the kernel refuses, as ``OSError`` with a reason: the only place that raises it."""

from __future__ import annotations

import os
from errno import E2BIG, EACCES, EBADF, EEXIST, EINVAL, EMFILE, ENODEV, ENOENT, ENOSPC, ENOTTY, EOPNOTSUPP, EPERM, ESRCH

from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ._native import CData

PARANOID = "/proc/sys/kernel/perf_event_paranoid"

# What one call's refusal means, where errno alone does not say it.
_HINTS = {
    ("PERF_EVENT_IOC_REFRESH", EINVAL): "an inherited event cannot be refreshed",
    ("PERF_EVENT_IOC_PERIOD", EINVAL): "the event must be a sampling one, its period not 0 and below 2**63; "
    "with freq set, at most kernel.perf_event_max_sample_rate",
    ("PERF_EVENT_IOC_SET_OUTPUT", EBADF): "one of the two file descriptors is not open",
    ("PERF_EVENT_IOC_SET_OUTPUT", EINVAL): "both events must be on the same CPU, or both on none and of the same task; "
    "have the same clock and write_backward; and the event must have no ring of its own",
    ("PERF_EVENT_IOC_SET_FILTER", EINVAL): "the filter does not parse, or this event takes none: "
    "tracepoints take one on their fields, some PMUs one on addresses",
    ("PERF_EVENT_IOC_SET_FILTER", EEXIST): "the event has a filter, and it can be set only once",
    ("PERF_EVENT_IOC_SET_BPF", EINVAL): "the type of the program does not fit the event, or the event takes no program",
    ("PERF_EVENT_IOC_SET_BPF", EEXIST): "the event has a program already",
    ("PERF_EVENT_IOC_PAUSE_OUTPUT", EINVAL): "the event has no mapped ring",
    ("PERF_EVENT_IOC_QUERY_BPF", EINVAL): "only tracepoints, kprobes and uprobes list their programs",
    ("PERF_EVENT_IOC_MODIFY_ATTRIBUTES", EINVAL): "only a breakpoint can be changed, and only its own fields",
    ("PERF_EVENT_IOC_MODIFY_ATTRIBUTES", EOPNOTSUPP): "only a breakpoint can be changed",
}


def refused(call: str, hint: str = "") -> NoReturn:
    """Raise what *call* left in ``ffi.errno``; *hint* stands in for the one known for this call."""
    code = ffi.errno
    hint = hint or _HINTS.get((call, code), "")
    if not hint and code == ENOTTY:
        hint = "the file descriptor is no perf event"
    failed(code, call, hint)


def failed(code: int, what: str, hint: str = "") -> NoReturn:
    """Raise the ``OSError`` of an errno; its text says *what* failed, and why."""
    raise OSError(code, f"{what}: {os.strerror(code)}" + (f" ({hint})" if hint else ""))


def open_refused(attr: CData, pid: int, cpu: int, group_fd: int, flags: int) -> NoReturn:
    """Raise what ``perf_event_open`` left in ``ffi.errno``, with its diagnosis."""
    refused("perf_event_open", diagnose(ffi.errno, attr, pid, cpu, group_fd, flags))


def map_refused(fd: int, pages: int) -> NoReturn:
    """Raise what the mmap of *pages* pages of an event left in ``ffi.errno``."""
    refused("mmap")


def diagnose(errno: int, attr: CData, pid: int, cpu: int, group_fd: int, flags: int) -> str:
    """Say in a sentence or two why ``perf_event_open`` with these arguments gave *errno*, and what to do.

    Empty where nothing is known beyond errno's own text.
    """
    if errno in (EACCES, EPERM):
        return _denied()
    if errno == ENOENT:
        return (
            "no PMU of this machine counts this event, as is usual for PERF_TYPE_HARDWARE in a virtual machine; "
            "PERF_TYPE_SOFTWARE is there everywhere"
        )
    if errno == E2BIG:
        fields = ffi.typeof(attr).item.fields
        unknown = [name for name, field in fields if field.offset >= attr.size and getattr(attr, name)]
        if not unknown:
            return f"attr.size was below {lib.PERF_ATTR_SIZE_VER0}, or above a page"
        return f"this kernel knows {attr.size} bytes of perf_event_attr: it is too old for {', '.join(unknown)}"
    if errno == ESRCH:
        return f"there is no process or thread {pid}"
    if errno == ENODEV:
        return f"CPU {cpu} is not online, or the machine cannot do what the attr asks for"
    if errno == EBADF:
        return f"{'the cgroup or ' if flags & lib.PERF_FLAG_PID_CGROUP else ''}group_fd {group_fd} is not an open event"
    if errno == EMFILE:
        return "this process has as many files open as RLIMIT_NOFILE allows"
    if errno == ENOSPC:
        return "the hardware breakpoints of the CPU are all in use"
    return ""


def _denied() -> str:
    try:
        with open(PARANOID) as file:
            level = file.read().strip()
    except OSError:
        level = "unknown"
    return (
        f"kernel.perf_event_paranoid is {level}: at 2 an ordinary user counts his own processes in user space only "
        "(exclude_kernel=1), at 1 the kernel too, at 0 whole CPUs. CAP_PERFMON lifts this; a container's seccomp filter may "
        "deny the call to everybody"
    )

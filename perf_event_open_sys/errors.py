"""What the kernel refuses, as ``OSError`` with a reason: the only place that raises it.

The reasons are found by ``_diagnose``, which the first failure imports.
"""

from __future__ import annotations

import os
from errno import EBUSY, EFAULT, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC, ENOSYS, EOVERFLOW

from ._native import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .bindings import perf_event_attr_p

# What an errno of perf_event_open means by itself. Static text, in this module: after EMFILE no file can be opened, not
# even that of another module, and after EFAULT the attr cannot be read.
_REASONS = {
    EFAULT: "attr, or a string that it points to, is not in this process's memory",
    EMFILE: "this process has as many files open as RLIMIT_NOFILE allows: close some, or raise it (ulimit -n)",
    ENFILE: "the whole machine has as many files open as fs.file-max allows",
    ENOMEM: "the kernel has no memory left for another event",
    EBUSY: "the PMU, or a counter of it, is held exclusively by another event or by the kernel (its NMI watchdog)",
    EINTR: "this is an answer and no signal: another tracer holds the probed place. Asking again changes nothing",
    ENOSYS: "the kernel was built without CONFIG_PERF_EVENTS, or a seccomp filter hides the system call",
    ENOSPC: "the hardware breakpoints of the CPU, four on most machines and shared by everybody, are all in use",
    EOVERFLOW: "sample_max_stack is above kernel.perf_event_max_stack",
}


def failed(code: int, what: str, hint: str = "") -> NoReturn:
    """Raise the ``OSError`` of an errno; its text says *what* failed, and why."""
    raise OSError(code, f"{what}: {os.strerror(code)}" + (f" ({hint})" if hint else ""))


def refused(call: str, hint: str = "") -> NoReturn:
    """Raise what *call* left in ``ffi.errno``; *hint* is the reason where the caller knows it."""
    code = ffi.errno
    failed(code, call, hint or _reason("of_call", code, call))


def open_refused(attr: perf_event_attr_p, pid: int, cpu: int, group_fd: int, flags: int) -> NoReturn:
    """Raise what ``perf_event_open`` left in ``ffi.errno``, with its diagnosis."""
    code = ffi.errno  # the diagnosis may ask the kernel again
    failed(code, "perf_event_open", diagnose(code, attr, pid, cpu, group_fd, flags))


def map_refused(fd: int, pages: int, what: str = "ring") -> NoReturn:
    """Raise why *pages* of an event's ring, or of its AUX ring, could not be mapped, with the rule that was broken."""
    code = ffi.errno
    failed(code, f"mmap of the {what}", _reason("of_map", code, fd, pages))


def diagnose(errno: int, attr: perf_event_attr_p, pid: int, cpu: int, group_fd: int, flags: int) -> str:
    """Say in a sentence or two why ``perf_event_open`` with these arguments gave *errno*, and what to do.

    Empty where nothing is known beyond errno's own text. Where no rule is seen to be broken, ``EINVAL`` and
    ``EOPNOTSUPP`` are explained by asking the kernel for the event with one field less, which opens it for a moment.
    *attr* may point anywhere: it is read only where there is memory.

    Source: the kernel's ``perf_event_open``, ``perf_copy_attr``, ``perf_event_alloc``, of Linux 6.18.
    """
    if not isinstance(attr, ffi.CData):
        raise TypeError(f"attr must be a struct perf_event_attr *, not {type(attr).__name__}")
    return _REASONS.get(errno) or _reason("of_open", errno, attr, pid, cpu, group_fd, flags)


def _reason(about: str, *arguments: Any) -> str:
    """Ask a function of ``_diagnose``. An explanation never hides the error that it is for: it may be missing."""
    try:
        from . import _diagnose

        return str(getattr(_diagnose, about)(*arguments))
    except Exception:  # also where the module cannot be imported, because no more files can be opened
        return ""

"""Raise ``OSError`` for a call that the kernel refused, with a message that says why.

All other modules raise their ``OSError`` through this one. The reasons come from ``_diagnose``, which is imported at
the first failure.
"""

from __future__ import annotations

import os
from errno import EBUSY, EFAULT, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC, ENOSYS, EOVERFLOW

from ._native import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .bindings import perf_event_attr_p

# What an errno of perf_event_open means, whatever the arguments were. These texts need no other module and no attr:
# after EMFILE no file can be opened, so that no module can be imported; after EFAULT the attr cannot be read.
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


def failed(code: int, what: str, hint: str) -> NoReturn:
    """Raise the ``OSError`` for the errno *code*; its message is *what*, errno's own text and *hint* in parentheses."""
    raise OSError(code, f"{what}: {os.strerror(code)}" + (f" ({hint})" if hint else ""))


def refused(call: str, hint: str = "") -> NoReturn:
    """Raise the ``OSError`` for ``ffi.errno``, which *call* has set. A *hint* replaces the diagnosed reason."""
    code = ffi.errno
    failed(code, call, hint or _reason("of_call", code, call))


def open_refused(attr: perf_event_attr_p, pid: int, cpu: int, group_fd: int, flags: int) -> NoReturn:
    """Raise the ``OSError`` for ``ffi.errno``, which ``perf_event_open`` has set, with the diagnosed reason."""
    code = ffi.errno  # saved, since the diagnosis may make further system calls
    failed(code, "perf_event_open", diagnose(code, attr, pid, cpu, group_fd, flags))


def map_refused(fd: int, pages: int, what: str) -> NoReturn:
    """Raise the ``OSError`` for ``ffi.errno``, which mmap of *pages* pages of an event's ring or AUX ring has set."""
    code = ffi.errno
    failed(code, f"mmap of the {what}", _reason("of_map", code, fd, pages))


def diagnose(errno: int, attr: perf_event_attr_p, pid: int, cpu: int, group_fd: int, flags: int) -> str:
    """Say in a sentence or two why ``perf_event_open`` with these arguments gave *errno*, and what to do.

    The result is "" if nothing is known beyond errno's own text. If *errno* is ``EINVAL`` or ``EOPNOTSUPP`` and no
    known rule is broken, the event is opened again with one field at a time set to 0, and closed at once: the field
    without which it opens is named.

    Args:
        errno: the error that the call has set.
        attr: the call's; even a bad address is safe, since only memory that can be read is read.
        pid: the call's.
        cpu: the call's.
        group_fd: the call's.
        flags: the call's.

    Raises:
        TypeError: *attr* is no cdata.

    Source: the kernel's ``perf_event_open``, ``perf_copy_attr``, ``perf_event_alloc``, of Linux 6.18.
    """
    if not isinstance(attr, ffi.CData):
        raise TypeError(f"attr must be a struct perf_event_attr *, not {type(attr).__name__}")
    return _REASONS.get(errno) or _reason("of_open", errno, attr, pid, cpu, group_fd, flags)


def _reason(about: str, *arguments: Any) -> str:
    """Call the function *about* of ``_diagnose``, and return the reason that it gives.

    If that raises, the reason is "": the caller is about to raise the kernel's own error, which must not be lost.
    """
    try:
        from . import _diagnose

        return str(getattr(_diagnose, about)(*arguments))
    except Exception:  # among others ImportError or OSError: no more files can be opened
        return ""

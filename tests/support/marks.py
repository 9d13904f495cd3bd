"""What a test may need of the machine and the user, each found out once; a skip says what is missing."""

import ctypes
import errno
import functools
import os

import pytest

from perf_event_open_sys import bindings, counters, ffi, lib, perf_event_attr

from .machine import MACHINE
from .processes import become_ordinary, in_child
from .seccomp import NUMBERS, deny


def _refusal(**fields):
    """Return the errno of opening an event of this thread in user space, or 0."""
    fd = lib.perf_event_open(perf_event_attr(exclude_kernel=1, exclude_hv=1, **fields), 0, -1, -1, 0)
    if fd < 0:
        return ffi.errno
    os.close(fd)
    return 0


def _plainest_refusal():
    return _refusal(type=bindings.PERF_TYPE_SOFTWARE, config=bindings.PERF_COUNT_SW_DUMMY)


# In a container even the plainest event may be refused; to ordinary users, by some distributions' kernels, too.
REFUSED = _plainest_refusal()
REFUSED_TO_USERS = in_child(_plainest_refusal, setup=become_ordinary)
REFUSED_REASON = f"perf_event_open is refused here: {os.strerror(REFUSED)}"


def _breakpoint_hits():
    """Return how often a breakpoint on a word is hit by one write to it, or None where none is to be had."""
    cell = ctypes.c_long()
    where = {"bp_type": bindings.HW_BREAKPOINT_W, "bp_addr": ctypes.addressof(cell), "bp_len": ctypes.sizeof(cell)}
    attr = perf_event_attr(type=bindings.PERF_TYPE_BREAKPOINT, exclude_kernel=1, exclude_hv=1, **where)
    fd = lib.perf_event_open(attr, 0, -1, -1, 0)
    if fd < 0:
        return None
    try:
        cell.value = 1
        return counters.read(fd)[0].value
    finally:
        os.close(fd)


def breakpoints_error():
    """Return the kernel's error where perf has no hardware breakpoints at all (s390x, riscv64, …), else ""."""
    writes = {"bp_type": bindings.HW_BREAKPOINT_W, "bp_addr": 4096, "bp_len": 4}
    code = _refusal(type=bindings.PERF_TYPE_BREAKPOINT, **writes)
    absent = (errno.ENOENT, errno.ENODEV, errno.EINVAL, errno.EOPNOTSUPP)
    return os.strerror(code) if code in absent else ""


def _filters_are_taken():
    """Return whether a process can set a seccomp filter on itself; QEMU's emulation of system calls refuses it."""
    if MACHINE not in NUMBERS:
        return False
    try:
        return in_child(lambda: True, setup=functools.partial(deny, errno.EPERM))
    except OSError:
        return False


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_events = pytest.mark.skipif(REFUSED != 0, reason=REFUSED_REASON)
needs_events_of_users = pytest.mark.skipif(
    REFUSED_TO_USERS != 0, reason=f"perf_event_open is refused to ordinary users here: {os.strerror(REFUSED_TO_USERS)}"
)
needs_breakpoints = pytest.mark.skipif(
    bool(breakpoints_error()) or _breakpoint_hits() == 0,
    reason=f"no hardware breakpoints for perf here: {breakpoints_error() or 'they open, and are never hit'}",
)
needs_seccomp = pytest.mark.skipif(not _filters_are_taken(), reason="needs seccomp, and this machine's syscall number")

"""Find out why the kernel refused a call, from the kernel's rules and from /proc and /sys of this machine.

``errors`` imports this module at the first failure.
"""

from __future__ import annotations

import os
from errno import (
    E2BIG,
    EACCES,
    EBADF,
    EEXIST,
    EINVAL,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOTTY,
    EOPNOTSUPP,
    EPERM,
    ESRCH,
)
from time import CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW

from ._files import DEVICES, contents, listed, parse_cpu_list, process_status
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .bindings import perf_event_attr_p

_SYSCTL = "/proc/sys/kernel/perf_event_"
_DEVICES = f"/sys/{DEVICES}"
_HARDWARE = (lib.PERF_TYPE_HARDWARE, lib.PERF_TYPE_HW_CACHE, lib.PERF_TYPE_RAW)
_CAP_SYS_ADMIN, _CAP_PERFMON = 21, 38

# (ioctl, errno) -> what that errno of that ioctl means.
_HINTS = {
    ("PERF_EVENT_IOC_REFRESH", EINVAL): "an inherited event cannot be refreshed",
    ("PERF_EVENT_IOC_PERIOD", EINVAL): "the event must be a sampling one, its period not 0 and below 2**63; "
    "with freq set, at most kernel.perf_event_max_sample_rate",
    ("PERF_EVENT_IOC_SET_OUTPUT", EBADF): "one of the two file descriptors is not open",
    ("PERF_EVENT_IOC_SET_OUTPUT", EINVAL): "both events must be on the same CPU, or both on none and of the same task; "
    "have the same clock and write_backward; and the event must have no ring of its own",
    ("PERF_EVENT_IOC_SET_FILTER", EINVAL): "the filter does not parse, or this event takes none: "
    "tracepoints take one on their fields (events.explain_filter says what is wrong), some PMUs one on addresses",
    ("PERF_EVENT_IOC_SET_FILTER", EEXIST): "the event has a filter, and it can be set only once",
    ("PERF_EVENT_IOC_SET_BPF", EINVAL): "the type of the program does not fit the event, or the event takes no program",
    ("PERF_EVENT_IOC_SET_BPF", EEXIST): "the event has a program already",
    ("PERF_EVENT_IOC_PAUSE_OUTPUT", EINVAL): "the event has no mapped ring",
    ("PERF_EVENT_IOC_QUERY_BPF", EINVAL): "only tracepoints, kprobes and uprobes list their programs",
    ("PERF_EVENT_IOC_MODIFY_ATTRIBUTES", EINVAL): "only a breakpoint can be changed, and only its own fields",
    ("PERF_EVENT_IOC_MODIFY_ATTRIBUTES", EOPNOTSUPP): "only a breakpoint can be changed",
}


def of_call(code: int, call: str) -> str:
    """Return what the errno *code* of the ioctl *call* means; "" if nothing is known."""
    return _HINTS.get((call, code), "the file descriptor is no perf event" if code == ENOTTY else "")


def of_map(code: int, fd: int, pages: int) -> str:
    """Return why mmap(2) of a ring of *pages* pages was refused with the errno *code*."""
    if code == EPERM:
        return (
            f"{pages} pages and the user's other rings are more than kernel.perf_event_mlock_kb "
            f"({contents(_SYSCTL + 'mlock_kb')} KiB and a page for each CPU) and RLIMIT_MEMLOCK allow: "
            "map less, or have CAP_IPC_LOCK"
        )
    if code == EINVAL:
        return (
            "an event that is inherited and on no CPU (cpu=-1) has no ring: open it on each CPU, or without inherit; "
            "one that is mapped already takes the same number of pages only"
        )
    return f"there is no memory for {pages} pages" if code == ENOMEM else _no_event(fd)


def of_open(errno: int, attr: Any, pid: int, cpu: int, group_fd: int, flags: int) -> str:
    """Return why perf_event_open(2) was refused; see :func:`errors.diagnose`."""
    known = _copied(attr)
    if known is None:
        return "attr does not point to memory of this process. What answered did not look at it: a seccomp filter, probably"
    return _explain(errno, known, pid, cpu, group_fd, flags)


def _copied(attr: Any) -> Any:
    """Return a copy of the attr that a pointer leads to; None if there is no memory.

    The pointer may be bad: a seccomp filter, for example, gives an errno without reading the attr. So the kernel makes
    the copy, through a pipe: for a bad address write(2) fails with EFAULT, where a read in this process would crash it.
    """
    known = ffi.new("struct perf_event_attr *")
    reader, writer = os.pipe()
    try:
        size = os.write(writer, ffi.buffer(ffi.cast("char *", attr), ffi.sizeof("struct perf_event_attr")))
        ffi.memmove(known, os.read(reader, size), size)
    except OSError:
        return None
    finally:
        os.close(reader)
        os.close(writer)
    return known


def _explain(errno: int, attr: Any, pid: int, cpu: int, group_fd: int, flags: int) -> str:
    if errno in (EACCES, EPERM):
        return _denied(attr, pid)
    if errno == ENOENT:
        return _not_counted(attr)
    if errno == E2BIG:
        return _too_big(attr)
    if errno == ESRCH:
        return f"there is no process or thread {pid}, or it has exited"
    if errno == ENODEV:
        return f"CPU {cpu} is not online; {contents('/sys/devices/system/cpu/online')} are"
    if errno == EBADF and flags & lib.PERF_FLAG_PID_CGROUP and (group_fd == -1 or not _no_event(group_fd)):
        return f"PERF_FLAG_PID_CGROUP makes of pid a file descriptor of a cgroup's directory, and {pid} is none"
    if errno == EBADF:
        return f"group_fd: {_no_event(group_fd)}"
    if errno not in (EINVAL, EOPNOTSUPP):
        return ""
    # An attr with a smaller attr.size ends there: what follows it in memory is not part of it.
    known = ffi.new("struct perf_event_attr *")
    ffi.memmove(known, attr, min(attr.size or lib.PERF_ATTR_SIZE_VER0, ffi.sizeof("struct perf_event_attr")))
    reasons = [*(_broken_rules(known, pid, cpu, group_fd, flags) if errno == EINVAL else ())]
    return reasons[0] if reasons else _culprit(known, pid, cpu, group_fd, flags)


def _pmu_name(kind: int) -> str:
    return next((name for name in listed(_DEVICES) if contents(f"{_DEVICES}/{name}/type") == str(kind)), "")


def _no_event(fd: int) -> str:
    """Return a message that a file descriptor is not an event's; "" if it is one."""
    try:
        file = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"{fd} is no open file"
    return "" if file == "anon_inode:[perf_event]" else f"{fd} is {file}, and no perf event"


def _denied(attr: Any, pid: int) -> str:
    status = process_status("self")
    capabilities = int(status["CapEff"], 16)
    filtered = "a seccomp filter is set on this process, as containers have it: it must let perf_event_open through"
    seccomp = filtered if status.get("Seccomp") == "2" else ""
    # The kernel asks for the capability in the initial user namespace, where all uids are mapped to themselves.
    # Capabilities in another user namespace (a rootless container's) do not count.
    if contents("/proc/self/uid_map").split() == ["0", "0", "4294967295"] and capabilities & (
        1 << _CAP_PERFMON | 1 << _CAP_SYS_ADMIN
    ):
        return f"it is not for want of CAP_PERFMON: {seccomp or 'a security module (lockdown, SELinux) denies it'}"
    paranoid = contents(_SYSCTL + "paranoid")
    wants = "; ".join(_wants(attr, pid, int(paranoid)))
    text = f"kernel.perf_event_paranoid is {paranoid}: {wants or 'it does not forbid this by itself'}. "
    return text + "CAP_PERFMON (root has it) lifts this" + f"; {seccomp}" * bool(seccomp)


def _wants(attr: Any, pid: int, paranoid: int) -> Iterator[str]:
    """Yield, in words, each thing that this event asks for and that an ordinary user may not have."""
    if attr.namespaces or _pmu_name(attr.type) in ("kprobe", "uprobe"):
        yield "namespaces, kprobes and uprobes need CAP_PERFMON at any level"
    if not attr.exclude_kernel and paranoid > 1:
        yield "counting in the kernel needs 1 or less (with exclude_kernel=1, in event strings :u, it is not asked for)"
    if pid == -1 and paranoid > 0:
        yield "counting everybody on a CPU (pid=-1) needs 0 or less"
    if attr.type == lib.PERF_TYPE_TRACEPOINT and attr.sample_type & lib.PERF_SAMPLE_RAW and paranoid > -1:
        yield "raw tracepoint samples need -1"
    if attr.sample_type & lib.PERF_SAMPLE_PHYS_ADDR and paranoid > 1:
        yield "physical addresses need 1 or less"
    if pid > 0 and os.path.exists(f"/proc/{pid}") and os.stat(f"/proc/{pid}").st_uid != os.geteuid():
        yield f"process {pid} is another user's"
    if paranoid > 2:
        yield "some distributions' kernels deny everything from 3 on"


def _not_counted(attr: Any) -> str:
    if attr.type in _HARDWARE:
        return (
            "no PMU of this machine counts this event, as is usual for PERF_TYPE_HARDWARE in a virtual machine; "
            "PERF_TYPE_SOFTWARE is there everywhere"
        )
    if attr.type == lib.PERF_TYPE_SOFTWARE:
        return f"this kernel has no software event {attr.config}"
    name = _pmu_name(attr.type)
    if attr.type == lib.PERF_TYPE_BREAKPOINT and not name:
        return "this kernel has no hardware breakpoints"
    if name in ("kprobe", "uprobe"):
        return f"{name}: there is no such {'function' if name == 'kprobe' else 'file'}"
    if name:
        return f"PMU {name} has no event {attr.config:#x}"
    return f"no PMU has type {attr.type}. Types change from boot to boot: take them from events.pmu_type()"


def _too_big(attr: Any) -> str:
    """Explain E2BIG. The kernel has written the size of the attr that it knows into ``attr.size``."""
    unknown = [
        name for name, field in ffi.typeof(attr).item.fields if field.offset >= attr.size and getattr(attr, name)
    ]
    if unknown:
        return f"this kernel knows {attr.size} bytes of perf_event_attr: it is too old for {', '.join(unknown)}"
    return f"attr.size was below {lib.PERF_ATTR_SIZE_VER0} or above a page, or the group has grown too large to be read"


def _broken_rules(attr: Any, pid: int, cpu: int, group_fd: int, flags: int) -> Iterator[str]:
    """Yield the rules that this call breaks, roughly in the order in which the kernel checks them."""
    sample, branches = attr.sample_type, attr.branch_sample_type
    if flags & ~(
        lib.PERF_FLAG_FD_NO_GROUP | lib.PERF_FLAG_FD_OUTPUT | lib.PERF_FLAG_PID_CGROUP | lib.PERF_FLAG_FD_CLOEXEC
    ):
        yield f"flags {flags:#x} has bits that are no PERF_FLAG"
    for field in ("__reserved_1", "__reserved_2", "__reserved_3"):
        if getattr(attr, field):
            yield f"{field} must be 0"
    for field, end in (("sample_type", lib.PERF_SAMPLE_MAX), ("read_format", lib.PERF_FORMAT_MAX)):
        if getattr(attr, field) >= end:
            yield f"{field} {getattr(attr, field):#x} has bits that no kernel knows"
    if sample & lib.PERF_SAMPLE_BRANCH_STACK and not branches & ~lib.PERF_SAMPLE_BRANCH_PLM_ALL:
        yield "branch_sample_type needs the kind of branch (PERF_SAMPLE_BRANCH_ANY, ...) besides the privilege level"
    if sample & lib.PERF_SAMPLE_STACK_USER and (attr.sample_stack_user % 8 or attr.sample_stack_user >= 0xFFFF):
        yield "sample_stack_user must be a multiple of 8 below 65535"
    if sample & lib.PERF_SAMPLE_WEIGHT and sample & lib.PERF_SAMPLE_WEIGHT_STRUCT:
        yield "PERF_SAMPLE_WEIGHT and PERF_SAMPLE_WEIGHT_STRUCT exclude each other"
    if attr.inherit_thread and not attr.inherit:
        yield "inherit_thread needs inherit"
    if attr.remove_on_exec and attr.enable_on_exec:
        yield "remove_on_exec and enable_on_exec exclude each other"
    if attr.sigtrap and not (attr.remove_on_exec and pid != -1):
        yield "sigtrap needs remove_on_exec, and a task"
    if attr.freq and attr.sample_freq > int(contents(_SYSCTL + "max_sample_rate")):
        yield f"sample_freq is above kernel.perf_event_max_sample_rate, {contents(_SYSCTL + 'max_sample_rate')}"
    if not attr.freq and attr.sample_period >> 63:
        yield "sample_period must be below 2**63"
    if pid == -1 and cpu == -1:
        yield "pid=-1 and cpu=-1 together are nothing: name a task, or a CPU"
    if flags & lib.PERF_FLAG_PID_CGROUP and (pid == -1 or cpu == -1):
        yield "a cgroup (PERF_FLAG_PID_CGROUP) is counted on a CPU: name its directory's descriptor as pid, and a cpu"
    possible = contents("/sys/devices/system/cpu/possible")
    if cpu < -1 or cpu > parse_cpu_list(possible)[-1]:
        yield f"this machine has no CPU {cpu} (it has {possible})"
    if attr.inherit and sample & lib.PERF_SAMPLE_READ and not attr.inherit_thread:
        yield "PERF_SAMPLE_READ with inherit needs inherit_thread, and Linux 6.12"
    # Tracepoints and breakpoints may fire in an NMI, where only clocks that are safe in an NMI can be read.
    hooks = (lib.PERF_TYPE_TRACEPOINT, lib.PERF_TYPE_BREAKPOINT)
    if attr.use_clockid and attr.type in hooks and attr.clockid not in (CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW):
        yield "tracepoints and breakpoints take CLOCK_MONOTONIC and CLOCK_MONOTONIC_RAW only"
    if attr.aux_pause or attr.aux_resume or (sample & lib.PERF_SAMPLE_AUX and attr.aux_sample_size):
        yield "aux_pause, aux_resume and aux_sample_size are for a member of a group whose leader writes an AUX ring"
    if attr.type == lib.PERF_TYPE_BREAKPOINT:
        yield from _broken_breakpoint(attr, _X86_LONG.get(os.uname().machine, 0))
    if group_fd != -1 and (attr.pinned or attr.exclusive):
        yield "only the leader of a group can be pinned or exclusive"


# The bytes of the kernel's long on x86, by the machine's name. It is the kernel's that counts, to a 32-bit process too.
_X86_LONG = {"x86_64": 8, "i386": 4, "i486": 4, "i586": 4, "i686": 4}


def _broken_breakpoint(attr: Any, x86_long: int) -> Iterator[str]:
    """Yield the first rule for breakpoints that the attr breaks: of all architectures, and of x86 unless *x86_long* is 0."""
    kind, length = attr.bp_type, attr.bp_len
    if not 0 < kind <= lib.HW_BREAKPOINT_X:
        yield "bp_type must be HW_BREAKPOINT_W, HW_BREAKPOINT_RW or HW_BREAKPOINT_X"
    elif attr.bp_addr >> 63 and attr.exclude_kernel:
        yield f"bp_addr {attr.bp_addr:#x} is in the kernel, which exclude_kernel leaves out"
    elif not x86_long:
        return
    elif kind == lib.HW_BREAKPOINT_X and length != x86_long:
        yield f"bp_len must be {x86_long}, the size of a long, for an execute breakpoint; it is {length}"
    elif length not in (1, 2, 4, 8):
        yield f"bp_len must be 1, 2, 4 or 8; it is {length}"
    elif attr.bp_addr % length and kind != lib.HW_BREAKPOINT_X:
        yield f"bp_addr {attr.bp_addr:#x} is not aligned to bp_len {length}"
    elif kind == lib.HW_BREAKPOINT_R:
        yield "x86 has no breakpoint for reads alone: take HW_BREAKPOINT_RW"


def _culprit(attr: Any, pid: int, cpu: int, group_fd: int, flags: int) -> str:
    """Find the field that the kernel does not accept: ask for the event again, each time with one field cleared."""
    name = _pmu_name(attr.type)
    generic = ffi.typeof("enum perf_type_id").elements.get(attr.type)
    whose = f"PMU {name}" if name else generic or f"PMU {attr.type}"
    attr.disabled = 1
    if group_fd != -1 and _opens(attr, pid, cpu, -1, flags):
        return (
            "the event opens outside of this group: all of a group are on the same task, CPU and clock and have the "
            "same inherit, a member cannot be the leader, and the PMU must be able to count them all at once"
        )
    struct = ffi.typeof(attr).item
    shared = range(ffi.offsetof(struct, "config1"), ffi.offsetof(struct, "branch_sample_type"))
    for field, place in struct.fields:
        kept = getattr(attr, field)
        # Not cleared are the fields that select the event, which would be another one without them: type, config, and
        # all fields that share memory with config1 or config2 (bp_addr, uprobe_path, ...).
        if kept and field not in ("type", "size", "disabled", "config") and place.offset not in shared:
            setattr(attr, field, 0)
            if _opens(attr, pid, cpu, group_fd, flags):
                return f"{whose} or this kernel does not take {field} ({kept:#x}): without it the event opens"
            setattr(attr, field, kept)
    mask = contents(f"{_DEVICES}/{name}/cpumask")
    if pid != -1 and (mask or _opens(attr, -1, max(cpu, 0), group_fd, flags)):
        return f"{whose} counts whole CPUs and no task: open it with pid=-1 on CPU {mask or 0}"
    if attr.type == lib.PERF_TYPE_TRACEPOINT:
        return f"no tracepoint has the id {attr.config}"
    if name == "uprobe":
        return "a uprobe needs uprobe_path, a regular file, and in probe_offset a place inside of it"
    return f"{whose} does not take config {attr.config:#x}, or a combination of the attr's fields"


def _opens(attr: perf_event_attr_p, pid: int, cpu: int, group_fd: int, flags: int) -> bool:
    fd = lib.perf_event_open(attr, pid, cpu, group_fd, flags | lib.PERF_FLAG_FD_CLOEXEC)
    if fd >= 0:
        os.close(fd)
    return fd >= 0

"""What the kernel refuses: the errno is kept, and the reason is the one that was provoked."""

import errno
import functools
import mmap
import os
import re
import resource
import subprocess

import pytest
from support.machine import IS_COMPAT, MACHINE, PAGE_SIZE, WORD
from support.marks import (
    breakpoints_error,
    needs_breakpoints,
    needs_events,
    needs_events_of_users,
    needs_root,
    needs_seccomp,
)
from support.processes import as_user, in_child
from support.seccomp import deny

from perf_event_open_sys import _diagnose, errors, events, ffi, lib, perf_event_attr, perf_event_open, ring
from perf_event_open_sys import bindings as b

SOFTWARE = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_PAGE_FAULTS, "exclude_kernel": 1}
WRITES = {"bp_addr": 0x1000, "bp_type": b.HW_BREAKPOINT_W, "bp_len": 4}
BREAKPOINT = {"type": b.PERF_TYPE_BREAKPOINT, "config": 0, "exclude_kernel": 1, **WRITES}
TRACEPOINT = {"type": b.PERF_TYPE_TRACEPOINT, "exclude_kernel": 1}
x86_only = pytest.mark.skipif(MACHINE not in ("x86_64", "i686"), reason="the rules of x86's breakpoints")
BRANCHES = {"sample_type": b.PERF_SAMPLE_BRANCH_STACK}


def refusal(pid=0, cpu=-1, group_fd=-1, flags=b.PERF_FLAG_FD_CLOEXEC, **fields):
    """The OSError of an event that must not open."""
    with pytest.raises(OSError, match="perf_event_open") as caught:
        os.close(perf_event_open(perf_event_attr(**SOFTWARE | fields), pid, cpu, group_fd, flags))
    return caught.value


@needs_events
@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"size": 8}, "E2BIG", "attr.size was below 64 or above a page"),
        ({"size": 2 * PAGE_SIZE}, "E2BIG", "attr.size was below 64 or above a page"),
        ({"flags": 64}, "EINVAL", "flags 0x40 has bits"),
        ({"__reserved_2": 1}, "EINVAL", "__reserved_2 must be 0"),
        ({"sample_type": 1 << 40}, "EINVAL", "sample_type 0x10000000000 has bits that no kernel knows"),
        ({"read_format": 1 << 40}, "EINVAL", "read_format 0x10000000000 has bits"),
        ({**BRANCHES, "branch_sample_type": b.PERF_SAMPLE_BRANCH_USER}, "EINVAL", "branch_sample_type needs the kind"),
        ({**BRANCHES, "branch_sample_type": 9, "sample_period": 1}, "EOPNOTSUPP", "does not take sample_type"),
        (
            {"sample_type": b.PERF_SAMPLE_STACK_USER, "sample_stack_user": 7},
            "EINVAL",
            "sample_stack_user must be a multiple",
        ),
        ({"sample_type": b.PERF_SAMPLE_WEIGHT | b.PERF_SAMPLE_WEIGHT_STRUCT}, "EINVAL", "exclude each other"),
        ({"inherit_thread": 1}, "EINVAL", "inherit_thread needs inherit"),
        ({"remove_on_exec": 1, "enable_on_exec": 1}, "EINVAL", "remove_on_exec and enable_on_exec exclude"),
        ({"sigtrap": 1}, "EINVAL", "sigtrap needs remove_on_exec"),
        ({"freq": 1, "sample_freq": 10**9}, "EINVAL", "max_sample_rate, [0-9]+"),
        ({"sample_period": 1 << 63}, "EINVAL", "sample_period must be below"),
        ({"cpu": 2**31 - 1}, "EINVAL", "no CPU 2147483647"),
        ({"cpu": -2}, "EINVAL", "no CPU -2"),
        ({"inherit": 1, "sample_type": b.PERF_SAMPLE_READ}, "EINVAL", "inherit needs inherit_thread"),
        ({"use_clockid": 1, "clockid": 77}, "EINVAL", "does not take use_clockid"),
        ({**BREAKPOINT, "use_clockid": 1, "clockid": 0}, "EINVAL", "CLOCK_MONOTONIC_RAW only"),
        ({"aux_pause": 1}, "EINVAL", "whose leader writes an AUX ring"),
        ({"aux_output": 1}, "EOPNOTSUPP", "does not take aux_output"),
        ({**TRACEPOINT, "config": 999999}, "EINVAL", "no tracepoint has the id 999999"),
        pytest.param({**BREAKPOINT, "bp_type": 0}, "EINVAL", "bp_type must be", marks=x86_only),
        pytest.param({**BREAKPOINT, "bp_len": 3}, "EINVAL", "bp_len must be 1, 2, 4 or 8; it is 3", marks=x86_only),
        pytest.param({**BREAKPOINT, "bp_addr": 0x1001}, "EINVAL", "0x1001 is not aligned to bp_len 4", marks=x86_only),
        ({**BREAKPOINT, "bp_addr": 2**64 - 2**21}, "EINVAL", "in the kernel, which exclude_kernel leaves out"),
        ({"config": 99}, "ENOENT", "no software event 99"),
        ({"type": 12345}, "ENOENT", "no PMU has type 12345"),
        ({"pid": 2**22 + 1}, "ESRCH", "no process or thread 4194305"),
        ({"group_fd": 999}, "EBADF", "999 is no open file"),
        (
            {"sample_type": b.PERF_SAMPLE_CALLCHAIN, "sample_max_stack": 60000},
            "EOVERFLOW",
            "kernel.perf_event_max_stack",
        ),
    ],
)
def test_a_broken_rule_is_named(fields, code, reason):
    """The exception has the kernel's errno, and its text the rule that this call breaks."""
    if fields.get("type") == b.PERF_TYPE_BREAKPOINT and breakpoints_error():
        pytest.skip(needs_breakpoints.kwargs["reason"])
    error = refusal(**fields)
    assert errno.errorcode[error.errno].replace("ENOTSUP", "EOPNOTSUPP") == code
    assert re.search(reason, str(error))


@needs_events
@x86_only
def test_x86s_breakpoint_rules_are_named():
    """Execute breakpoints need the length of a long, and breakpoints for reads alone do not exist."""
    execute = refusal(**BREAKPOINT | {"bp_type": b.HW_BREAKPOINT_X})
    assert f"bp_len must be {8 if IS_COMPAT else WORD // 8}, the size of a long" in str(execute)
    assert "HW_BREAKPOINT_RW" in str(refusal(**BREAKPOINT | {"bp_type": b.HW_BREAKPOINT_R}))


@needs_events
def test_generic_hardware_event_without_a_pmu_offers_software():
    """Where no PMU counts cycles, the reason says virtual machine, and what is there everywhere."""
    if "cpu" in events.pmus() or any(pmu.is_core for pmu in events.pmus().values()):
        pytest.skip("needs a machine without a hardware PMU")
    error = refusal(type=b.PERF_TYPE_HARDWARE, config=b.PERF_COUNT_HW_CPU_CYCLES)
    assert (error.errno, "PERF_TYPE_SOFTWARE is there everywhere" in str(error)) == (errno.ENOENT, True)


@needs_events
def test_a_kernel_too_old_for_a_field_is_named():
    """E2BIG names the field beyond the size that the kernel wrote into the attr."""
    newest = ffi.typeof("struct perf_event_attr").fields[-1][0]
    attr = perf_event_attr(**SOFTWARE, **{newest: 1})
    fd = lib.perf_event_open(attr, 0, -1, -1, b.PERF_FLAG_FD_CLOEXEC)
    if fd >= 0 or attr.size >= ffi.sizeof("struct perf_event_attr"):
        os.close(fd)
        pytest.skip("needs a kernel older than these headers")
    assert str(refusal(**{newest: 1})).endswith(f"it is too old for {newest})")


@needs_events
def test_a_flag_newer_than_the_kernel_is_found_by_asking():
    """A reserved bit that a later kernel gave a meaning is named as what this one does not take."""
    fd = lib.perf_event_open(perf_event_attr(**SOFTWARE, defer_callchain=1), 0, -1, -1, b.PERF_FLAG_FD_CLOEXEC)
    if fd >= 0:
        os.close(fd)
        pytest.skip("needs a kernel without defer_callchain")
    assert "does not take defer_callchain (0x1): without it the event opens" in str(refusal(defer_callchain=1))
    assert "or a combination of the attr's fields" in str(refusal(defer_callchain=1, defer_output=1))


def test_group_rules_are_told_apart(event):
    """A pinned member, a member on another CPU, and a descriptor that is no event."""
    leader = event(**SOFTWARE)
    assert "only the leader of a group can be pinned" in str(refusal(group_fd=leader, pinned=1))
    assert "the event opens outside of this group" in str(refusal(group_fd=leader, inherit=1))
    with open(os.devnull) as file:
        assert f"{file.fileno()} is {os.devnull}, and no perf event" in str(refusal(group_fd=file.fileno()))


@needs_events
def test_a_dead_process_is_esrch():
    """The process that exited is named by its pid."""
    child = subprocess.Popen(["true"])
    child.wait()
    assert f"no process or thread {child.pid}" in str(refusal(pid=child.pid))


@needs_events
def test_emfile_is_explained_with_no_descriptor_left():
    """At RLIMIT_NOFILE the reason needs no file to be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        error = refusal()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (error.errno, "RLIMIT_NOFILE" in str(error)) == (errno.EMFILE, True)


@needs_events
def test_efault_is_explained_without_reading_the_attr():
    """The bad address that the kernel refused is not read by us either."""
    wild = ffi.cast("struct perf_event_attr *", 8)
    with pytest.raises(OSError, match="not in this process's memory") as caught:
        perf_event_open(wild)
    assert caught.value.errno == errno.EFAULT


@pytest.mark.parametrize("code", [*errno.errorcode, 0, -1, 9999])
def test_diagnose_never_raises(code):
    """Any errno, with any arguments, gives a string."""
    attr = perf_event_attr(type=2**32 - 1, sample_type=2**64 - 1, sample_period=2**64 - 1)
    assert isinstance(errors.diagnose(code, attr, -7, -7, -7, 2**63), str)


@needs_breakpoints
def test_breakpoint_slots_run_out(event):
    """When the slots of the CPU are taken, ENOSPC says so."""
    reason = ""
    for address in range(0x1000, 0x2000, 8):
        try:
            event(**BREAKPOINT | {"bp_addr": address})
        except OSError as error:
            reason = str(error)
            break
    assert re.search(rf"{os.strerror(errno.ENOSPC)} .*breakpoints of the CPU", reason)


@needs_events
@needs_root
def test_cpu_and_cgroup_rules_are_named():
    """Whom to count, and where: rules that are looked at after the permissions."""
    assert "pid=-1 and cpu=-1" in str(refusal(pid=-1))
    assert "a cgroup (PERF_FLAG_PID_CGROUP) is counted on a CPU" in str(refusal(flags=b.PERF_FLAG_PID_CGROUP))
    with open(os.devnull) as file:
        error = refusal(file.fileno(), 0, flags=b.PERF_FLAG_PID_CGROUP)
    assert (error.errno, "a file descriptor of a cgroup's directory" in str(error)) == (errno.EBADF, True)


@needs_events
@needs_root
def test_an_offline_cpu_is_enodev():
    """A CPU that is there and switched off is told from one that does not exist."""
    with open("/sys/devices/system/cpu/present") as present, open("/sys/devices/system/cpu/online") as online:
        offline = set(events.parse_cpu_list(present.read().strip())) - set(events.parse_cpu_list(online.read().strip()))
    if not offline:
        pytest.skip("needs a CPU that is switched off: echo 0 > /sys/devices/system/cpu/cpu1/online")
    error = refusal(pid=-1, cpu=min(offline))
    assert (error.errno, f"CPU {min(offline)} is not online" in str(error)) == (errno.ENODEV, True)


@needs_events
@needs_root
def test_a_pmu_that_takes_no_such_field_is_named():
    """A PMU that cannot exclude the kernel, or sample, is named with the field."""
    if "msr" not in events.pmus():
        pytest.skip("needs the msr PMU")
    kind = events.pmu_type("msr")
    assert "PMU msr or this kernel does not take exclude_kernel" in str(refusal(type=kind, config=0))
    error = refusal(type=kind, config=0, exclude_kernel=0, sample_period=10)
    assert "PMU msr or this kernel does not take sample_period" in str(error)
    assert "PMU msr does not take config 0x63" in str(refusal(type=kind, config=99, exclude_kernel=0))


def test_a_pmu_that_counts_no_task_is_named(tmp_path, monkeypatch):
    """EINVAL of a task on a PMU with a cpumask says on which CPU to open it."""
    device = tmp_path / "uncore_imc_0"
    device.mkdir()
    (device / "type").write_text("77\n")
    (device / "cpumask").write_text("0,18\n")
    monkeypatch.setattr(_diagnose, "_DEVICES", str(tmp_path))
    text = errors.diagnose(errno.EINVAL, perf_event_attr(type=77), 0, -1, -1, 0)
    assert text == "PMU uncore_imc_0 counts whole CPUs and no task: open it with pid=-1 on CPU 0,18"


@needs_events
@needs_root
def test_uprobe_refusals_are_named():
    """A uprobe's path that is a directory, and one that does not exist, are named in the reason."""
    if "uprobe" not in events.pmus():
        pytest.skip("needs the uprobe PMU")
    for path, code, reason in (("/nowhere", errno.ENOENT, "no such file"), ("/tmp", errno.EINVAL, "a regular file")):
        with pytest.raises(OSError, match=reason) as caught:
            perf_event_open(events.attr("uprobe//", uprobe_path=path))
        assert caught.value.errno == code


def refused(pid=0, **fields):
    """The text of a refusal, or nothing where the event opens."""
    try:
        os.close(perf_event_open(perf_event_attr(**SOFTWARE | fields), pid, 0 if pid == -1 else -1))
    except OSError as error:
        return str(error)
    return ""


@needs_events_of_users
@needs_root
@pytest.mark.parametrize(
    ("level", "pid", "fields", "reason"),
    [
        (2, 0, {"exclude_kernel": 0}, "is 2: counting in the kernel needs 1 or less"),
        (3, 0, {"exclude_kernel": 0}, "is 3: counting in the kernel needs 1 or less.*deny everything from 3 on"),
        (1, -1, {}, "is 1: counting everybody on a CPU .* needs 0 or less"),
        (2, 0, {"namespaces": 1}, "namespaces, kprobes and uprobes need CAP_PERFMON"),
        (2, 0, {"sample_type": b.PERF_SAMPLE_PHYS_ADDR}, "is 2: physical addresses need 1 or less"),
        (2, 1, {}, "process 1 is another user's"),
    ],
)
def test_an_ordinary_user_hears_what_his_event_wants(paranoid, level, pid, fields, reason):
    """EACCES names the level, and what of this attr it forbids."""
    paranoid(level)
    assert re.search(f"Permission denied .*{reason}.*CAP_PERFMON", as_user(functools.partial(refused, pid, **fields)))


@needs_events_of_users
@needs_root
def test_raw_tracepoint_samples_are_named(paranoid, tracefs):
    """EPERM of a raw tracepoint sample names the level that allows it."""
    paranoid(2)
    config = events.tracepoint_id("sched", "sched_switch", tracefs=tracefs)
    fields = {"type": b.PERF_TYPE_TRACEPOINT, "config": config, "sample_type": b.PERF_SAMPLE_RAW}
    assert "raw tracepoint samples need -1" in as_user(functools.partial(refused, **fields))


@needs_seccomp
@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES])
def test_a_seccomp_filter_is_named(code):
    """Under a filter that denies the call, whoever asks, the reason is the filter."""
    text = in_child(refused, setup=functools.partial(deny, code))
    assert text.startswith(f"[Errno {code}] perf_event_open")
    assert "a seccomp filter is set on this process, as containers have it" in text


@needs_seccomp
@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOENT, errno.E2BIG])
def test_a_filter_answers_without_looking_at_the_attr(code):
    """An errno is no proof that there is memory behind the pointer: where there is none, that is the diagnosis."""

    def explain():
        texts = []
        page = mmap.mmap(-1, mmap.PAGESIZE)
        edge = ffi.from_buffer(page) + mmap.PAGESIZE - 8
        for wild in (0, 8, 1 << 40, 2**64 - 4096):
            attr = ffi.cast("struct perf_event_attr *", wild)
            assert lib.perf_event_open(attr, 0, -1, -1, 0) == -1
            assert ffi.errno == code
            texts.append(errors.diagnose(ffi.errno, attr, 0, -1, -1, 0))
        errors.diagnose(code, ffi.cast("struct perf_event_attr *", edge), 0, -1, -1, 0)
        return texts

    assert all(
        "attr does not point to memory" in text for text in in_child(explain, setup=functools.partial(deny, code))
    )


@needs_seccomp
def test_a_kernel_without_the_call_is_enosys():
    """ENOSYS says that the kernel lacks the call, or that a filter hides it."""
    assert "built without CONFIG_PERF_EVENTS" in in_child(refused, setup=functools.partial(deny, errno.ENOSYS))


def test_an_inherited_event_of_a_task_has_no_ring(event):
    """The mmap's EINVAL names inherit."""
    with pytest.raises(OSError, match="inherited and on no CPU") as caught:
        ring.map(event(**SOFTWARE, inherit=1), 1)
    assert caught.value.errno == errno.EINVAL


def test_a_ring_of_no_event_is_explained(foreign_fd):
    """A number that is no open file is EBADF, and a file that is no event ENOTTY; both are named."""
    with pytest.raises(OSError, match="999 is no open file") as caught:
        ring.map(999, 1)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(OSError, match=f"{foreign_fd} is /dev/null, and no perf event") as caught:
        ring.map(foreign_fd, 1)
    assert caught.value.errno == errno.ENOTTY


@needs_events_of_users
def test_a_ring_beyond_the_locked_memory_is_explained():
    """The mmap's EPERM gives the value of perf_event_mlock_kb, and what lifts it."""

    def map_too_much():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        ring.map(perf_event_open(perf_event_attr(**SOFTWARE)), 1 << 13)

    with pytest.raises(PermissionError, match=r"\(8193 pages and .*perf_event_mlock_kb \(\d+ KiB.*CAP_IPC_LOCK"):
        as_user(map_too_much)


def test_refused_has_the_hint_of_its_call_and_errno():
    """Each hint belongs to one ioctl and one errno; the caller's own hint replaces it."""
    for call, code, hint, end in (
        ("PERF_EVENT_IOC_REFRESH", errno.EINVAL, "", "(an inherited event cannot be refreshed)"),
        ("PERF_EVENT_IOC_REFRESH", errno.EINVAL, "mine", "(mine)"),
        ("PERF_EVENT_IOC_REFRESH", errno.EBADF, "", os.strerror(errno.EBADF)),
        ("PERF_EVENT_IOC_ENABLE", errno.EINVAL, "", os.strerror(errno.EINVAL)),
        ("PERF_EVENT_IOC_ENABLE", errno.ENOTTY, "", "(the file descriptor is no perf event)"),
        ("PERF_EVENT_IOC_ENABLE", errno.ENOTTY, "mine", "(mine)"),
    ):
        ffi.errno = code
        with pytest.raises(OSError, match=call) as caught:
            errors.refused(call, hint)
        assert str(caught.value).endswith(end)


def test_refused_keeps_the_errno_and_names_the_call():
    """The gate's exception has ffi.errno, the call and a hint, and is the subclass that errno calls for."""
    ffi.errno = errno.EACCES
    with pytest.raises(PermissionError, match=r"bpf: Permission denied \(because\)"):
        errors.refused("bpf", "because")

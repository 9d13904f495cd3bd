"""The system call: what it counts, whom, from when on, and how it refuses."""

import ctypes
import errno
import os
import signal
import struct
import subprocess
import sys

import pytest
from support.events import PAGE_FAULTS, value
from support.machine import CPUS, MACHINE, PAGE_SIZE
from support.marks import REFUSED, needs_breakpoints, needs_events, needs_root
from support.processes import as_user
from support.workloads import fault, let_go, waiting

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, ioctls, lib, perf_event_attr, perf_event_header, perf_event_open

DUMMY = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_DUMMY, "exclude_kernel": 1}


def kernel_size():
    """The size of perf_event_attr that this kernel knows: it says so when asked with one that is too small."""
    attr = perf_event_attr(**DUMMY, size=1)
    lib.perf_event_open(attr, 0, -1, -1, 0)
    return attr.size


needs_sigtrap = pytest.mark.skipif(
    not REFUSED and kernel_size() < b.PERF_ATTR_SIZE_VER7,
    reason="the kernel has no remove_on_exec and sigtrap (Linux 5.13)",
)


def test_an_event_counts_the_calling_thread_from_the_start(event):
    """With the defaults (this thread, any CPU) and not disabled, it counts at once."""
    fd = event(**PAGE_FAULTS)
    fault(100)
    assert 100 <= value(fd) < 200


def test_an_event_counts_another_process(event):
    """*pid* names the process; what this one does is not counted."""
    with waiting("exec true") as child:
        fd = event(**PAGE_FAULTS, pid=child.pid)
        fault(100)
        assert value(fd) == 0
        let_go(child)
        assert value(fd) > 10


@needs_root
def test_an_event_counts_all_processes_of_a_cpu(event):
    """With *pid* -1, the event of each CPU counts whoever runs there."""
    cpus = CPUS
    fds = [event(**PAGE_FAULTS, pid=-1, cpu=cpu) for cpu in cpus]
    with waiting("exec true") as child:
        before = sum(value(fd) for fd in fds)
        let_go(child)
        assert sum(value(fd) for fd in fds) > before + 10


def test_inherit_counts_children_too(event):
    """With inherit, the faults of a child are in the count when it has ended; without, they are not."""
    alone, inherited = event(**PAGE_FAULTS), event(**PAGE_FAULTS, inherit=1)
    before = value(alone), value(inherited)
    subprocess.run([sys.executable, "-S", "-E", "-c", ""], check=True)
    of_alone, of_inherited = value(alone) - before[0], value(inherited) - before[1]
    assert of_inherited > of_alone + 200


def test_enable_on_exec_starts_with_the_new_program(event):
    """A disabled event counts nothing of the shell, and then the program that it becomes."""
    with waiting("exec true") as child:
        fd = event(**PAGE_FAULTS, pid=child.pid, disabled=1, enable_on_exec=1)
        never = event(**PAGE_FAULTS, pid=child.pid, disabled=1)
        let_go(child)
        assert value(fd) > 10
        assert value(never) == 0


@needs_sigtrap
def test_remove_on_exec_ends_with_the_old_program(event):
    """The event counts the shell, and nothing of the program that it becomes."""
    with waiting("exec true") as child:
        removed = event(**PAGE_FAULTS, pid=child.pid, remove_on_exec=1)
        whole = event(**PAGE_FAULTS, pid=child.pid)
        let_go(child)
        assert value(whole) > value(removed) + 10


@needs_events
@needs_sigtrap
@needs_breakpoints
@pytest.mark.skipif(
    MACHINE.startswith(("aarch64", "arm")),
    reason="the signal comes before the write, which then hits again: no step over a breakpoint with sigtrap on ARM",
)
def test_sigtrap_is_raised_by_the_thread_itself():
    """Each hit of a breakpoint with sigtrap is a SIGTRAP of the thread that made it."""
    cell, hits = ctypes.c_long(), []
    watch = {"type": b.PERF_TYPE_BREAKPOINT, "bp_type": b.HW_BREAKPOINT_W, "bp_len": ctypes.sizeof(cell)}
    watch |= {"bp_addr": ctypes.addressof(cell), "sample_period": 1, "exclude_kernel": 1}
    attr = perf_event_attr(**watch, sigtrap=1, remove_on_exec=1, sig_data=1)
    before = signal.signal(signal.SIGTRAP, lambda *_: hits.append(cell.value))
    try:
        fd = perf_event_open(attr)
        for number in (7, 8, 9):
            cell.value = number
        os.close(fd)  # before the memory of the cell is somebody else's
    finally:
        signal.signal(signal.SIGTRAP, before)
    assert hits == [7, 8, 9]


@needs_sigtrap
def test_sigtrap_needs_remove_on_exec(event):
    """A sigtrap without remove_on_exec is EINVAL: the signal would kill the program that an exec starts."""
    with pytest.raises(OSError, match="perf_event_open") as caught:
        event(**PAGE_FAULTS, sample_period=1, sigtrap=1)
    assert caught.value.errno == errno.EINVAL


def test_a_group_is_read_at_once_and_led_by_one(event):
    """Events opened with group_fd join the leader's group, in order; they start and stop with it."""
    read_format = b.PERF_FORMAT_GROUP | b.PERF_FORMAT_ID
    leader = event(**PAGE_FAULTS, read_format=read_format, disabled=1)
    siblings = [event(**PAGE_FAULTS, read_format=read_format, group_fd=leader) for _ in range(2)]
    fault(100)
    assert [counts.value for counts in counters.read(leader, read_format)] == [0, 0, 0]
    ioctls.enable(leader)
    fault(100)
    ioctls.disable(leader)
    group = counters.read(leader, read_format)
    assert [counts.id for counts in group] == [ioctls.id(fd) for fd in (leader, *siblings)]
    assert len({counts.value for counts in group}) == 1
    assert 100 <= group[0].value < 150


def test_a_closed_member_leaves_its_group(event):
    """The group goes on without it; without its leader, a sibling is an event of its own."""
    read_format = b.PERF_FORMAT_GROUP
    attr = perf_event_attr(**DUMMY, read_format=read_format)
    leader = perf_event_open(attr)
    try:
        sibling = event(**DUMMY, read_format=read_format, group_fd=leader)
        os.close(perf_event_open(attr, group_fd=leader))
        assert len(counters.read(leader, read_format)) == 2
    finally:
        os.close(leader)
    assert len(counters.read(sibling, read_format)) == 1


@needs_root
def test_a_sibling_of_another_context_is_refused(event):
    """The members of a group count the same task on the same CPU: EINVAL."""
    leader = event(**DUMMY)
    with pytest.raises(OSError, match="perf_event_open") as caught:
        event(**DUMMY, pid=-1, cpu=CPUS[0], group_fd=leader)
    assert caught.value.errno == errno.EINVAL


def test_a_sibling_leads_no_group(event):
    """An event whose group_fd is itself a sibling is EINVAL: groups have one level."""
    sibling = event(**DUMMY, group_fd=event(**DUMMY))
    with pytest.raises(OSError, match="perf_event_open") as caught:
        event(**DUMMY, group_fd=sibling)
    assert caught.value.errno == errno.EINVAL


def test_fd_output_writes_into_the_ring_of_group_fd(event, ring):
    """PERF_FLAG_FD_OUTPUT does at open what SET_OUTPUT does later; with FD_NO_GROUP there is no group."""
    fields = {"type": b.PERF_TYPE_SOFTWARE, "sample_period": 1, "sample_type": b.PERF_SAMPLE_ID}
    owner = event(**fields, config=b.PERF_COUNT_SW_DUMMY, read_format=b.PERF_FORMAT_GROUP)
    samples = ring(owner)
    flags = b.PERF_FLAG_FD_OUTPUT | b.PERF_FLAG_FD_NO_GROUP | b.PERF_FLAG_FD_CLOEXEC
    guest = event(**fields, config=b.PERF_COUNT_SW_PAGE_FAULTS, group_fd=owner, flags=flags)
    fault(10)
    assert {struct.unpack("=Q", body)[0] for body in samples.samples()} == {ioctls.id(guest)}
    assert len(counters.read(owner, b.PERF_FORMAT_GROUP)) == 1


@needs_events
@pytest.mark.parametrize(("flags", "survives"), [((), False), ((b.PERF_FLAG_FD_CLOEXEC,), False), ((0,), True)])
def test_an_event_is_closed_on_exec_unless_flags_say_otherwise(flags, survives):
    """By default a new program does not get the file (PEP 446); with flags of 0 it does."""
    fd = perf_event_open(perf_event_attr(**DUMMY), 0, -1, -1, *flags)
    try:
        assert os.get_inheritable(fd) == survives
        child = subprocess.run(["test", "-e", f"/proc/self/fd/{fd}"], close_fds=False)
    finally:
        os.close(fd)
    assert (child.returncode == 0) == survives


@needs_root
def test_cgroup_mode_counts_the_processes_of_a_cgroup(event, cgroup):
    """With PERF_FLAG_PID_CGROUP, *pid* is a descriptor of the cgroup's directory; who is not in it does not count."""
    flags = b.PERF_FLAG_PID_CGROUP | b.PERF_FLAG_FD_CLOEXEC
    path = cgroup()
    directory = os.open(path, os.O_RDONLY)
    try:
        try:
            fds = [event(**PAGE_FAULTS, pid=directory, cpu=n, flags=flags) for n in CPUS]
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOENT):
                raise
            pytest.skip("no perf_event cgroups: CONFIG_CGROUP_PERF, or a hierarchy that never had a controller enabled")
    finally:
        os.close(directory)
    subprocess.run(["true"], check=True)
    assert sum(value(fd) for fd in fds) == 0
    with waiting("exec true") as child:
        with open(os.path.join(path, "cgroup.procs"), "w") as procs:
            procs.write(str(child.pid))
        let_go(child)
    assert sum(value(fd) for fd in fds) > 10


@needs_root
def test_cgroup_mode_needs_a_directory_and_a_cpu(event, closed_fd, foreign_fd):
    """A file that is no cgroup is EBADF; without a CPU it is EINVAL."""
    flags = b.PERF_FLAG_PID_CGROUP | b.PERF_FLAG_FD_CLOEXEC
    cpu = CPUS[0]
    for pid, on, code in (
        (closed_fd, cpu, errno.EBADF),
        (foreign_fd, cpu, errno.EBADF),
        (foreign_fd, -1, errno.EINVAL),
    ):
        with pytest.raises(OSError, match="perf_event_open") as caught:
            event(**DUMMY, pid=pid, cpu=on, flags=flags)
        assert caught.value.errno == code


@needs_events
@pytest.mark.parametrize("size", [1, b.PERF_ATTR_SIZE_VER0 - 1, 2 * PAGE_SIZE, 2**32 - 1])
def test_e2big_leaves_the_kernels_size_in_attr(size):
    """A size below the first version's or above a page is E2BIG, and the kernel writes its own size into attr."""
    attr = perf_event_attr(**DUMMY, size=size)
    with pytest.raises(OSError, match="perf_event_open") as caught:
        perf_event_open(attr)
    assert caught.value.errno == errno.E2BIG
    assert attr.size >= b.PERF_ATTR_SIZE_VER0
    assert attr.size % 8 == 0
    assert attr.size != size


@needs_events
@pytest.mark.parametrize("tail", [0, 1])
def test_a_larger_attr_is_accepted_if_its_tail_is_zero(tail):
    """An attr of a later kernel works as long as what this kernel does not know is 0; else E2BIG, with its size."""
    area = bytearray(4096)
    area[-1] = tail
    with ffi.from_buffer("struct perf_event_attr *", area) as attr:
        attr.type, attr.config, attr.exclude_kernel, attr.size = b.PERF_TYPE_SOFTWARE, b.PERF_COUNT_SW_DUMMY, 1, 4096
        if not tail:
            os.close(perf_event_open(attr))
            assert attr.size == 4096
        else:
            with pytest.raises(OSError, match="perf_event_open") as caught:
                perf_event_open(attr)
            assert caught.value.errno == errno.E2BIG
            assert attr.size == kernel_size()


@needs_events
def test_a_field_that_the_kernel_is_too_old_for_is_e2big():
    """The first field beyond what this kernel knows, if it is not 0."""
    attr = perf_event_attr(**DUMMY)
    known = kernel_size()
    if known >= attr.size:
        pytest.skip(f"the kernel knows all {attr.size} bytes of perf_event_attr")
    ffi.buffer(attr)[known] = b"\1"
    with pytest.raises(OSError, match="perf_event_open") as caught:
        perf_event_open(attr)
    assert caught.value.errno == errno.E2BIG
    assert attr.size == known


@needs_events
def test_a_size_of_zero_is_the_first_versions():
    """The kernel reads 64 bytes then, and nothing of what comes after."""
    attr = perf_event_attr(**DUMMY, size=0, config3=2**64 - 1)
    os.close(perf_event_open(attr))


POINTERS = [None, ffi.NULL, 0, 4096, b"attr", "attr", {}, perf_event_header(), ffi.new("int *")]


@pytest.mark.parametrize("attr", POINTERS, ids=lambda attr: str(attr).split(" owning")[0])
def test_attr_is_a_pointer_to_an_attr(attr):
    """None, an int, a buffer or another struct is a TypeError, before the kernel sees it."""
    with pytest.raises(TypeError):
        perf_event_open(attr)


@pytest.mark.parametrize("name", ["pid", "cpu", "group_fd", "flags"])
def test_the_other_arguments_are_ints(name):
    """Something else is a TypeError, a number that is too large an OverflowError."""
    for wrong in (None, "0", 0.0):
        with pytest.raises(TypeError):
            perf_event_open(perf_event_attr(**DUMMY), **{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        perf_event_open(perf_event_attr(**DUMMY), **{name: 2**64})


@needs_events
def test_a_wild_pointer_is_the_kernels_efault():
    """Explaining it does not read the attr that could not be read."""
    with pytest.raises(OSError, match="perf_event_open") as caught:
        perf_event_open(ffi.cast("struct perf_event_attr *", 8))
    assert caught.value.errno == errno.EFAULT


def test_a_dead_process_is_esrch(event):
    """There is nobody to count any more: ProcessLookupError."""
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(ProcessLookupError, match="perf_event_open"):
        event(**DUMMY, pid=child.pid)


def test_nobody_on_no_cpu_is_refused(event):
    """*pid* and *cpu* cannot both be -1: EINVAL."""
    with pytest.raises(OSError, match="perf_event_open") as caught:
        event(**DUMMY, pid=-1, cpu=-1)
    assert caught.value.errno in (errno.EINVAL, errno.EACCES)


def test_a_cpu_that_is_not_there_is_refused(event):
    """One that no machine has is EINVAL; one that is offline would be ENODEV."""
    with pytest.raises(OSError, match="perf_event_open") as caught:
        event(**DUMMY, cpu=2**31 - 1)
    assert caught.value.errno in (errno.EINVAL, errno.ENODEV)


def test_a_group_fd_that_is_no_event_is_ebadf(event, closed_fd, foreign_fd):
    """A group_fd that is closed, or a file that is no event, is EBADF."""
    for fd in (closed_fd, foreign_fd):
        with pytest.raises(OSError, match="perf_event_open") as caught:
            event(**DUMMY, group_fd=fd)
        assert caught.value.errno == errno.EBADF


def test_an_unknown_flag_is_refused(event):
    """Bits that are no PERF_FLAG_*: EINVAL."""
    with pytest.raises(OSError, match="perf_event_open") as caught:
        event(**DUMMY, flags=1 << 30)
    assert caught.value.errno == errno.EINVAL


def test_an_event_that_no_pmu_counts_is_enoent(event):
    """A type that does not exist: FileNotFoundError."""
    with pytest.raises(FileNotFoundError, match="perf_event_open"):
        event(type=2**31 - 1)


@needs_events
def test_an_ordinary_user_is_refused_whole_cpus():
    """Where kernel.perf_event_paranoid forbids it, PermissionError."""
    with open("/proc/sys/kernel/perf_event_paranoid") as file:
        if int(file.read()) <= 0:
            pytest.skip("kernel.perf_event_paranoid allows whole CPUs to everybody")
    with pytest.raises(PermissionError, match="perf_event_open"):
        as_user(perf_event_open, perf_event_attr(**DUMMY), -1, CPUS[0])


@needs_events
def test_the_raw_call_returns_minus_one_and_leaves_errno():
    """lib.perf_event_open returns -1 and leaves the error in ffi.errno, as the C function does."""
    assert lib.perf_event_open(perf_event_attr(type=2**31 - 1, exclude_kernel=1), 0, -1, -1, 0) == -1
    assert ffi.errno == errno.ENOENT

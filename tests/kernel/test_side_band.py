"""Records about processes, mappings, switches, the kernel's code: provoked, and as the system tells of them."""

import itertools
import mmap
import os
import select
import threading
import time

import pytest
from support import bpf
from support.encode import TRAILER
from support.events import DUMMY, EVERY_FAULT, of_type
from support.machine import CPUS, PAGE_SIZE, WORD
from support.marks import needs_root
from support.workloads import child

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, ioctls, perf_event_attr, records, ring

ALL_SIX = sum({bit for bit, _ in TRAILER})
SIDE_BAND = {**DUMMY, "sample_type": ALL_SIX, "sample_id_all": 1}


def records_of(rings):
    """Return all records in the rings, as cdata."""
    return [one for page in rings for one in records.iterate(ring.read(page))]


@pytest.fixture
def rings(event):
    """Open an event on each CPU, for *pid*, and map a ring of each: {page: fd}; unmapped at the end."""
    mapped = {}

    def open_rings(*, pid, data_pages=8, **fields):
        for cpu in CPUS:
            fd = event(pid=pid, cpu=cpu, **fields)
            mapped[ring.map(fd, data_pages)] = fd
        return mapped

    yield open_rings
    for page in mapped:
        ffi.release(page)


def test_real_trailers_have_all_six_fields(event):
    """A COMM record of this thread says who, when, which event and where, as the system says it."""
    attr = perf_event_attr(**SIDE_BAND, comm=1)
    fd = event(**SIDE_BAND, comm=1)
    name = f"/proc/self/task/{threading.get_native_id()}/comm"
    with open(name) as file:
        before = file.read().rstrip()
    with ring.map(fd, 1) as page:
        try:
            with open(name, "w") as file:
                file.write("renamed")
        finally:
            with open(name, "w") as file:
                file.write(before)
        found = list(records.iterate(ring.read(page)))
    assert [records.name(one) for one in found] == [b"renamed", before.encode()]
    trailers = [records.sample_id(one, attr) for one in found]
    for one, trailer in zip(found, trailers, strict=True):
        assert (one.pid, one.tid) == (trailer.pid, trailer.tid) == (os.getpid(), threading.get_native_id())  # type: ignore[attr-defined]
        assert trailer.id == ioctls.id(fd)
        assert trailer.stream_id == trailer.id
        assert trailer.cpu in CPUS
        assert not one.header.misc & b.PERF_RECORD_MISC_COMM_EXEC
    assert 0 < trailers[0].time < trailers[1].time
    by_id = records.sample_id(found[0], {ioctls.id(fd): attr})
    assert by_id.time == trailers[0].time


FORK_AND_EXEC = """
child = os.fork()
if child == 0:
    os.execv("/bin/true", ["true"])
os.waitpid(child, 0)
print(child, flush=True)
"""


def test_a_child_leaves_fork_comm_mmap_namespaces_and_exit(rings):
    """The side-band records of a child that calls execve(2) have its parent, its new name and its mappings."""
    fields = {"task": 1, "comm": 1, "comm_exec": 1, "mmap": 1, "mmap_data": 1, "inherit": 1}
    fields["namespaces"] = int(os.geteuid() == 0)  # the kernel keeps them from ordinary users
    with child(FORK_AND_EXEC) as (process, go):
        pages = rings(pid=process.pid, **SIDE_BAND, **fields)
        go()
        grandchild = int(process.stdout.read())
    found = records_of(pages)
    [fork] = of_type(found, "fork")
    assert (fork.pid, fork.tid, fork.ppid, fork.ptid) == (grandchild, grandchild, process.pid, process.pid)
    assert {(one.pid, one.tid) for one in of_type(found, "exit")} == {(one, one) for one in (grandchild, process.pid)}
    [comm] = of_type(found, "comm")
    assert (comm.pid, records.name(comm)) == (grandchild, b"true")
    assert comm.header.misc & b.PERF_RECORD_MISC_COMM_EXEC
    mapped = {records.name(one): one for one in of_type(found, "mmap") if one.pid == grandchild}
    true = os.path.realpath("/bin/true").encode()
    assert mapped[true].len % PAGE_SIZE == 0
    assert b"[vdso]" in mapped
    spaces = of_type(found, "namespaces")
    assert {one.pid for one in spaces} == ({grandchild} if fields["namespaces"] else set())
    for one in spaces:
        inodes = {one.link_info[i].ino for i in range(one.nr_namespaces)}
        assert os.stat("/proc/self/ns/pid").st_ino in inodes
    trailer = records.sample_id(fork, perf_event_attr(**SIDE_BAND))
    assert (trailer.pid, trailer.tid) == (process.pid, process.pid)
    assert 0 < fork.time < of_type(found, "exit")[-1].time


@pytest.mark.parametrize("build_id", [0, 1])
def test_mmap2_of_an_executable_names_its_file(rings, build_id):
    """The inode of /bin/true, or with attr.build_id the build id that its ELF notes hold."""
    with child(FORK_AND_EXEC) as (process, go):
        try:
            pages = rings(pid=process.pid, **SIDE_BAND, mmap=1, mmap2=1, build_id=build_id, inherit=1)
        except OSError as error:
            pytest.skip(f"this kernel has no attr.build_id: {error}")
        go()
    path = os.path.realpath("/bin/true")
    [found] = [one for one in of_type(records_of(pages), "mmap2") if records.name(one) == path.encode()]
    assert found.prot & mmap.PROT_EXEC
    if build_id:
        assert found.header.misc & b.PERF_RECORD_MISC_MMAP_BUILD_ID
        with open(path, "rb") as file:
            assert bytes(found.build_id[0 : found.build_id_size]) in file.read()
    else:
        info = os.stat(path)
        assert found.ino == info.st_ino
        assert not found.header.misc & b.PERF_RECORD_MISC_MMAP_BUILD_ID


def test_switch_says_in_misc_whether_out_or_in(event):
    """A thread that waits goes out and comes back, in turns."""
    with ring.map(event(**SIDE_BAND, context_switch=1), 8) as page:
        for _ in range(5):
            select.select([], [], [], 0.001)
        found = list(records.iterate(ring.read(page)))
    assert {ffi.typeof(one).cname for one in found} == {"struct perf_record_switch *"}
    out = [bool(one.header.misc & b.PERF_RECORD_MISC_SWITCH_OUT) for one in found]
    assert sum(out) >= 5
    assert all(before != after for before, after in itertools.pairwise(out))


@needs_root
def test_switch_cpu_wide_names_the_other_task(rings):
    """In SWITCH_CPU_WIDE records of a CPU, the task that follows this thread is the one before it when it comes back."""
    attr = perf_event_attr(**SIDE_BAND)
    me = threading.get_native_id()
    pages = rings(pid=-1, **SIDE_BAND, context_switch=1, data_pages=128)
    for _ in range(5):
        select.select([], [], [], 0.001)
    for fd in pages.values():
        ioctls.disable(fd)
    found = of_type(records_of(pages), "switch_cpu_wide")
    left = [one for one in found if one.header.misc & b.PERF_RECORD_MISC_SWITCH_OUT and one.next_prev_tid != me]
    trailers = [records.sample_id(one, attr).tid for one in left]
    assert trailers.count(me) >= 5


@pytest.mark.parametrize("group", [0, b.PERF_FORMAT_GROUP])
def test_read_comes_from_a_child_that_inherited_the_counter(rings, group):
    """With inherit_stat, an exiting task leaves its own count, in the event's read_format."""
    script = "child = os.fork()\nif child == 0:\n    fault(300)\n    os._exit(0)\nos.waitpid(child, 0)\nprint(child)"
    read_format = b.PERF_FORMAT_ID | b.PERF_FORMAT_TOTAL_TIME_ENABLED | group
    fields = {"read_format": read_format, "inherit": 1, "inherit_stat": 1, "sample_period": 0}
    with child(script) as (process, go):
        try:
            pages = rings(pid=process.pid, **SIDE_BAND | EVERY_FAULT | fields)
        except OSError as error:
            pytest.skip(f"this kernel inherits no groups: {error}")
        go()
        family = (process.pid, int(process.stdout.read()))
    found = of_type(records_of(pages), "read")
    if not found:
        pytest.skip("this kernel leaves no PERF_RECORD_READ of an exiting task")
    total = 0
    for one in found:
        assert one.pid in family  # the kernel may have swapped the contexts of the two
        words = list(one.values[0 : 4 if group else 3])
        nr, enabled, value, event_id = words if group else (1, words[1], words[0], words[2])
        assert nr == 1
        assert event_id in [ioctls.id(fd) for fd in pages.values()]
        assert value == 0 or enabled > 0
        total += value
    assert total > 0


@needs_root
def test_throttle_when_too_many_samples_come_in_a_tick(event, tracefs):
    """An event that overflows hundreds of times at once is stopped for the rest of the tick, and started again."""
    path = os.path.join(tracefs, "events", "sched", "sched_stat_runtime", "id")
    if not os.path.exists(path):
        pytest.skip("the kernel has no tracepoint sched:sched_stat_runtime, which counts nanoseconds")
    with open(path) as file:
        attr = {"type": b.PERF_TYPE_TRACEPOINT, "config": int(file.read()), "sample_period": 1000}
    fd = event(**attr, sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_STREAM_ID, disabled=1)
    found = []
    with ring.map(fd, 64) as page:
        ioctls.enable(fd)
        until = time.thread_time() + 0.5
        while time.thread_time() < until and not of_type(found, "unthrottle"):
            found += records.iterate(ring.read(page))
    throttles, freed = of_type(found, "throttle"), of_type(found, "unthrottle")
    if not throttles:
        pytest.skip("the kernel throttled nothing")
    assert {(one.id, one.stream_id) for one in throttles + freed} == {(ioctls.id(fd), ioctls.id(fd))}
    assert 0 < throttles[0].time < freed[0].time


@needs_root
def test_cgroup_records_tell_a_new_group(rings, cgroup):
    """Its id is the inode of its directory, its name the path."""
    cgroup(".before")
    pages = rings(pid=-1, **SIDE_BAND, cgroup=1, task=1)
    path = cgroup()
    name = os.path.basename(path).encode()
    found = [one for one in of_type(records_of(pages), "cgroup") if records.name(one).endswith(name)]
    if not found:
        pytest.skip(f"the cgroup file system of {path} is not perf_event's")
    assert {one.id % 2**WORD for one in found} == {os.stat(path).st_ino}


@needs_root
def test_bpf_programs_come_as_bpf_event_and_ksymbol(rings):
    """When a BPF program is loaded and unloaded, the records have its id, its tag and the address of its code."""
    pages = rings(pid=-1, **SIDE_BAND, bpf_event=1, ksymbol=1, data_pages=32)
    program = bpf.load(bpf.PROG_TYPE_SOCKET_FILTER, bpf.returning(0), b"peos_test")
    with open(f"/proc/self/fdinfo/{program}") as file:
        info = dict(line.rstrip().split(":\t") for line in file if ":\t" in line)
    os.close(program)
    poll = select.poll()
    for fd in pages.values():
        poll.register(fd, select.POLLIN)
    found, tries = [], 0
    while sum(one.id == int(info["prog_id"]) for one in of_type(found, "bpf_event")) < 2 and tries < 1000:
        found += records_of(pages)  # the program is freed after a grace period
        poll.poll(10)
        tries += 1
    events = [one for one in of_type(found, "bpf_event") if one.id == int(info["prog_id"])]
    # Each CPU has its ring: the two may come in either order.
    assert sorted(one.type for one in events) == [b.PERF_BPF_EVENT_PROG_LOAD, b.PERF_BPF_EVENT_PROG_UNLOAD]
    assert {bytes(one.tag).hex() for one in events} == {info["prog_tag"]}
    with open("/proc/sys/net/core/bpf_jit_enable") as file:
        if file.read() == "0\n":
            return  # a program that is interpreted has no code of its own, and so no symbol
    name = f"bpf_prog_{info['prog_tag']}_peos_test".encode()
    symbols = [one for one in of_type(found, "ksymbol") if records.name(one) == name]
    assert 0 in [one.flags for one in symbols]
    assert {one.ksym_type for one in symbols} == {b.PERF_RECORD_KSYMBOL_TYPE_BPF}
    assert symbols[0].addr > 2 ** (WORD - 1)
    assert symbols[0].len > 0


@needs_root
def test_text_poke_has_the_old_and_the_new_code(rings, tracefs, event):
    """Enabling a tracepoint patches the kernel; disabling it patches it back."""
    pages = rings(pid=-1, **SIDE_BAND, text_poke=1, data_pages=64)
    point = os.path.join(tracefs, "events", "sched", "sched_process_hang", "id")
    if not os.path.exists(point):
        pytest.skip("the kernel has no tracepoint sched:sched_process_hang")
    with open(point) as file:
        event(type=b.PERF_TYPE_TRACEPOINT, config=int(file.read()), cpu=CPUS[0], pid=-1)
    found = of_type(records_of(pages), "text_poke")
    if not found:
        pytest.skip("this kernel reports no patches of its code")
    for one in found:
        assert one.addr > 2 ** (WORD - 1)
        assert one.old_len + one.new_len > 0
        code = bytes(one.bytes[0 : one.old_len + one.new_len])
        assert code[: one.old_len] != code[one.old_len :]

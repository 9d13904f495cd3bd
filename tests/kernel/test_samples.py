"""Samples that the kernel wrote, with what the system says of the same moment."""

import itertools
import mmap
import os
import select
import struct
import threading

import pytest
from support.events import EVERY_FAULT, of_type
from support.machine import CPUS, MACHINE, PAGE_SIZE, WORD
from support.samples import ALL_SAMPLE_BITS
from support.workloads import fault, touch

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, ioctls, perf_event_attr, records, ring


def test_real_samples_have_what_the_system_says(event):
    """Page faults with most fields that a software event can fill."""
    absent = b.PERF_SAMPLE_RAW | b.PERF_SAMPLE_BRANCH_STACK | b.PERF_SAMPLE_AUX | b.PERF_SAMPLE_PHYS_ADDR
    kind = ALL_SAMPLE_BITS & ~absent & ~b.PERF_SAMPLE_WEIGHT_STRUCT
    fields = {
        "sample_type": kind,
        "read_format": b.PERF_FORMAT_MAX - 1,
        "sample_regs_user": 0b11_1100,
        "sample_regs_intr": 0b1_1100_0000,
        "sample_stack_user": 256,
        "exclude_callchain_kernel": 1,
        "exclude_kernel": 1,
        "disabled": 1,
    }
    fd = event(**EVERY_FAULT, **fields)
    with ring.map(fd, 16) as page, mmap.mmap(-1, 20 * PAGE_SIZE) as area:
        ioctls.enable(fd)
        touch(area, 20)
        ioctls.disable(fd)
        buffer = ring.read(page)
        where = ffi.from_buffer(area)
        begin = int(ffi.cast("uintptr_t", where))
        ffi.release(where)
    end = begin + 20 * PAGE_SIZE
    samples = [sample for sample in records.parse(buffer, perf_event_attr(**fields)) if begin <= sample.addr < end]
    assert [sample.addr for sample in samples] == [begin + i * PAGE_SIZE for i in range(20)]
    for sample, after in itertools.pairwise(samples):
        assert sample.time < after.time
    for sample in samples:
        assert sample.id == sample.stream_id == ioctls.id(fd)
        assert (sample.pid, sample.tid) == (os.getpid(), threading.get_native_id())
        assert (sample.cpu in CPUS, sample.period) == (True, 1)
        assert sample.misc & b.PERF_RECORD_MISC_CPUMODE_MASK == b.PERF_RECORD_MISC_USER
        chain = records.callchain(buffer, sample)
        if len(chain) > 1 or MACHINE != "s390x":  # where old kernels do not walk the user's stack
            assert list(chain[0:2]) == [b.PERF_CONTEXT_USER, sample.ip]
        assert sample.user_regs_abi == (b.PERF_SAMPLE_REGS_ABI_64 if WORD == 64 else b.PERF_SAMPLE_REGS_ABI_32)
        assert len(records.user_regs(buffer, sample)) == 4
        assert len(records.intr_regs(buffer, sample)) == 3
        assert len(records.user_stack(buffer, sample)) == 256
        [counts] = records.counts(buffer, sample)
        assert (counts.id, counts.lost) == (sample.id, 0)
        assert counts.time_enabled >= counts.time_running > 0
    values = [records.counts(buffer, sample)[0].value for sample in samples]
    assert values == list(range(values[0], values[0] + 20))


def test_two_tracepoints_in_one_ring_are_routed_by_id(event, tracefs):
    """Different sample_type, read_format and registers; each sample comes with its own event's fields."""

    def config(name):
        with open(os.path.join(tracefs, "events", *name.split(":"), "id")) as file:
            return int(file.read())

    first = {
        "type": b.PERF_TYPE_TRACEPOINT,
        "config": config("raw_syscalls:sys_enter"),
        "sample_period": 1,
        "sample_type": b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_RAW | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_REGS_USER,
        "sample_regs_user": 0b1_1000_0000,
    }
    second = {
        "type": b.PERF_TYPE_TRACEPOINT,
        "config": config("sched:sched_switch"),
        "sample_period": 1,
        "sample_type": b.PERF_SAMPLE_IDENTIFIER
        | b.PERF_SAMPLE_READ
        | b.PERF_SAMPLE_TID
        | b.PERF_SAMPLE_RAW
        | b.PERF_SAMPLE_REGS_USER
        | b.PERF_SAMPLE_CALLCHAIN,
        "read_format": b.PERF_FORMAT_ID | b.PERF_FORMAT_LOST | b.PERF_FORMAT_TOTAL_TIME_ENABLED,
        "sample_regs_user": 0b111,
    }
    fds = [event(**fields, disabled=1) for fields in (first, second)]
    with ring.map(fds[0], 32) as page:
        ioctls.set_output(fds[1], fds[0])
        for fd in fds:
            ioctls.enable(fd)
        for _ in range(10):
            os.getppid()
            select.select([], [], [], 0.001)
        for fd in fds:
            ioctls.disable(fd)
        buffer = ring.read(page)
    ids = [ioctls.id(fd) for fd in fds]
    samples = records.parse(buffer, dict(zip(ids, (perf_event_attr(**first), perf_event_attr(**second)), strict=True)))
    calls, switches = ([sample for sample in samples if sample.id == one] for one in ids)
    assert len(calls) >= 20
    assert len(switches) >= 10
    assert len(calls) + len(switches) == len(samples)
    for sample in calls:
        assert (sample.time > 0, sample.tid, sample.read_count, sample.callchain_count) == (True, 0, 0, 0)
        assert len(records.user_regs(buffer, sample)) == 2
        assert struct.unpack_from("=H", records.raw(buffer, sample))[0] == first["config"]
    for n, sample in enumerate(switches, 1):
        assert (sample.time, sample.tid) == (0, threading.get_native_id())
        assert len(records.user_regs(buffer, sample)) == 3
        assert struct.unpack_from("=H", records.raw(buffer, sample))[0] == second["config"]
        assert b.PERF_CONTEXT_KERNEL in records.callchain(buffer, sample)
        [counts] = records.counts(buffer, sample)
        assert (counts.id, counts.value, counts.lost) == (ids[1], n, 0)


def test_user_callchains_may_come_later(event):
    """With attr.defer_callchain a sample holds a cookie, and a record of its own the frames."""
    kind = b.PERF_SAMPLE_CALLCHAIN | b.PERF_SAMPLE_IDENTIFIER
    attr = {**EVERY_FAULT, "sample_type": kind, "defer_callchain": 1, "defer_output": 1, "sample_id_all": 1}
    try:
        fd = event(**attr)
    except OSError as error:
        pytest.skip(f"this kernel defers no callchains: {os.strerror(error.errno)}")  # type: ignore[arg-type]
    with ring.map(fd, 8) as page:
        fault(1)
        buffer = ring.read(page)
    deferred = {one.cookie: list(one.ips[0 : one.nr]) for one in of_type(records.iterate(buffer), "callchain_deferred")}
    chains = [list(records.callchain(buffer, one)) for one in records.parse(buffer, perf_event_attr(**attr))]
    if not any(b.PERF_CONTEXT_USER_DEFERRED in chain for chain in chains):
        pytest.skip("this kernel takes defer_callchain and defers nothing")
    cookies = [chain[chain.index(b.PERF_CONTEXT_USER_DEFERRED) + 1] for chain in chains]
    assert all(deferred[cookie] for cookie in cookies)

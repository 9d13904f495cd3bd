"""Every record that the kernel wrote arrives: page faults, breakpoints, tracepoints, several events in one ring."""

import mmap
import os
import select
import threading

from support.events import FAULT_SIZE, FAULTS, lost_in
from support.machine import CPUS, PAGE_SIZE, WORD
from support.marks import needs_breakpoints, needs_root
from support.rings import address
from support.workloads import fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, ioctls, perf_event_attr, records, ring


def test_snapshot_of_a_real_ring_has_the_newest_page_faults_first(event):
    """Over several laps, after each fault: addresses go down from the last one, and none is torn."""
    attr = {**FAULTS, "write_backward": 1}
    fd = event(**attr, disabled=1)
    buffer = bytearray(PAGE_SIZE)
    with ring.map(fd, 1, overwrite=True) as page, mmap.mmap(-1, 1000 * PAGE_SIZE) as area:
        where = ffi.from_buffer(area)
        begin = address(where)
        for n in range(0, 1000, 3):
            ioctls.enable(fd)
            for i in range(n, min(n + 3, 1000)):
                area[i * PAGE_SIZE] = 1
            ioctls.disable(fd)
            size = ring.snapshot_into(page, buffer)
            samples = records.parse(memoryview(buffer)[:size], perf_event_attr(**attr))
            faults = [(one.addr - begin) // PAGE_SIZE for one in samples if 0 <= one.addr - begin < len(area)]
            assert faults[0] == min(n + 2, 999)
            assert faults == list(range(faults[0], faults[0] - len(faults), -1))
            times = [one.time for one in samples]
            assert times == sorted(times, reverse=True)
            if -page.data_head % 2**WORD > 2 * PAGE_SIZE:
                assert size > PAGE_SIZE - 3 * FAULT_SIZE
        ffi.release(where)
        assert -page.data_head % 2**WORD > 4 * PAGE_SIZE


def test_samples_and_lost_add_up_to_what_was_counted(event):
    """A ring of one page overflows; each drain that finds room for one more record learns what was dropped."""
    fd = event(**FAULTS, read_format=b.PERF_FORMAT_LOST, disabled=1)
    attr = perf_event_attr(**FAULTS)
    got = lost = 0
    with ring.map(fd, 1) as page:
        ioctls.enable(fd)
        for n in (1000, 1, 3000, 1, 10, 5000):
            fault(n)
            buffer = ring.read(page)
            got, lost = got + len(records.parse(buffer, attr)), lost + lost_in(buffer)
        fault(1)
        ioctls.disable(fd)
        buffer = ring.read(page)
        got, lost = got + len(records.parse(buffer, attr)), lost + lost_in(buffer)
    [counts] = counters.read(fd, b.PERF_FORMAT_LOST)
    assert lost > 5000
    assert got > 100
    assert got + lost == counts.value
    assert lost == counts.lost


def test_set_output_gathers_events_in_one_ring(event):
    """Three counters of page faults write to the first one's ring; the id in each sample says which event it is of."""
    attr = {**FAULTS, "sample_type": FAULTS["sample_type"] | b.PERF_SAMPLE_IDENTIFIER, "disabled": 1}
    fds = [event(**attr), event(**attr), event(**attr)]
    with ring.map(fds[0], 16) as page:
        for fd in fds[1:]:
            ioctls.set_output(fd, fds[0])
        for n, fd in enumerate(fds, 1):
            # One at a time: of several that one fault hits, all samples may carry the first one's id (Linux 6.18).
            ioctls.enable(fd)
            fault(20 * n)
            ioctls.disable(fd)
        buffer = ring.read(page)
    ids = [ioctls.id(fd) for fd in fds]
    samples = records.parse(buffer, dict.fromkeys(ids, perf_event_attr(**attr)))
    found = [sum(sample.id == one for sample in samples) for one in ids]
    assert found == [counters.read(fd)[0].value for fd in fds]
    assert all(n >= least for n, least in zip(found, (20, 40, 60), strict=True))


@needs_breakpoints
def test_a_breakpoint_writes_where_it_was_told_to(event):
    """Each write to a watched word is a sample with its address."""
    word = ffi.new("uint64_t *")
    view = memoryview(ffi.buffer(word)).cast("B").cast("Q")
    attr = {
        "type": b.PERF_TYPE_BREAKPOINT,
        "bp_type": b.HW_BREAKPOINT_W,
        "bp_addr": address(word),
        "bp_len": b.HW_BREAKPOINT_LEN_8,
        "sample_period": 1,
        "sample_type": b.PERF_SAMPLE_ADDR | b.PERF_SAMPLE_TID,
        "exclude_kernel": 1,
    }
    fd = event(**attr)
    with ring.map(fd, 8) as page:
        for n in range(50):
            view[0] = n
        buffer = ring.read(page)
    samples = records.parse(buffer, perf_event_attr(**attr))
    assert {(one.addr, one.tid) for one in samples} == {(address(word), threading.get_native_id())}
    assert len(samples) == counters.read(fd)[0].value == 50


@needs_root
def test_a_tracepoint_counts_every_context_switch(event, tracefs):
    """A per-task tracepoint, drained in between: the samples are as many as were counted."""
    with open(os.path.join(tracefs, "events", "sched", "sched_switch", "id")) as file:
        attr = {"type": b.PERF_TYPE_TRACEPOINT, "config": int(file.read()), "sample_period": 1, "disabled": 1}
    attr["sample_type"] = b.PERF_SAMPLE_RAW | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CPU
    fd = event(**attr)
    seen = 0
    with ring.map(fd, 1) as page:
        ioctls.enable(fd)
        for _ in range(200):
            select.select([], [], [], 0.0001)
            samples = records.parse(ring.read(page), perf_event_attr(**attr))
            assert {one.cpu for one in samples} <= set(CPUS)
            seen += len(samples)
        ioctls.disable(fd)
        seen += len(records.parse(ring.read(page), perf_event_attr(**attr)))
    assert seen == counters.read(fd)[0].value >= 100  # a wait that is over before it begins is no switch

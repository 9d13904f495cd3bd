"""Processes that fork, exec and map as fast as they can, on all CPUs: every record in its place, none missing unsaid."""

import contextlib
import mmap
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from support.events import DUMMY, EVERY_FAULT, lost_in
from support.machine import CPUS, PAGE_SCALE
from support.workloads import child, start

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ioctls, perf_event_attr, records, ring

RECORDS = int(os.environ.get("PERF_EVENT_STORM_RECORDS", "50000"))
SAMPLE_TYPE = b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CPU
FIELDS = {
    "sample_type": SAMPLE_TYPE,
    "sample_id_all": 1,
    "exclude_kernel": 1,
    "inherit": 1,
    "read_format": b.PERF_FORMAT_LOST,
}
FAULTS = {**EVERY_FAULT, **FIELDS}
SIDE_BAND = {**DUMMY, **FIELDS, "comm": 1, "comm_exec": 1, "task": 1, "mmap": 1, "mmap2": 1, "mmap_data": 1}
FAULT_PAGES, SIDE_BAND_PAGES = 16, 64
STORM = """
import select
while not select.select([sys.stdin], [], [], 0)[0]:
    child = os.fork()
    if child == 0:
        fault(50)
        os.execv("/bin/true", ["true"])
    os.waitpid(child, 0)
"""


def executable(pid):
    """Return the (start, end) of what a process has mapped to execute."""
    found = re.findall(r"^(\w+)-(\w+) ..x", Path(f"/proc/{pid}/maps").read_text(), re.M)
    return [(int(first, 16), int(end, 16)) for first, end in found]


def check_order(data, rows, maps):
    """Check that each pid's FORK, COMM and MMAP2 come before its samples; return how many pids there are.

    *maps* has what each process had mapped before; a sample's address is in what it has mapped by then.
    """
    kinds, pids, addresses, offsets = (rows[field].tolist() for field in ("type", "pid", "ip", "offset"))
    named, sampled = set(maps), set()
    for kind, pid, address, offset in zip(kinds, pids, addresses, offsets, strict=True):
        if kind == b.PERF_RECORD_SAMPLE:
            assert any(begin <= address < end for begin, end in maps[pid]), (pid, hex(address), maps[pid])
            sampled.add(pid)
            continue
        record: Any = records.at(data, offset)
        if kind == b.PERF_RECORD_FORK:
            assert record.ppid in maps
            maps[record.pid] = maps[record.ppid].copy()
        elif kind == b.PERF_RECORD_COMM:
            assert record.header.misc & b.PERF_RECORD_MISC_COMM_EXEC
            assert records.name(record) == b"true"
            maps[record.pid].clear()
            named.add(record.pid)
        elif kind == b.PERF_RECORD_MMAP2 and record.prot & mmap.PROT_EXEC:
            maps[record.pid].append((record.addr, record.addr + record.len))
    assert sampled <= named
    return len(named)


def test_records_of_a_storm_are_all_there_and_in_order(event):
    """Samples + lost is what the events counted; in the order of time, what a sample needs came before it.

    Of each CPU, the samples of all processes go to one small ring, which overflows, and the side-band to another.
    """
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    with contextlib.ExitStack() as stack:
        storms = [stack.enter_context(child(STORM))[0] for _ in range(2 * len(CPUS))]
        maps = {storm.pid: executable(storm.pid) for storm in storms}
        pages, attrs, ring_of, fault_fds, side_band_fds = [], {}, {}, [], []
        for cpu in CPUS:
            for fields, fds, data_pages in (
                (FAULTS, fault_fds, FAULT_PAGES),
                (SIDE_BAND, side_band_fds, SIDE_BAND_PAGES),
            ):
                opened = [event(**fields, pid=storm.pid, cpu=cpu) for storm in storms]
                pages.append(stack.enter_context(ring.map(opened[0], data_pages)))
                for fd in opened[1:]:
                    ioctls.set_output(fd, opened[0])
                for fd in opened:
                    attrs[ioctls.id(fd)], ring_of[ioctls.id(fd)] = perf_event_attr(**fields), len(pages)
                fds += opened
        buffer = bytearray(sum(page.data_size for page in pages))
        data, n_records = bytearray(), 0
        for storm in storms:
            start(storm)
        while not any(counters.read(fd, b.PERF_FORMAT_LOST)[0].lost for fd in fault_fds):
            time.sleep(0)
        begin = time.monotonic()
        drain_seconds = 0.0
        while n_records < RECORDS // PAGE_SCALE:
            before = time.monotonic()
            size = ring.drain_into(pages, buffer)
            drain_seconds += time.monotonic() - before
            part = memoryview(buffer)[:size]
            n_records += len(records.parse(part, attrs, all_records=True))
            data += part
        for storm in storms:
            storm.stdin.close()
        for storm in storms:
            while storm.poll() is None:
                data += memoryview(buffer)[: ring.drain_into(pages, buffer)]
            assert storm.wait() == 0
        took = time.monotonic() - begin
        data += memoryview(buffer)[: ring.drain_into(pages, buffer)]
        counts = [counters.read(fd, b.PERF_FORMAT_LOST)[0] for fd in fault_fds]
        assert [counters.read(fd, b.PERF_FORMAT_LOST)[0].lost for fd in side_band_fds] == [0] * len(side_band_fds)

    before = time.monotonic()
    samples = records.parse(data, attrs, all_records=True)
    parsed = time.monotonic()
    rows = records.to_numpy(samples)
    rings = numpy.array([ring_of[one] for one in rows["id"].tolist()])
    for number in set(rings.tolist()):
        assert (numpy.diff(rows["time"][rings == number].astype(numpy.int64)) >= 0).all()
    sorting = time.monotonic()
    samples.sort_by_time()
    is_sorted = time.monotonic()
    assert (numpy.diff(rows["time"].astype(numpy.int64)) >= 0).all()
    n_pids = check_order(data, rows, maps)

    n_samples = int((rows["type"] == b.PERF_RECORD_SAMPLE).sum())
    told = lost_in(data)
    counted, lost = sum(one.value for one in counts), sum(one.lost for one in counts)
    print(f"{len(rows)} records, {len(data)} bytes, {n_pids} processes in {took:.1f} s")
    print(f"{n_samples} samples + {lost} lost = {counted} counted; LOST records say {told}")
    print(f"drain_into {drain_seconds:.3f} s, parse {parsed - before:.3f} s, sort_by_time {is_sorted - sorting:.3f} s")
    assert n_samples + lost == counted
    assert 0 < told <= lost
    assert n_pids > len(storms)

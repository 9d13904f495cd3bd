"""Rings under load: nothing lost without being counted, nothing torn, nothing twice."""

import contextlib
import itertools
import mmap
import os
import select
import threading
import time

import pytest
from support.events import EVERY_FAULT, FAULTS, lost_in
from support.machine import CPUS, PAGE_SCALE, PAGE_SIZE, WORD
from support.workloads import PRODUCER, child, start, touch

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, ioctls, perf_event_attr, records, ring


def test_a_snapshot_while_the_kernel_writes_leaves_out_what_is_torn(event):
    """The event's own count goes down by one from record to record, to the oldest, while another process faults pages in.

    A few may fail in thousands, where the writer lost its CPU between a record and its head: nothing tells of it.
    """
    kind = b.PERF_SAMPLE_READ | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME
    attr = {**EVERY_FAULT, "exclude_kernel": 1, "sample_type": kind, "write_backward": 1}
    buffer = bytearray(PAGE_SIZE)
    with child(PRODUCER) as (process, _):
        fd = event(**attr, pid=process.pid)
        with ring.map(fd, 1, overwrite=True) as page:
            start(process)
            snapshots = torn = 0
            while -ring.head(page) % 2**WORD < 300 * 4096 or snapshots < 2000:
                size = ring.snapshot_into(page, buffer)
                snapshots += 1
                samples = records.parse(memoryview(buffer)[:size], perf_event_attr(**attr))
                counts = [records.counts(buffer, one)[0].value for one in samples[-4:]]
                torn += any(newer - older != 1 for newer, older in itertools.pairwise(counts))
            process.stdin.close()
            assert process.wait(60) == 0
    assert torn <= snapshots // 200, snapshots


def test_a_million_real_records_add_up(event):
    """Through map, read_into and parse_into, some overflowing: samples + LOST is exactly what the event counted.

    With pages of 64 KiB, which take as much longer to fault in, a million is a sixteenth of one.
    """
    attr = perf_event_attr(**FAULTS)
    fd = event(**FAULTS, read_format=b.PERF_FORMAT_LOST, disabled=1)
    buffer = bytearray(256 * 1024)
    out = ffi.new("struct perf_sample[]", 16 * 1024)
    got = lost = rounds = 0
    wanted = 1_000_000 // PAGE_SCALE
    last = 0
    with ring.map(fd, 32) as page, mmap.mmap(-1, 1000 * PAGE_SIZE) as area:
        ioctls.enable(fd)
        while got < wanted:
            rounds += 1
            for _ in range(7 if rounds % 10 == 0 else 5):
                touch(area, 1000)
                area.madvise(mmap.MADV_DONTNEED)
            while size := ring.read_into(page, buffer):
                data = memoryview(buffer)[:size]
                n, consumed = records.parse_into(data, attr, out)
                assert consumed == size
                assert last <= out[0].time <= out[n - 1].time
                last = out[n - 1].time
                got += n
                if size != n * out[0].size:
                    lost += lost_in(data)
        ioctls.disable(fd)
        rest = ring.read(page)
        got, lost = got + len(records.parse(rest, attr)), lost + lost_in(rest)
    [counts] = counters.read(fd, b.PERF_FORMAT_LOST)
    unwritten = counts.lost - lost  # dropped since the last record that found room
    assert lost > 0
    assert 0 <= unwritten < 7000
    assert got + lost + unwritten == counts.value
    assert got >= wanted


def test_a_consumer_and_eight_producers(event):
    """Nothing torn, nothing twice, time monotonic per CPU; what is missing was counted as lost.

    Eight processes fault pages in; each has an event per CPU, and all events of a CPU write to one ring. A sample has
    its event's own count: of each event, they go up, and how many are missing LOST says.
    """
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    seconds = float(os.environ.get("PERF_EVENT_SOAK_SECONDS", "1"))
    fields = {
        **EVERY_FAULT,
        "exclude_kernel": 1,
        "sample_type": b.PERF_SAMPLE_IDENTIFIER
        | b.PERF_SAMPLE_TID
        | b.PERF_SAMPLE_TIME
        | b.PERF_SAMPLE_CPU
        | b.PERF_SAMPLE_READ
        | b.PERF_SAMPLE_ADDR,
        "read_format": b.PERF_FORMAT_ID | b.PERF_FORMAT_LOST,
        "wakeup_events": 64,
    }
    attr = perf_event_attr(**fields)
    with contextlib.ExitStack() as stack:
        producers = [stack.enter_context(child(PRODUCER)) for _ in range(8)]
        owner, rings = {}, {}
        for cpu in CPUS:
            fds = [event(**fields, pid=process.pid, cpu=cpu) for process, _ in producers]
            rings[cpu] = stack.enter_context(ring.map(fds[0], 64)), fds[0]
            for fd, (process, _) in zip(fds, producers, strict=True):
                if fd != fds[0]:
                    ioctls.set_output(fd, fds[0])
                owner[ioctls.id(fd)] = (process.pid, cpu, fd)
        attrs = dict.fromkeys(owner, attr)
        stop = threading.Event()
        result = {
            "values": dict.fromkeys(owner, 0),
            "time": dict.fromkeys(CPUS, 0),
            "samples": 0,
            "lost": 0,
            "error": None,
        }

        def drain(cpu, page, buffer, out):
            size = ring.read_into(page, buffer)
            if not size:
                return
            data = memoryview(buffer)[:size]
            n, consumed = records.parse_into(data, attrs, out)
            assert consumed == size
            if size != n * out[0].size:
                result["lost"] += lost_in(data)
            rows = records.to_numpy(out)[:n]
            assert (rows["cpu"] == cpu).all()
            times = numpy.concatenate([[result["time"][cpu]], rows["time"]]).astype(numpy.int64)  # type: ignore[index]
            assert (numpy.diff(times) > 0).all()
            result["time"][cpu] = times[-1]  # type: ignore[index]
            values = numpy.frombuffer(data, numpy.uint64)[rows["read_offset"] // 8]
            for one in numpy.unique(rows["id"]):
                mine = rows["id"] == one
                assert (rows["pid"][mine] == owner[int(one)][0]).all()
                counted = numpy.concatenate([[result["values"][int(one)]], values[mine]]).astype(numpy.int64)  # type: ignore[index]
                assert (numpy.diff(counted) >= 1).all()
                result["values"][int(one)] = int(counted[-1])  # type: ignore[index]
            result["samples"] += n  # type: ignore[operator]

        def consume():
            try:
                buffer, out = bytearray(64 * PAGE_SIZE), ffi.new("struct perf_sample[]", PAGE_SIZE)
                poll = select.poll()
                for _, fd in rings.values():
                    poll.register(fd, select.POLLIN)
                while not stop.is_set():
                    poll.poll(100)
                    for cpu, (page, _) in rings.items():
                        drain(cpu, page, buffer, out)
                for cpu, (page, _) in rings.items():
                    drain(cpu, page, buffer, out)
            except BaseException as error:
                result["error"] = error

        consumer = threading.Thread(target=consume)
        consumer.start()
        for process, _ in producers:
            start(process)
        begin = time.monotonic()
        while consumer.is_alive() and (time.monotonic() < begin + seconds or result["samples"] < 10_000):  # type: ignore[operator]
            consumer.join(0.1)
        for process, _ in producers:
            process.stdin.close()
        for process, _ in producers:
            assert process.wait(60) == 0
        stop.set()
        consumer.join()
        if result["error"]:
            raise result["error"]  # type: ignore[misc]
        counts = [counters.read(fd, fields["read_format"])[0] for _, _, fd in owner.values()]
    counted, lost = (sum(getattr(one, field) for one in counts) for field in ("value", "lost"))
    print(f"{result['samples']} samples, {lost} lost, of {counted} counted")
    assert result["samples"] + lost == counted
    assert result["lost"] <= lost

"""Opening and reading events, one and many, and the import."""

from __future__ import annotations

import os
import resource
import statistics
import struct
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter_ns
from typing import Any

from measure import Row, paired, software_attr, timed

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, lib, perf_event_attr, perf_event_open

TIMES = b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_TOTAL_TIME_RUNNING


def calls(c: Any, c_ffi: Any, rounds: int) -> Iterator[Row]:
    """Compare opening and reading with C."""
    attr, n = software_attr(read_format=TIMES), 300
    raw_attr = c_ffi.cast("void *", int(ffi.cast("uintptr_t", attr)))

    def through_lib() -> None:
        for _ in range(n):
            os.close(lib.perf_event_open(attr, 0, -1, -1, 8))

    def through_facade() -> None:
        for _ in range(n):
            os.close(perf_event_open(attr))

    def in_c() -> float:
        return c.open_close(raw_attr, n) / n

    yield Row("lib.perf_event_open + os.close", "C", *paired(in_c, timed(through_lib, n), rounds), 1.35)
    yield Row("perf_event_open + os.close", "C", *paired(in_c, timed(through_facade, n), rounds), 1.5)

    fds = [perf_event_open(attr) for _ in range(64)]
    fd_array, out = ffi.new("int[]", fds), ffi.new("struct perf_counts[]", 64)
    c_fds, c_out, n = c_ffi.new("int[]", fds), c_ffi.new("uint64_t[]", 64 * 3), 50

    def c_reads() -> float:
        return c.read_many(c_fds, 64, 24, c_out, n) / n

    def from_array() -> None:
        for _ in range(n):
            counters.read_into(fd_array, TIMES, out)

    def from_list() -> None:
        for _ in range(n):
            counters.read_into(fds, TIMES, out)

    yield Row("counters.read_into, 64 fds of an int[]", "C", *paired(c_reads, timed(from_array, n), rounds), 1.05)
    yield Row("counters.read_into, 64 fds of a list", "C", *paired(c_reads, timed(from_list, n), rounds), 1.15)

    fd, n = fds[0], 3000

    def os_read() -> None:
        for _ in range(n):
            struct.unpack("QQQ", os.read(fd, 24))

    def read_one() -> None:
        for _ in range(n):
            counters.read(fd, TIMES)

    yield Row(
        "counters.read of one fd",
        "os.read + struct.unpack",
        *paired(timed(os_read, n), timed(read_one, n), rounds),
        1.9,
    )
    for fd in fds:
        os.close(fd)


def growth(c: Any, c_ffi: Any, rounds: int) -> Iterator[Row]:
    """Compare the cost per event of many events with that of few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = min(4096, (hard if hard != resource.RLIM_INFINITY else 1 << 20) - 64)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, many + 64), hard))
    attr = software_attr(read_format=TIMES, disabled=1)
    fds = [perf_event_open(attr) for _ in range(many)]
    all_fds, few_fds = ffi.new("int[]", fds), ffi.new("int[]", fds[:64])
    out = ffi.new("struct perf_counts[]", many)
    c_all, c_out = c_ffi.new("int[]", fds), c_ffi.new("uint64_t[]", many * 3)

    def few() -> None:
        for _ in range(many // 64):
            counters.read_into(few_fds, TIMES, out)

    def in_c() -> float:
        return c.read_many(c_all, many, 24, c_out, 1) / many

    reading = timed(lambda: counters.read_into(all_fds, TIMES, out), many)
    what = f"counters.read_into per fd, {many} fds"
    yield Row(what, "64 fds", *paired(timed(few, many // 64 * 64), reading, rounds))
    yield Row(what, f"C, {many} fds", *paired(in_c, reading, rounds), 1.05)
    for fd in fds:
        os.close(fd)

    def opened(n: int) -> float:
        start = perf_counter_ns()
        fds = [perf_event_open(attr) for _ in range(n)]
        elapsed = perf_counter_ns() - start
        for fd in fds:
            os.close(fd)
        return elapsed / n

    raw_attr, c_fds = c_ffi.cast("void *", int(ffi.cast("uintptr_t", attr))), c_ffi.new("int[]", many)

    def opened_in_c() -> float:
        elapsed = c.open_many(raw_attr, c_fds, many) / many
        for fd in c_fds:
            os.close(fd)
        return elapsed

    few_rounds = max(3, rounds // 5)
    what = f"perf_event_open per event, {many} open"
    yield Row(what, "64 open", *paired(lambda: opened(64), lambda: opened(many), few_rounds))
    yield Row(what, f"C, {many} open", *paired(opened_in_c, lambda: opened(many), few_rounds), 1.5)


def hardware_peer(rounds: int) -> Iterator[Row]:
    """Compare one read of a hardware counter with py-perf-event's."""
    try:
        from py_perf_event import Hardware, Measure  # type: ignore[import-not-found]

        measure = Measure([Hardware.INSTRUCTIONS])
        measure.enable()
        fd = perf_event_open(
            perf_event_attr(type=b.PERF_TYPE_HARDWARE, config=b.PERF_COUNT_HW_INSTRUCTIONS, exclude_kernel=1)
        )
    except (ImportError, OSError):
        return
    peer, ours = (
        timed(lambda: [measure.read() for _ in range(500)], 500),
        timed(lambda: [counters.read(fd) for _ in range(500)], 500),
    )
    yield Row("counters.read of one fd", "py-perf-event", *paired(peer, ours, rounds))
    os.close(fd)


def imports(rounds: int) -> Iterator[Row]:
    """Measure the import in fresh interpreters, over that of cffi's own module."""
    code = "import _cffi_backend; from time import perf_counter_ns as t; a = t(); import perf_event_open_sys; print(t() - a)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def once() -> int:
        return int(subprocess.check_output([sys.executable, "-c", code], env=environment, cwd="/"))

    once()
    ns = statistics.median(once() for _ in range(rounds))
    yield Row("import perf_event_open_sys", "3 ms", ns, 3e6, ns / 3e6, 1.0)

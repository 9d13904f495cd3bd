#!/usr/bin/env python3
"""Measure what this package costs, beside the same work in C and in other libraries, and print the table.

    python benchmarks/run.py [--json] [--rounds N]

Each figure is the median over rounds in which the baseline and the subject take turns, so that a noisy machine harms both
alike. Peers are measured where they can be imported: ctypes and struct always, NumPy's absence costs nothing, the
kernel's own ``perf`` module where it is importable, py-perf-event where there is a hardware PMU.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import platform
import resource
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple

from cffi import FFI

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, ioctls, lib, perf_event_attr, perf_event_open, records, ring

TIMES = b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_TOTAL_TIME_RUNNING
RING_PAGES = 2048


class Row(NamedTuple):
    """A line of the table: *ns* of the subject and of the baseline, per operation; *reach* is the ratio aimed at."""

    what: str
    baseline: str
    ns: float
    baseline_ns: float
    ratio: float
    reach: float | None = None


def paired(baseline: Callable[[], float], subject: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Run both in turn; return the median of each and of their ratios. Each returns its nanoseconds per operation."""
    baseline()
    subject()
    pairs = [(baseline(), subject()) for _ in range(rounds)]
    return (
        statistics.median(s for _, s in pairs),
        statistics.median(c for c, _ in pairs),
        statistics.median(s / c for c, s in pairs),
    )


def timed(work: Callable[[], object], per: int = 1) -> Callable[[], float]:
    """Return what times *work*, per one of the *per* operations it does."""

    def run() -> float:
        start = perf_counter_ns()
        work()
        return (perf_counter_ns() - start) / per

    return run


def c_baseline() -> Any:
    """Compile baseline.c and load it."""
    library = Path(tempfile.mkdtemp(), "baseline.so")
    source = Path(__file__).with_name("baseline.c")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    declarations = FFI()
    declarations.cdef("""
        int64_t open_close(void *attr, int n);
        int64_t open_many(void *attr, int *fds, int n);
        int64_t read_many(const int *fds, int nfds, size_t size, uint64_t *out, int n);
        int64_t copy(void *to, const void *from, size_t size);
    """)
    return declarations.dlopen(str(library)), declarations


def software_attr(**fields: Any) -> Any:
    """Return the attr of a page fault counter of user space, which everybody may open."""
    page_faults = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_PAGE_FAULTS, "exclude_kernel": 1}
    return perf_event_attr(**page_faults, **fields)


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


def fault(pages: int) -> None:
    """Fault pages in, one by one."""
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as area:
        for page in range(pages):
            area[page * mmap.PAGESIZE] = 1


def filled_ring() -> tuple[int, Any, Any]:
    """Return an event, its attr and its ring, full of page faults: 8 MiB, or less where memory may not be locked."""
    sample_type = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_ADDR
    attr = software_attr(sample_period=1, sample_type=sample_type, disabled=1)
    fd = perf_event_open(attr)
    pages = RING_PAGES
    while True:
        try:
            page = ring.map(fd, pages)
            break
        except PermissionError:
            pages //= 2
    ioctls.enable(fd)
    while page.data_size - (ring.head(page) - ring.tail(page)) > 64:
        fault(10000)
    ioctls.disable(fd)
    return fd, attr, page


def rings(c: Any, c_ffi: Any, rounds: int) -> Iterator[Row]:
    """Compare draining a full ring with memcpy of its bytes."""
    fd, attr, page = filled_ring()
    size = ring.head(page) - ring.tail(page)
    buffer, copied = bytearray(size), bytearray(size)
    source = c_ffi.cast("void *", int(ffi.cast("uintptr_t", page)) + page.data_offset)
    target = c_ffi.from_buffer(copied)
    start = ring.tail(page)

    def drain() -> float:
        ring.set_tail(page, start)  # the event is disabled: the records are still there
        begin = perf_counter_ns()
        ring.read_into(page, buffer)
        return perf_counter_ns() - begin

    yield Row(
        f"ring.read_into, {size / 2**20:.1f} MiB",
        "memcpy",
        *paired(lambda: c.copy(target, source, size), drain, rounds),
        1.5,
    )
    n = len(records.parse(buffer, attr))
    yield Row(
        f"records.parse, {n} real page faults, each",
        "memcpy",
        *paired(lambda: c.copy(target, source, size) / n, timed(lambda: records.parse(buffer, attr), n), rounds),
    )
    ffi.release(page)
    os.close(fd)


CHAIN_TYPE = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CALLCHAIN
CHAIN_RECORD = struct.Struct("=IHHQIIQQ8Q")


def chains(size: int) -> bytes:
    """Return that many bytes of samples with callchains of 8."""
    n = size // CHAIN_RECORD.size
    one = (b.PERF_RECORD_SAMPLE, b.PERF_RECORD_MISC_USER, CHAIN_RECORD.size)
    return b"".join(CHAIN_RECORD.pack(*one, 0x400000 + i, 1, 2, i, 8, *range(i, i + 8)) for i in range(n))


def struct_loop(buffer: bytes) -> int:
    """Decode with ``struct.unpack_from``."""
    offset, found = 0, 0
    while offset < len(buffer):
        kind, _, size = struct.unpack_from("=IHH", buffer, offset)
        if kind == b.PERF_RECORD_SAMPLE:
            *_, nr = struct.unpack_from("=QIIQQ", buffer, offset + 8)
            struct.unpack_from(f"={nr}Q", buffer, offset + 40)
            found += 1
        offset += size
    return found


class Header(ctypes.Structure):
    """``struct perf_event_header`` for ctypes."""

    _fields_ = (("type", ctypes.c_uint32), ("misc", ctypes.c_uint16), ("size", ctypes.c_uint16))


class Fixed(ctypes.Structure):
    """The fields before the callchain for ctypes."""

    _fields_ = (
        ("ip", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("tid", ctypes.c_uint32),
        ("time", ctypes.c_uint64),
        ("nr", ctypes.c_uint64),
    )


def ctypes_loop(buffer: bytes) -> int:
    """Decode with ctypes."""
    data, offset, found = bytearray(buffer), 0, 0
    while offset < len(data):
        header = Header.from_buffer(data, offset)
        if header.type == b.PERF_RECORD_SAMPLE:
            fixed = Fixed.from_buffer(data, offset + 8)
            (ctypes.c_uint64 * fixed.nr).from_buffer(data, offset + 8 + ctypes.sizeof(Fixed))
            found += 1
        offset += header.size
    return found


def kernels_module_ns() -> float | None:
    """Return what the kernel's own Python module takes to read one sample, where it can be imported."""
    sys.path.append("/usr/lib/python3/dist-packages")  # where Debian's linux-perf has it, for Debian's Python version
    try:
        import perf  # type: ignore[import-not-found]
    except ImportError:
        return None
    finally:
        sys.path.pop()
    cpus, threads = perf.cpu_map(), perf.thread_map(os.getpid())
    sample_type = perf.SAMPLE_IP | perf.SAMPLE_TID | perf.SAMPLE_TIME | perf.SAMPLE_CALLCHAIN
    fields = {"task": 0, "comm": 0, "mmap": 0, "freq": 0, "sample_period": 1, "sample_type": sample_type}
    faults = perf.evsel(type=perf.TYPE_SOFTWARE, config=perf.COUNT_SW_PAGE_FAULTS, **fields)
    events = perf.evlist(cpus, threads)
    events.add(faults)
    events.open()
    events.mmap(pages=256)
    fault(5000)
    best = []
    for _ in range(7):
        found, start = 0, perf_counter_ns()
        for cpu in cpus:
            while event := events.read_on_cpu(cpu):  # the fields that the other loops decode; it has no callchain
                _ = event.sample_ip, event.sample_pid, event.sample_tid, event.sample_time
                found += 1
        best.append((perf_counter_ns() - start) / max(found, 1))
        fault(5000)
    return statistics.median(best[1:])


def decoding(c: Any, c_ffi: Any, rounds: int) -> Iterator[Row]:
    """Compare decoding with memcpy of the same bytes, and with other ways from Python."""
    buffer = chains(RING_PAGES * 4096)
    attr = software_attr(sample_type=CHAIN_TYPE)
    size, n = len(buffer), len(buffer) // CHAIN_RECORD.size
    target, source = c_ffi.from_buffer(bytearray(size)), c_ffi.from_buffer(buffer)
    out = ffi.new("struct perf_sample[]", n)
    parse = timed(lambda: records.parse(buffer, attr), n)

    def copy() -> float:
        return c.copy(target, source, size) / n

    yield Row("records.parse, callchain of 8, each", "memcpy", *paired(copy, parse, rounds), 3.0)
    parse_into = timed(lambda: records.parse_into(buffer, attr, out), n)
    yield Row("records.parse_into, callchain of 8, each", "memcpy", *paired(copy, parse_into, rounds))
    part = buffer[: 5000 * CHAIN_RECORD.size]
    for what, loop, reach in (("struct", struct_loop, 1 / 50), ("ctypes", ctypes_loop, None)):
        if loop(part) != 5000:
            raise AssertionError(what)
        peer = timed(lambda loop=loop: loop(part), 5000)  # type: ignore[misc]
        yield Row(
            "records.parse, callchain of 8, each", f"a {what} loop", *paired(peer, parse, max(5, rounds // 4)), reach
        )
    if kernel := kernels_module_ns():
        ns = statistics.median(parse() for _ in range(rounds))
        yield Row("records.parse, callchain of 8, each", "the kernel's perf module", ns, kernel, ns / kernel, 1 / 20)


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


def shown(ns: float) -> str:
    """Return a time with its unit."""
    return f"{ns / 1e6:.2f} ms" if ns >= 1e6 else f"{ns / 1e3:.2f} µs" if ns >= 1e3 else f"{ns:.1f} ns"


def table(rows: list[Row]) -> str:
    """Return the rows as text."""
    lines = [f"{'what':48} {'takes':>10}  {'baseline':24} {'takes':>10}  {'ratio':>9}  {'reach':>8}"]
    for row in rows:
        ratio = f"{row.ratio:.2f} x" if row.ratio >= 0.1 else f"1/{1 / row.ratio:.0f}"
        reach = "" if row.reach is None else f"{row.reach:.2f} x" if row.reach >= 0.1 else f"1/{1 / row.reach:.0f}"
        missed = "  missed" if row.reach is not None and row.ratio > row.reach else ""
        ours, theirs = f"{row.what:48} {shown(row.ns):>10}", f"{row.baseline:24} {shown(row.baseline_ns):>10}"
        lines.append(f"{ours}  {theirs}  {ratio:>9}  {reach:>8}{missed}")
    return "\n".join(lines)


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--rounds", type=int, default=31, help="how often each pair is measured (default: 31)")
    options = parser.parse_args()
    c, c_ffi = c_baseline()
    rows = [
        *calls(c, c_ffi, options.rounds),
        *rings(c, c_ffi, options.rounds),
        *decoding(c, c_ffi, options.rounds),
        *hardware_peer(options.rounds),
        *imports(options.rounds),
        *growth(c, c_ffi, options.rounds),
    ]
    if options.json:
        machine = {"python": platform.python_version(), "kernel": platform.release(), "machine": platform.machine()}
        print(json.dumps({**machine, "rows": [row._asdict() for row in rows]}, indent=1))
    else:
        print(f"CPython {platform.python_version()}, Linux {platform.release()}, {platform.machine()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()

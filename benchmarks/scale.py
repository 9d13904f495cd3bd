#!/usr/bin/env python3
"""Measure what many events cost on this machine, print the tables of docs/scale.md, and draw its plot. Needs root.

    python benchmarks/scale.py [--svg docs/scale.svg] [--rounds N]

What is compared takes turns. Times of the CPU are medians of all rounds; those of round trips and interrupts are the
least, as whatever else runs on the machine makes them longer, never shorter.
"""

from __future__ import annotations

import argparse
import mmap
import os
import platform
import resource
import signal
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns, thread_time_ns
from typing import Any

from measure import fault, software_attr
from plot import draw

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, events, ffi, ioctls, perf_event_open, records, ring, targets

TIMES = b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_TOTAL_TIME_RUNNING
COUNTS = (64, 256, 1024, 4096)
GROUP = 8
CPUS = targets.online_cpus()


def turns(
    works: dict[Any, Callable[[], float]], rounds: int, of: Callable[[list[float]], float] = statistics.median
) -> dict[Any, float]:
    """Call each of *works* in turn, *rounds* times; return the median, or another figure *of* what each returned."""
    for work in works.values():
        work()
    taken = [{key: work() for key, work in works.items()} for _ in range(rounds)]
    return {key: of([one[key] for one in taken]) for key in works}


def open_events(n: int, *, group: int = 1, pid: int = -1) -> list[int]:
    """Open *n* page-fault events, on the CPUs in turn or on one thread, in groups of *group*; return the fds.

    The leader of a group is disabled until the group is complete: the kernel then schedules it once.
    """
    read_format = TIMES | (b.PERF_FORMAT_GROUP if group > 1 else 0)
    leader, member = (software_attr(read_format=read_format, disabled=disabled) for disabled in (group > 1, 0))
    fds: list[int] = []
    for i in range(n):
        cpu = CPUS[i // group % len(CPUS)] if pid == -1 else -1
        fds.append(perf_event_open(member if i % group else leader, pid, cpu, fds[i - i % group] if i % group else -1))
        if i % group == group - 1 > 0:
            ioctls.enable(fds[i - i % group])
    return fds


@contextmanager
def opened(n: int, *, group: int = 1, pid: int = -1) -> Iterator[list[int]]:
    """Open events as :func:`open_events`; close them at the end."""
    fds = open_events(n, group=group, pid=pid)
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def kernel_bytes() -> int:
    """Return what the kernel has allocated for objects of its own."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024 * sum(int(lines[name].split()[0]) for name in ("Slab", "Percpu", "KernelStack", "PageTables"))


def opening(n: int, group: int) -> tuple[float, float, float]:
    """Return ns to open *n* events, ns to close them, and bytes of the kernel's memory for each."""
    before, start = kernel_bytes(), thread_time_ns()
    fds = open_events(n, group=group)
    middle, used = thread_time_ns(), kernel_bytes() - before
    begin = thread_time_ns()
    for fd in fds:
        os.close(fd)
    return middle - start, thread_time_ns() - begin, used / n


def reading(n: int, rounds: int) -> dict[str, float]:
    """Return ns for one read_into of *n* events, for each way to open them."""

    def reader(fds: list[int], read_format: int) -> Callable[[], float]:
        array, out = ffi.new("int[]", fds), ffi.new("struct perf_counts[]", n)

        def read() -> float:
            start = thread_time_ns()
            assert counters.read_into(array, read_format, out) == n
            return thread_time_ns() - start

        return read

    with opened(n) as cpus, opened(n, group=GROUP) as grouped, opened(n, pid=0) as thread:
        works = {
            "read": reader(cpus, TIMES),
            f"read, groups of {GROUP}": reader(grouped[::GROUP], TIMES | b.PERF_FORMAT_GROUP),
            "read, own thread's": reader(thread, TIMES),
        }
        return turns(works, rounds)


@contextmanager
def partner() -> Iterator[tuple[int, Callable[[], float]]]:
    """Start a process that answers through a pipe on our CPU; yield its pid, and what times a round trip: two switches."""
    to, back = os.pipe(), os.pipe()
    os.sched_setaffinity(0, CPUS[:1])
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(to[1])
        while os.read(to[0], 1):
            os.write(back[1], b"x")
        os._exit(0)

    def round_trips(n: int = 500) -> float:
        start = perf_counter_ns()
        for _ in range(n):
            os.write(to[1], b"x")
            os.read(back[0], 1)
        return (perf_counter_ns() - start) / n

    try:
        yield pid, round_trips
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        for fd in (*to, *back):
            os.close(fd)
        os.sched_setaffinity(0, CPUS)


@contextmanager
def cgroup_of(pid: int) -> Iterator[int]:
    """Move a process into a cgroup of its own; yield the cgroup's directory, open."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    root = Path(next(where for _, where, kind, *_ in mounts if kind == "cgroup2"))
    path = root / f"scale.{os.getpid()}"
    path.mkdir()
    (path / "cgroup.procs").write_text(str(pid))
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)
        (root / "cgroup.procs").write_text(str(pid))
        path.rmdir()


def switching(rounds: int) -> dict[tuple[str, int], float]:
    """Return ns of a round trip with so many idle events on the partner, on its cgroup, and on each CPU."""

    def measured(round_trips: Callable[[], float], n: int, pid: int, cgroup: bool = False) -> Callable[[], float]:
        def work() -> float:
            if not cgroup:
                with opened(n, pid=pid):
                    return round_trips()
            flags = b.PERF_FLAG_PID_CGROUP | b.PERF_FLAG_FD_CLOEXEC
            fds = [perf_event_open(software_attr(), pid, CPUS[0], flags=flags) for _ in range(n)]
            try:
                return round_trips()
            finally:
                for fd in fds:
                    os.close(fd)

        return work

    with partner() as (pid, round_trips):
        works = {("thread", n): measured(round_trips, n, pid) for n in (0, 16, 64, 256)}
        works[("CPU", 256)] = measured(round_trips, 256 * len(CPUS), -1)
        found = turns(works, rounds, min)
    with partner() as (pid, round_trips), cgroup_of(pid) as fd:
        works = {("cgroup", n): measured(round_trips, n, fd, cgroup=True) for n in (0, 16, 64, 256)}
        return found | turns(works, rounds, min)


def sampling(rounds: int) -> dict[str, float]:
    """Return ns of a page fault that nobody counts, that is counted, and that is sampled, with and without callchain."""
    plain = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME
    pages = 2000

    def measured(**fields: Any) -> Callable[[], float]:
        def work() -> float:
            fd = perf_event_open(software_attr(**fields)) if fields else -1
            page = ring.map(fd, 256) if "sample_type" in fields else None
            start = thread_time_ns()
            fault(pages)
            took = (thread_time_ns() - start) / pages
            if page is not None:
                assert len(ring.read(page)) > 0
                ffi.release(page)
            if fields:
                os.close(fd)
            return took

        return work

    works = {"no event": measured(), "counted": measured(read_format=TIMES)}
    works["sampled"] = measured(sample_type=plain, sample_period=1)
    works["sampled with callchain"] = measured(sample_type=plain | b.PERF_SAMPLE_CALLCHAIN, sample_period=1)
    return turns(works, rounds)


def interrupts(rounds: int) -> float:
    """Return ns that a sample of a timer (cpu-clock) takes from the program it interrupts."""
    attr = events.attr("cpu-clock", sample_period=50_000, sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TIME, disabled=0)
    n_samples = []

    def spin() -> float:
        start = thread_time_ns()
        sum(range(3_000_000))
        return thread_time_ns() - start

    def interrupted() -> float:
        fd = perf_event_open(attr)
        with ring.map(fd, 256) as page:
            took = spin()
            n_samples.append(len(records.parse(ring.read(page), attr)))
        os.close(fd)
        return took

    taken = turns({"alone": spin, "interrupted": interrupted}, rounds, min)
    return (taken["interrupted"] - taken["alone"]) / statistics.median(n_samples)


def rings_of_a_user(data_pages: int) -> tuple[int, int]:
    """Return how many rings an ordinary user could map, and how many the formula allows."""
    page_kb, free_kb = mmap.PAGESIZE // 1024, int(Path("/proc/sys/kernel/perf_event_mlock_kb").read_text())
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] // 1024
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        pages: list[Any] = []
        try:
            while len(pages) < 10_000:
                pages.append(ring.map(perf_event_open(software_attr()), data_pages))
        except PermissionError:
            pass
        os.write(writable, str(len(pages)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    mapped = int(os.read(readable, 20))
    os.close(readable)
    os.close(writable)
    return mapped, rings_allowed(data_pages, free_kb * len(CPUS) // page_kb, locked // page_kb)


def rings_allowed(data_pages: int, free: int, locked: int) -> int:
    """Return how many rings fit into *free* pages of the user and *locked* ones of the process.

    The ring that does not fit whole into what is free takes the rest from what may be locked.
    """
    return (free + locked) // (1 + data_pages)


def slope(points: dict[int, float]) -> float:
    """Return the median growth for each event between the smallest number of events and the others."""
    (least, base), *others = sorted(points.items())
    return statistics.median((value - base) / (n - least) for n, value in others)


def main() -> None:
    """Measure everything, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--svg", type=Path, help="draw the plot into this file")
    parser.add_argument("--rounds", type=int, default=15, help="how often each is measured (default: 15)")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"Linux {platform.release()}, {len(CPUS)} CPUs, CPython {platform.python_version()}\n")

    lines: dict[str, dict[int, float]] = {}  # ns for all events, by what is done and how many they are
    used = 0.0
    for n in COUNTS:
        for name, group in (("", 1), (f", groups of {GROUP}", GROUP)):
            taken = [opening(n, group) for _ in range(max(3, options.rounds // 3))]
            lines.setdefault(f"open{name}", {})[n] = statistics.median(one[0] for one in taken)
            lines.setdefault(f"close{name}", {})[n] = statistics.median(one[1] for one in taken)
            used = statistics.median(one[2] for one in taken)
        for name, ns in reading(n, options.rounds).items():
            lines.setdefault(name, {})[n] = ns
    print("| ms of CPU time | " + " | ".join(f"{n:,} events" for n in COUNTS) + " |")
    print("| --- |" + " ---: |" * len(COUNTS))
    for name, points in lines.items():
        print(f"| {name} | " + " | ".join(f"{points[n] / 1e6:.2f}" for n in COUNTS) + " |")
    print(f"\nkernel memory for an event: {used:.0f} bytes")

    trips = switching(options.rounds)
    thread, cgroup = (slope({n: ns for (kind, n), ns in trips.items() if kind == one}) for one in ("thread", "cgroup"))
    print(f"round trip of two processes, no event: {trips['thread', 0]:.0f} ns")
    print(f"  each idle event on one of them: {thread:.0f} ns; on the cgroup of one of them: {cgroup:.0f} ns")
    print(f"  256 idle events on each CPU: {trips['CPU', 256] - trips['thread', 0]:.0f} ns in all")
    faults = sampling(options.rounds)
    print("a page fault: " + ", ".join(f"{name} {ns:.0f} ns" for name, ns in faults.items()))
    print(f"a sample of a timer: {interrupts(options.rounds):.0f} ns")
    for data_pages in (1, 8, 64, 512):
        mapped, allowed = rings_of_a_user(data_pages)
        print(f"rings of {data_pages} data pages that an ordinary user may map: {mapped}; by the formula: {allowed}")

    if options.svg:
        shown = {
            name: {n: ns / 1e6 for n, ns in points.items()} for name, points in lines.items() if "close," not in name
        }
        powers = {name: 2 if name.startswith("open") else 1 for name in shown}  # an open has all others scheduled anew
        options.svg.write_text(draw(shown, powers, 65536, "events on all CPUs", "milliseconds of CPU time"))


if __name__ == "__main__":
    main()

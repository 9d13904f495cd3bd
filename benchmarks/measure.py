"""Measure a subject and its baseline in turn, print the table, and load the C functions of baseline.c."""

from __future__ import annotations

import mmap
import os
import shlex
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple

from cffi import FFI

from perf_event_open_sys import bindings as b
from perf_event_open_sys import perf_event_attr


class Row(NamedTuple):
    """A line of the table. *ns* and *baseline_ns* are nanoseconds per operation; *reach* is the highest ratio wanted."""

    what: str
    baseline: str
    ns: float
    baseline_ns: float
    ratio: float
    reach: float | None = None


def paired(baseline: Callable[[], float], subject: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Call both in turn, *rounds* times; each call returns its nanoseconds per operation.

    Returns the median of *subject*, that of *baseline*, and the median of the ratios subject / baseline of all rounds.
    """
    baseline()
    subject()
    pairs = [(baseline(), subject()) for _ in range(rounds)]
    return (
        statistics.median(s for _, s in pairs),
        statistics.median(c for c, _ in pairs),
        statistics.median(s / c for c, s in pairs),
    )


def timed(work: Callable[[], object], per: int = 1) -> Callable[[], float]:
    """Return a function that calls *work* and returns the nanoseconds it took for each of its *per* operations."""

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
        int64_t drain_many(void **pages, int n, size_t offset, size_t size, char *to);
    """)
    return declarations.dlopen(str(library)), declarations


def software_attr(**fields: Any) -> Any:
    """Return the attr of an event that counts page faults in user space, which an ordinary user may open."""
    page_faults = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_PAGE_FAULTS, "exclude_kernel": 1}
    return perf_event_attr(**page_faults, **fields)


def fault(pages: int) -> None:
    """Fault pages in, one by one."""
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as area:
        for page in range(pages):
            area[page * mmap.PAGESIZE] = 1


def shown(ns: float) -> str:
    """Return a time with its unit."""
    return f"{ns / 1e6:.2f} ms" if ns >= 1e6 else f"{ns / 1e3:.2f} µs" if ns >= 1e3 else f"{ns:.1f} ns"


def shown_ratio(ratio: float) -> str:
    """Return a ratio as a multiple, or a small one as a fraction."""
    return f"{ratio:.2f} x" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def table(rows: list[Row]) -> str:
    """Return the rows as text."""
    lines = [f"{'what':48} {'takes':>10}  {'baseline':24} {'takes':>10}  {'ratio':>9}  {'reach':>8}"]
    for row in rows:
        ratio, reach = shown_ratio(row.ratio), "" if row.reach is None else shown_ratio(row.reach)
        missed = "  missed" if row.reach is not None and row.ratio > row.reach else ""
        ours, theirs = f"{row.what:48} {shown(row.ns):>10}", f"{row.baseline:24} {shown(row.baseline_ns):>10}"
        lines.append(f"{ours}  {theirs}  {ratio:>9}  {reach:>8}{missed}")
    return "\n".join(lines)

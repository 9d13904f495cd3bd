"""Compute a metric of a count, as ``perf stat`` shows it beside the count: a rate, or its ratio to another count."""

from __future__ import annotations

from .._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .count import Count

_SOFTWARE, _HARDWARE, _CACHE = lib.PERF_TYPE_SOFTWARE, lib.PERF_TYPE_HARDWARE, lib.PERF_TYPE_HW_CACHE
_CLOCKS = [(_SOFTWARE, clock) for clock in (lib.PERF_COUNT_SW_TASK_CLOCK, lib.PERF_COUNT_SW_CPU_CLOCK)]
_CYCLES = (_HARDWARE, lib.PERF_COUNT_HW_CPU_CYCLES)
_MISS = lib.PERF_COUNT_HW_CACHE_RESULT_MISS << 16

# Event -> the event that its count is divided by, a factor, the format of the result and its label, as perf has them.
_RATIOS = {
    (_HARDWARE, lib.PERF_COUNT_HW_INSTRUCTIONS): (_CYCLES, 1, "{:7.2f}", "insn per cycle"),
    (_HARDWARE, lib.PERF_COUNT_HW_BRANCH_MISSES): (
        (_HARDWARE, lib.PERF_COUNT_HW_BRANCH_INSTRUCTIONS),
        100,
        "{:7.2f}%",
        "of all branches",
    ),
    (_HARDWARE, lib.PERF_COUNT_HW_CACHE_MISSES): (
        (_HARDWARE, lib.PERF_COUNT_HW_CACHE_REFERENCES),
        100,
        "{:8.3f}%",
        "of all cache refs",
    ),
    (_HARDWARE, lib.PERF_COUNT_HW_STALLED_CYCLES_FRONTEND): (_CYCLES, 100, "{:7.2f}%", "frontend cycles idle"),
    (_HARDWARE, lib.PERF_COUNT_HW_STALLED_CYCLES_BACKEND): (_CYCLES, 100, "{:7.2f}%", "backend cycles idle"),
}
_CACHES = {
    lib.PERF_COUNT_HW_CACHE_L1D: "L1-dcache",
    lib.PERF_COUNT_HW_CACHE_L1I: "L1-icache",
    lib.PERF_COUNT_HW_CACHE_LL: "LL-cache",
    lib.PERF_COUNT_HW_CACHE_DTLB: "dTLB cache",
    lib.PERF_COUNT_HW_CACHE_ITLB: "iTLB cache",
}


def metric(count: Count, counts: list[Count], elapsed_s: float) -> tuple[str, str] | None:
    """Return the metric of *count* as its number and its label, both as text; None if there is none for it.

    *counts* are all counts of the same run. A ratio is made with another count of the same CPU and cgroup.
    """
    if count.value is None:
        return None
    others = {other.kind: other for other in reversed(counts) if (other.cpu, other.cgroup) == (count.cpu, count.cgroup)}
    clock_s = next((_seconds(others[kind]) for kind in _CLOCKS if kind in others and others[kind].value), 0.0)
    if count.kind in _CLOCKS:
        return (f"{_seconds(count) / elapsed_s:8.3f}", "CPUs utilized") if elapsed_s else None
    ratio = _ratio(count.kind)
    if ratio:
        base, factor, form, text = ratio
        whole = others[base].value if base in others else None
        return (form.format(factor * count.value / whole), text) if whole else None
    if not clock_s:
        return None
    if count.kind == _CYCLES:
        return f"{count.value / clock_s / 1e9:8.3f}", "GHz"
    return _per_second(count.value / clock_s)


def _seconds(clock: Count) -> float:
    return (clock.value or 0.0) / clock.scale / 1e9


def _ratio(kind: tuple[int, int]) -> tuple[tuple[int, int], int, str, str] | None:
    if kind[0] == _CACHE and kind[1] & _MISS:
        cache = _CACHES.get(kind[1] & 0xFF, "")
        return (_CACHE, kind[1] & ~_MISS), 100, "{:7.2f}%", f"of all {cache} accesses".replace("  ", " ")
    return _RATIOS.get(kind)


def _per_second(rate: float) -> tuple[str, str]:
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if rate >= size:
            return f"{rate / size:8.3f}", f"{unit}/sec"
    return f"{rate:8.3f}", "/sec"

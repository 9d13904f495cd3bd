"""How counts are shown: perf's table, a line for each interval, or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._native import lib

if TYPE_CHECKING:
    from typing import Any, TextIO

    from .stat import Count

_CLOCKS = [(lib.PERF_TYPE_SOFTWARE, clock) for clock in (lib.PERF_COUNT_SW_TASK_CLOCK, lib.PERF_COUNT_SW_CPU_CLOCK)]
_CYCLES = (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_CPU_CYCLES)
_MISS = lib.PERF_COUNT_HW_CACHE_RESULT_MISS << 16

# What a count is set in proportion to: the event above which it stands, and the name of the ratio.
_RATIOS = {
    (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_INSTRUCTIONS): (_CYCLES, "insn per cycle"),
    (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_BRANCH_MISSES): (
        (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_BRANCH_INSTRUCTIONS),
        "of all branches",
    ),
    (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_CACHE_MISSES): (
        (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_CACHE_REFERENCES),
        "of all cache refs",
    ),
}


def as_table(output: TextIO, counts: list[Count], title: str, elapsed: list[float], used: tuple[float, float]) -> None:
    """Print the table of a run, or of the means of several."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if output.isatty() else ("", "")
    mean = sum(elapsed) / len(elapsed)
    print(f"\n {bold}Performance counter stats for {title}:{plain}\n", file=output)
    for count in counts:
        print(_line(count, counts, mean), file=output)
    spread = f"  ( +- {standard_error(elapsed):.2f}% )" if len(elapsed) > 1 else ""
    print(f"\n{mean:18.9f} seconds time elapsed{spread}", file=output)
    if any(used):
        print(f"\n{used[0]:18.9f} seconds user\n{used[1]:18.9f} seconds sys", file=output)
    print(file=output)
    _reasons(output, counts)


def as_lines(output: TextIO, counts: list[Count], elapsed: float, interval: float) -> None:
    """Print the counts of an interval, each line with the seconds since the start."""
    for count in counts:
        print(f"{elapsed:14.6f} {_line(count, counts, interval)}", file=output)
    output.flush()


def as_json(output: TextIO, counts: list[Count], elapsed: float, *, interval: bool) -> None:
    """Print the counts as JSON: one document, or for intervals one a line."""
    import json

    rows = [
        {
            "event": count.name,
            "value": count.value,
            "unit": count.event.unit,
            "time_enabled": count.enabled_ns,
            "time_running": count.running_ns,
            **({"state": count.state.strip("<>"), "reason": count.reason} if count.state else {}),
            **({} if count.spread is None else {"spread_percent": count.spread}),
        }
        for count in counts
    ]
    print(json.dumps({"elapsed_s": elapsed, "events": rows}, indent=None if interval else 2), file=output, flush=True)


def _line(count: Count, counts: list[Count], elapsed: float) -> str:
    if count.value is None:
        return f"{count.state:>18} {count.event.unit:4} {count.name}"
    whole = count.event.scale == 1.0 and float(count.value).is_integer()
    value = f"{count.value:,.0f}" if whole else f"{count.value:,.2f}"
    line = f"{value:>18} {count.event.unit:4} {count.name:28} {_proportion(count, counts, elapsed):32}"
    if count.spread is not None:
        line += f" ( +- {count.spread:5.2f}% )"
    if count.running_ns < count.enabled_ns:
        line += f" ({100 * count.running_ns / count.enabled_ns:.2f}% of the time)"
    return line.rstrip()


def _proportion(count: Count, counts: list[Count], elapsed: float) -> str:
    """Return the rate or ratio that a reader would work out next."""
    kind, value = _kind(count), count.value or 0.0
    clock = next((other.value for other in counts if _kind(other) in _CLOCKS and other.value), None)  # milliseconds
    if kind in _CLOCKS:
        return f"# {value / 1e3 / elapsed:8.3f} CPUs utilized" if elapsed else ""
    base, text = _RATIOS.get(kind, (None, ""))
    if kind[0] == lib.PERF_TYPE_HW_CACHE and kind[1] & _MISS:
        base, text = (kind[0], kind[1] & ~_MISS), "of all accesses"
    whole = next((other.value for other in counts if base and _kind(other) == base and other.value), None)
    if whole:
        return f"# {value / whole:8.2f}  {text}" if base == _CYCLES else f"# {100 * value / whole:8.2f}% {text}"
    if kind == _CYCLES and clock:
        return f"# {value / clock / 1e6:8.3f} GHz"
    seconds = clock / 1e3 if clock else elapsed
    return f"# {_scaled(value / seconds)}/sec" if seconds and not count.event.unit else ""


def _kind(count: Count) -> tuple[int, int]:
    attr: Any = count.event.attr
    config = attr.config & 0xFFFFFFFF if attr.type in (lib.PERF_TYPE_HARDWARE, lib.PERF_TYPE_HW_CACHE) else attr.config
    return attr.type, config


def _scaled(rate: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if rate >= size:
            return f"{rate / size:8.3f} {unit}"
    return f"{rate:8.3f} "


def standard_error(values: list[float]) -> float:
    """Return the standard error of the mean, in per cent of it."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return 100 * (variance / len(values)) ** 0.5 / mean if mean else 0.0


def _reasons(output: TextIO, counts: list[Count]) -> None:
    reasons: dict[str, list[str]] = {}
    for count in counts:
        if count.reason:
            reasons.setdefault(count.reason, []).append(count.name)
    for reason, names in reasons.items():
        print(f" {', '.join(names)}: {reason}", file=output)
    if reasons:
        print(file=output)

"""Counts as perf's table, for people: of a run, or of an interval."""

from __future__ import annotations

from .metric import metric

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .count import Count, Result
    from .output import Output

HEADER_EVERY = 25  # intervals


class Table:
    """Prints results into *output*."""

    def __init__(self, output: Output, title: str) -> None:
        self.output, self.title, self.intervals = output, title, 0

    def result(self, result: Result) -> None:
        """Print a run, or the means of several."""
        runs = f" ({result.runs} runs)" if result.runs > 1 else ""
        lines = ["", f" {self.output.bold(f'Performance counter stats for {self.title}{runs}:')}", ""]
        lines += [_line(count, result) for count in result.counts]
        spread = f"  ( +- {result.elapsed_spread:.2f}% )" if result.runs > 1 else ""
        lines += ["", f"{result.elapsed_s:18.9f} seconds time elapsed{spread}"]
        if result.user_s or result.system_s:
            lines += ["", f"{result.user_s:18.9f} seconds user", f"{result.system_s:18.9f} seconds sys"]
        reasons = _reasons(result.counts)
        self.output.write("\n".join([*lines, "", *reasons, *([""] if reasons else []), ""]), heading=True)

    def interval(self, result: Result) -> None:
        """Print the counts of an interval, each line with the seconds since the start."""
        lines = []
        if self.intervals % HEADER_EVERY == 0:
            cpu = " CPU   " if result.counts[0].cpu is not None else ""
            lines.append(f"#{'time':>15}{cpu}{'counts':>19} unit events")
        reasons = _reasons(result.counts) if self.intervals == 0 else []
        self.intervals += 1
        time = result.started_s + result.elapsed_s
        lines += [f"{time:16.9f} {_line(count, result)}" for count in result.counts]
        self.output.write("\n".join([*lines, *(f"#{reason}" for reason in reasons), ""]), heading=True)


def _line(count: Count, result: Result) -> str:
    cpu = "" if count.cpu is None else f"CPU{count.cpu:<3} "
    cgroup = f" {count.cgroup:16}" if count.cgroup else ""
    if count.value is None:
        return f"{cpu}{count.state:>18} {count.unit:4} {count.name:28}{cgroup}".rstrip()
    whole = count.scale == int(count.scale) and float(count.value).is_integer()
    value = f"{count.value:,.0f}" if whole else f"{count.value:,.2f}"
    found = metric(count, result.counts, result.elapsed_s)
    line = f"{cpu}{value:>18} {count.unit:4} {count.name:28}{cgroup} {'# ' + ' '.join(found) if found else '':32}"
    if count.spread is not None:
        line += f" ( +- {count.spread:5.2f}% )"
    if count.running_ns < count.enabled_ns:
        line += f" ({100 * count.running_ns / count.enabled_ns:.2f}% of the time)"
    return line.rstrip()


def _reasons(counts: list[Count]) -> list[str]:
    """Return why some were not counted, each reason once."""
    reasons: dict[str, dict[str, None]] = {}
    for count in counts:
        if count.reason:
            reasons.setdefault(count.reason, {})[count.name] = None
    return [f" {', '.join(names)}: {reason}" for reason, names in reasons.items()]

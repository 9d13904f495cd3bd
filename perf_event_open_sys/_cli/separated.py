"""Print counts in the columns of ``perf stat -x``, a line for each, to be read by programs."""

from __future__ import annotations

from .metric import metric

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .count import Count, Result
    from .output import Output


class Separated:
    """Prints results into *output*, the columns set apart by *separator*; *repeated* runs have one for the spread."""

    def __init__(self, output: Output, separator: str, *, repeated: bool, cgroups: bool) -> None:
        self.output, self.separator, self.repeated, self.cgroups = output, separator, repeated, cgroups

    def result(self, result: Result) -> None:
        """Print a run, or the means of several."""
        self._write(result, [])

    def interval(self, result: Result) -> None:
        """Print an interval, each line with the seconds since the start."""
        self._write(result, [f"{result.started_s + result.elapsed_s:.9f}"])

    def _write(self, result: Result, prefix: list[str]) -> None:
        rows = [[*prefix, *self._columns(count, result)] for count in result.counts]
        self.output.write("".join(f"{self.separator.join(row)}\n" for row in rows), heading=True)

    def _columns(self, count: Count, result: Result) -> list[str]:
        digits = 0 if count.scale == int(count.scale) else 2
        # perf prints 100 per cent for an event that was never enabled; so does this.
        percent = 100 * count.running_ns / count.enabled_ns if count.enabled_ns else 100
        number, unit = metric(count, result.counts, result.elapsed_s) or ("", "")
        return [
            *([] if count.cpu is None else [f"CPU{count.cpu}"]),
            count.state if count.value is None else f"{count.value:.{digits}f}",
            count.unit,
            count.name,
            *([count.cgroup] if self.cgroups else []),
            *([f"{count.spread or 0:.2f}%"] if self.repeated else []),
            f"{count.running_ns}",
            f"{percent:.2f}",
            number.strip(" %"),
            unit,
        ]

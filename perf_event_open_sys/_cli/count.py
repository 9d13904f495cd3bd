"""Counts, as a Counter returns them and a report prints them, and the means of the counts of several runs."""

from __future__ import annotations

NOT_SUPPORTED, NOT_COUNTED = "<not supported>", "<not counted>"


class Count:
    """The count of one event: a *value*, or, if there is none, a *state* such as NOT_COUNTED and the *reason* for it."""

    __slots__ = (
        "cgroup",
        "cpu",
        "enabled_ns",
        "kind",
        "name",
        "raw",
        "reason",
        "running_ns",
        "scale",
        "spread",
        "state",
        "unit",
        "value",
    )

    def __init__(
        self,
        name: str,
        kind: tuple[int, int],
        *,
        unit: str = "",
        scale: float = 1.0,
        cpu: int | None = None,
        cgroup: str = "",
        value: float | None = None,
        raw: int = 0,
        state: str = "",
        reason: str = "",
        enabled_ns: int = 0,
        running_ns: int = 0,
        spread: float | None = None,
    ) -> None:
        self.name = name
        self.kind = kind  # type and config of the attr
        self.unit, self.scale = unit, scale  # the value is in this unit: it was multiplied by scale
        self.cpu, self.cgroup = cpu, cgroup
        self.value, self.state, self.reason = value, state, reason
        self.raw = raw  # the kernel's value, neither scaled to the time enabled nor multiplied by *scale*
        self.enabled_ns, self.running_ns = enabled_ns, running_ns
        self.spread = spread  # if this is a mean of several runs: its standard error in per cent of the mean


class Result:
    """The counts of a run, of an interval, or the means of several runs; and the times that it took."""

    __slots__ = ("counts", "elapsed_s", "elapsed_spread", "runs", "started_s", "system_s", "user_s")

    def __init__(
        self, counts: list[Count], elapsed_s: float, user_s: float = 0.0, system_s: float = 0.0, started_s: float = 0.0
    ) -> None:
        self.counts, self.elapsed_s, self.user_s, self.system_s = counts, elapsed_s, user_s, system_s
        self.started_s = started_s  # if this is an interval: its beginning, in seconds since the start of the run
        self.runs, self.elapsed_spread = 1, 0.0


def mean(results: list[Result]) -> Result:
    """Return the means of several runs, each count with its standard error; for a single run, that run."""
    if len(results) == 1:
        return results[0]
    seconds = [[run.elapsed_s for run in results], [run.user_s for run in results], [run.system_s for run in results]]
    rows = zip(*(run.counts for run in results), strict=True)
    whole = Result([_mean(list(counts)) for counts in rows], *(sum(each) / len(each) for each in seconds))
    whole.runs, whole.elapsed_spread = len(results), standard_error(seconds[0])
    return whole


def _mean(counts: list[Count]) -> Count:
    values = [count.value for count in counts if count.value is not None]
    last = counts[-1]
    return Count(
        last.name,
        last.kind,
        unit=last.unit,
        scale=last.scale,
        cpu=last.cpu,
        cgroup=last.cgroup,
        value=sum(values) / len(values) if values else None,
        state="" if values else last.state,
        reason="" if values else last.reason,
        enabled_ns=sum(count.enabled_ns for count in counts) // len(counts),
        running_ns=sum(count.running_ns for count in counts) // len(counts),
        spread=standard_error(values) if values else 0.0,
    )


def standard_error(values: list[float]) -> float:
    """Return the standard error of the mean, in per cent of it."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return 100 * (variance / len(values)) ** 0.5 / mean if mean else 0.0

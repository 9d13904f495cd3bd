"""Counts as JSON: a document for a run, a line for each interval."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .count import Count, Result
    from .output import Output


class Json:
    """Prints results into *output*."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def result(self, result: Result) -> None:
        """Print a run, or the means of several."""
        document: dict[str, Any] = {"elapsed_s": result.elapsed_s, "user_s": result.user_s, "system_s": result.system_s}
        if result.runs > 1:
            document |= {"runs": result.runs, "elapsed_spread_percent": result.elapsed_spread}
        document["events"] = [_row(count) for count in result.counts]
        self.output.write(json.dumps(document, indent=2) + "\n")

    def interval(self, result: Result) -> None:
        """Print an interval: its end in seconds since the start."""
        time = result.started_s + result.elapsed_s
        self.output.write(json.dumps({"elapsed_s": time, "events": [_row(count) for count in result.counts]}) + "\n")


def _row(count: Count) -> dict[str, Any]:
    return {
        "event": count.name,
        **({} if count.cpu is None else {"cpu": count.cpu}),
        **({"cgroup": count.cgroup} if count.cgroup else {}),
        "value": count.value,
        "unit": count.unit,
        "time_enabled": count.enabled_ns,
        "time_running": count.running_ns,
        **({"state": count.state.strip("<>"), "reason": count.reason} if count.state else {}),
        **({} if count.spread is None else {"spread_percent": count.spread}),
    }

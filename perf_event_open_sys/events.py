"""Event names to ``perf_event_attr``: generic events by perf's names, tracepoints as ``system:name``."""

from __future__ import annotations

import os
from difflib import get_close_matches

from ._native import lib
from .bindings import perf_event_attr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._native import CData

_HARDWARE, _SOFTWARE = lib.PERF_TYPE_HARDWARE, lib.PERF_TYPE_SOFTWARE

# perf's name -> (type, config)
NAMES = {
    "cycles": (_HARDWARE, lib.PERF_COUNT_HW_CPU_CYCLES),
    "instructions": (_HARDWARE, lib.PERF_COUNT_HW_INSTRUCTIONS),
    "cache-references": (_HARDWARE, lib.PERF_COUNT_HW_CACHE_REFERENCES),
    "cache-misses": (_HARDWARE, lib.PERF_COUNT_HW_CACHE_MISSES),
    "branches": (_HARDWARE, lib.PERF_COUNT_HW_BRANCH_INSTRUCTIONS),
    "branch-misses": (_HARDWARE, lib.PERF_COUNT_HW_BRANCH_MISSES),
    "cpu-clock": (_SOFTWARE, lib.PERF_COUNT_SW_CPU_CLOCK),
    "task-clock": (_SOFTWARE, lib.PERF_COUNT_SW_TASK_CLOCK),
    "page-faults": (_SOFTWARE, lib.PERF_COUNT_SW_PAGE_FAULTS),
    "minor-faults": (_SOFTWARE, lib.PERF_COUNT_SW_PAGE_FAULTS_MIN),
    "major-faults": (_SOFTWARE, lib.PERF_COUNT_SW_PAGE_FAULTS_MAJ),
    "context-switches": (_SOFTWARE, lib.PERF_COUNT_SW_CONTEXT_SWITCHES),
    "cpu-migrations": (_SOFTWARE, lib.PERF_COUNT_SW_CPU_MIGRATIONS),
    "alignment-faults": (_SOFTWARE, lib.PERF_COUNT_SW_ALIGNMENT_FAULTS),
    "emulation-faults": (_SOFTWARE, lib.PERF_COUNT_SW_EMULATION_FAULTS),
}


def attr(event: str, **overrides: Any) -> CData:
    """Return a new ``struct perf_event_attr *`` for an event's name, with *overrides* as its other fields.

    Raises:
        ValueError: no such event; the nearest names are given.
        FileNotFoundError: a tracepoint, and no tracefs is mounted; the message says how to mount it.
    """
    system, colon, name = event.partition(":")
    if colon:
        fields = {"type": lib.PERF_TYPE_TRACEPOINT, "config": tracepoint_id(system, name)}
    elif event in NAMES:
        fields = dict(zip(("type", "config"), NAMES[event], strict=True))
    else:
        close = get_close_matches(event, NAMES, 3, 0.5)
        raise ValueError(f"no event {event!r}" + (f"; did you mean {' or '.join(close)}?" if close else ""))
    return perf_event_attr(**(fields | overrides))


def tracefs() -> str:
    """Return where tracefs is mounted, by the mount table."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, where, kind, *_ = line.split()
            if kind == "tracefs":
                return where
    raise FileNotFoundError("tracefs is not mounted: as root, mount -t tracefs nodev /sys/kernel/tracing")


def tracepoint_id(system: str, name: str) -> int:
    """Return the ``config`` of a tracepoint: the content of its ``id`` file in tracefs."""
    path = os.path.join(tracefs(), "events", system, name, "id")
    try:
        with open(path) as file:
            return int(file.read())
    except FileNotFoundError:
        raise ValueError(f"no tracepoint {system}:{name} ({path})") from None

"""The events and the cgroups that a command line asks for."""

from __future__ import annotations

import os

from .._files import DEVICES, contents, listed
from .._native import lib
from ..bindings import perf_event_attr
from .counter import COUNTING, Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEVICES = f"/sys/{DEVICES}"
# What is counted unless -e says otherwise, as by perf. The clock comes first.
DEFAULT = {
    "context-switches": (lib.PERF_TYPE_SOFTWARE, lib.PERF_COUNT_SW_CONTEXT_SWITCHES),
    "cpu-migrations": (lib.PERF_TYPE_SOFTWARE, lib.PERF_COUNT_SW_CPU_MIGRATIONS),
    "page-faults": (lib.PERF_TYPE_SOFTWARE, lib.PERF_COUNT_SW_PAGE_FAULTS),
    "cycles": (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_CPU_CYCLES),
    "instructions": (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_INSTRUCTIONS),
    "branches": (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_BRANCH_INSTRUCTIONS),
    "branch-misses": (lib.PERF_TYPE_HARDWARE, lib.PERF_COUNT_HW_BRANCH_MISSES),
}
CLOCKS = {"task-clock": lib.PERF_COUNT_SW_TASK_CLOCK, "cpu-clock": lib.PERF_COUNT_SW_CPU_CLOCK}
# What each further -d adds, as by perf.
DETAILS = (
    ("L1-dcache-loads", "L1-dcache-load-misses", "LLC-loads", "LLC-load-misses"),
    ("L1-icache-loads", "L1-icache-load-misses", "dTLB-loads", "dTLB-load-misses", "iTLB-loads", "iTLB-load-misses"),
    ("L1-dcache-prefetches", "L1-dcache-prefetch-misses"),
)


def groups(texts: list[str], details: int, clock: str, **fields: Any) -> list[list[Event]]:
    """Return the events asked for, a list for each group; *fields* are of their attrs.

    Raises:
        ValueError: a text is no list of events.
    """
    fields |= COUNTING
    if not texts and not details and not _several_kinds_of_cpu():
        return [[event] for event in _default(clock, fields)]
    from .. import events

    more = [name for level in DETAILS[:details] for name in level]
    text = ",".join([*(texts or [clock, *DEFAULT]), *more])
    return [[event_of(event) for event in group] for group in events.parse(text, **fields)]


def _default(clock: str, fields: dict[str, int]) -> list[Event]:
    """Return the default events, as ``events.parse`` would; importing that module would take longer than counting."""
    attr = perf_event_attr(type=lib.PERF_TYPE_SOFTWARE, config=CLOCKS[clock], **fields)
    others = [
        Event(name, perf_event_attr(type=kind, config=config, **fields)) for name, (kind, config) in DEFAULT.items()
    ]
    return [Event(clock, attr, 1e-6, "msec"), *others]


def _several_kinds_of_cpu() -> bool:
    """Tell whether this is a hybrid machine, on which a generic event is one event for each kind of CPU.

    Its core PMUs, and no others, have a file ``cpus`` in sysfs.
    """
    return any(os.path.exists(f"{_DEVICES}/{name}/cpus") for name in listed(_DEVICES))


def event_of(event: Any) -> Event:
    """Return what ``events.parse`` read as an event of the command line."""
    cpumask = event.pmu.cpumask if event.pmu else ()
    return Event(event.name, event.attr, event.scale, event.unit, event.modifiers, cpumask)


def cgroup_directory(name: str) -> str:
    """Return the directory of a cgroup: below version 1's hierarchy for perf_event, or else below version 2's.

    Raises:
        OSError: cgroups are not mounted.
    """
    found: dict[str, str] = {}
    for line in contents("/proc/self/mounts").splitlines():
        _, where, kind, options = line.split()[:4]
        for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            where = where.replace(octal, character)
        if kind == "cgroup2" or (kind == "cgroup" and "perf_event" in options.split(",")):
            found.setdefault(kind, where)
    root = found.get("cgroup") or found.get("cgroup2")
    if not root:
        raise OSError(None, "no cgroups are mounted that perf events know: neither version 2 nor perf_event's")
    return name if name == root or name.startswith(f"{root}/") else f"{root}/{name}"

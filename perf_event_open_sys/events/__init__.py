"""Event names to ``perf_event_attr``, in the syntax of perf-list(1) and perf-record(1).

::

    list      = item ("," item)*            item = event | "{" event ("," event)* "}" [":" modifiers]
    event     = selection ["/" [term ("," term)*] "/"] [":"] [modifiers]
    selection = generic | cache | sysfs-event | "r" hex | type ":" config | system ":" tracepoint
              | "mem:" address ["/" length] [":" access] | pmu      (a PMU needs the slashes, even empty: "msr//")
    cache     = cache ["-" operation] ["-" result]
    term      = name ["=" value]            name = format | sysfs-event | generic | "config" | "period" | "name" | ...
    modifiers = letters of: u k h I G H p pp ppp P S D W e

The event tables of processor vendors, which perf carries with it, are not known here: only sysfs and tracefs are read.
"""

from __future__ import annotations

from .._files import parse_cpu_list
from ._names import HARDWARE, SOFTWARE, cache_events
from ._resolve import Event, Resolver
from ._sysfs import SYSFS, Pmu, pmu_type, pmus
from ._tracefs import tracefs, tracepoint_id, tracepoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..bindings import _perf_event_attr_overrides, perf_event_attr_p
    from ._filter import explain_filter as explain_filter
    from ._format import Field as Field
    from ._format import Format as Format
    from ._format import tracepoint_format as tracepoint_format

__all__ = [
    "HARDWARE",
    "SOFTWARE",
    "Event",
    "Field",
    "Format",
    "Pmu",
    "attr",
    "cache_events",
    "explain_filter",
    "parse",
    "parse_cpu_list",
    "pmu_type",
    "pmus",
    "tracefs",
    "tracepoint_format",
    "tracepoint_id",
    "tracepoints",
]


def attr(
    event: str, *, sysfs: str = SYSFS, tracefs: str | None = None, **overrides: Unpack[_perf_event_attr_overrides]
) -> perf_event_attr_p:
    """Return a new ``struct perf_event_attr *`` for one event of perf's syntax, with *overrides* as its other fields.

    Args:
        event: one event, as in ``"cycles:u"`` or ``"sched:sched_switch"``.
        sysfs: the root of sysfs, or of a copy of another machine's.
        tracefs: the root of tracefs; None is the one that is mounted.
        overrides: fields by their C names, which win over those of the event. ``sample_freq`` sets ``freq``,
            ``sample_period`` clears it, unless ``freq`` is given too. ``uprobe_path`` (a path) and ``kprobe_func`` may be
            strings, as in ``attr("uprobe/retprobe/", uprobe_path="/bin/sh", probe_offset=0x4710)``: they lie in the
            struct's memory and live as long.

    Raises:
        ValueError: the string is no event, or names several; a caret shows the place, and the nearest names are given.
        FileNotFoundError, PermissionError: a tracepoint, and tracefs is not mounted, or closed to this user.
        TypeError, OverflowError: an override that is no field, or does not fit it.
    """
    return Resolver(event, sysfs, tracefs, {**overrides}).one().attr


def parse(
    text: str, *, sysfs: str = SYSFS, tracefs: str | None = None, **overrides: Unpack[_perf_event_attr_overrides]
) -> list[list[Event]]:
    """Return the events of a list: a list for each group, leader first; an event outside of braces is a group of one.

    An event that stands for several (``sched:*``, an uncore PMU without its number, ``cycles`` where there are several
    kinds of CPU) becomes several. Arguments and errors are those of :func:`attr`.
    """
    return Resolver(text, sysfs, tracefs, {**overrides}).groups()


if not TYPE_CHECKING:  # to a type checker it would say that any name is there

    def __getattr__(name):
        """Import what few programs use by its first use: events are read without ``struct``, ``re`` and ``records``."""
        if name not in ("Field", "Format", "explain_filter", "tracepoint_format"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{'_filter' if name == 'explain_filter' else '_format'}"), name)

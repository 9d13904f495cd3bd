"""Turn an event's name into a ``perf_event_attr``, in the syntax of perf-list(1) and perf-record(1).

::

    list      = item ("," item)*            item = event | "{" event ("," event)* "}" [":" modifiers]
    event     = selection ["/" [term ("," term)*] "/"] [":"] [modifiers]
    selection = generic | cache | sysfs-event | "r" hex | type ":" config | system ":" tracepoint
              | "mem:" address ["/" length] [":" access] | pmu      (a PMU needs the slashes, even empty: "msr//")
    cache     = cache ["-" operation] ["-" result]
    term      = name ["=" value]            name = format | sysfs-event | generic | "config" | "period" | "name" | ...
    modifiers = letters of: u k h I G H p pp ppp P S D W e

Events are looked up in sysfs and tracefs only. The tables of processor vendors' events that the perf tool contains are
not part of this package.
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
    """Return a new ``struct perf_event_attr *`` for one event, given in perf's syntax.

    Args:
        event: one event, as in ``"cycles:u"`` or ``"sched:sched_switch"``.
        sysfs: the directory where sysfs is mounted, or of a copy of another machine's.
        tracefs: the same for tracefs; None finds it in the mount table.
        overrides: further fields of the attr by their C names; they replace those that the event sets. ``sample_freq``
            also sets ``freq``, ``sample_period`` clears it, unless ``freq`` is given too. ``uprobe_path`` (a path) and
            ``kprobe_func`` may be strings, as in ``attr("uprobe/retprobe/", uprobe_path="/bin/sh",
            probe_offset=0x4710)``: the string is part of the attr's memory and is freed with it.

    Raises:
        ValueError: the string is no event, or names several. A caret in the message shows the place; for a wrong name,
            the nearest ones are given.
        FileNotFoundError, PermissionError: the event is a tracepoint, and tracefs is not mounted, or this user may not
            read it.
        TypeError, OverflowError: an override that is no field, or does not fit it.
    """
    return Resolver(event, sysfs, tracefs, {**overrides}).one().attr


def parse(
    text: str, *, sysfs: str = SYSFS, tracefs: str | None = None, **overrides: Unpack[_perf_event_attr_overrides]
) -> list[list[Event]]:
    """Return the events of a list such as ``"{cycles,instructions},page-faults"``: a list for each group, leader first.

    An event outside of braces is a group of one. A name that stands for several events becomes several: ``sched:*``, an
    uncore PMU without its number, ``cycles`` on a machine with several kinds of CPU. Other arguments and the exceptions
    are those of :func:`attr`.
    """
    return Resolver(text, sysfs, tracefs, {**overrides}).groups()


if not TYPE_CHECKING:  # seeing __getattr__, a type checker would accept any attribute of the module

    def __getattr__(name):
        """Import functions that few programs need at their first use: they import ``struct``, ``re``, ``records``."""
        if name not in ("Field", "Format", "explain_filter", "tracepoint_format"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{'_filter' if name == 'explain_filter' else '_format'}"), name)

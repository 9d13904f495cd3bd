"""Turn parsed events into attrs: look up in sysfs and tracefs what their names stand for on this machine."""

from __future__ import annotations

import os

from .._files import DEVICES, listed
from .._namedtuple import NamedTuple
from .._names import nearest
from .._native import lib
from ._attr import new_attr
from ._names import NAMES, cache_events, generic
from ._parser import ParsedEvent, Term, parse_list, parse_one, refuse
from ._sysfs import Pmu, is_core, no_pmu, pmus, read_pmu
from ._terms import LETTERS, Fields, on_core
from ._tracefs import tracepoint_id, tracepoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

    from ..bindings import perf_event_attr_p

_NOT_THE_KERNELS = ("duration_time", "user_time", "system_time")
_MILLISECONDS = (1e-6, "msec")  # cpu-clock and task-clock count nanoseconds, and are shown in milliseconds


class Event(NamedTuple):
    """An event as it was read: what to open, and how to show its count."""

    name: str
    attr: perf_event_attr_p
    pmu: Pmu | None
    scale: float  #: the factor from the count to *unit*
    unit: str  #: the unit of the scaled count; may be empty
    modifiers: str


class _Selection(NamedTuple):
    """What the text before an event's terms selects: fields of the attr, and a PMU with perhaps one of its events."""

    label: str
    fields: dict[str, Any]
    pmu: Pmu | None = None
    event: str = ""


class Resolver:
    """One string of events, with the PMUs that have been read from sysfs for it. Every error message shows the string."""

    def __init__(self, text: str, sysfs: str, tracefs: str | None, overrides: dict[str, Any]) -> None:
        self.text, self.sysfs, self.tracefs, self.overrides = text, sysfs, tracefs, overrides
        self.devices = os.path.join(sysfs, DEVICES)
        self.pmus: dict[str, Pmu | None] = {}
        self.core_pmus: list[Pmu] | None = None

    def fail(self, at: int, message: str) -> NoReturn:
        refuse(self.text, at, message)

    def one(self) -> Event:
        """Return the one event that the string is."""
        parsed = parse_one(self.text)
        events = self.events(parsed)
        if len(events) > 1 and generic(parsed.name):
            # A hybrid machine has a core PMU for each kind of CPU. The upper half of config selects the PMU; if it is
            # 0, the kernel chooses one.
            events[0].attr.config &= 0xFFFFFFFF
        elif len(events) > 1:
            self.fail(0, f"{len(events)} events have this name: {', '.join(event.name for event in events[:3])} ...")
        return events[0]

    def groups(self) -> list[list[Event]]:
        """Return the events of the list that the string is, a list for each group."""
        groups = []
        for group in parse_list(self.text):
            if not group.in_braces:
                groups += [[event] for event in self.events(group.events[0])]
                continue
            modifiers = self.checked(group.modifiers, group.modifiers_at)
            events = self.events(group.events[0], modifiers)
            # Of the group's modifiers, D (pinned) and e (exclusive) are for its leader only.
            for parsed in group.events[1:]:
                events += self.events(parsed, "".join(letter for letter in modifiers if letter not in "De"))
            groups.append(events)
        return groups

    def events(self, parsed: ParsedEvent, shared: str = "") -> list[Event]:
        """Return the events that one event's text stands for, *shared* being the modifiers of its group."""
        selections, second_is_modifiers = self.select(parsed)
        if second_is_modifiers and (parsed.modifiers or parsed.terms is not None):
            self.fail(parsed.second_at + len(parsed.second), "modifiers come last")
        if second_is_modifiers:
            modifiers = self.checked(parsed.second, parsed.second_at)
        else:
            modifiers = self.checked(parsed.modifiers, parsed.modifiers_at)
        modifiers += "".join(letter for letter in shared if letter not in modifiers)
        alone = len(selections) == 1 and not shared
        return [self.event(parsed, selection, modifiers, alone=alone) for selection in selections]

    def event(self, parsed: ParsedEvent, selection: _Selection, modifiers: str, *, alone: bool) -> Event:
        """Return the event of one selection. If it is the only one (*alone*), its name is the text that the user wrote."""
        label, values, pmu, own = selection
        terms = [Term(own, None, parsed.at)] if own else []
        terms += parsed.terms or []
        fields = Fields(self.text, values, pmu, hybrid=bool(pmu and pmu.is_core and len(self.cores()) > 1))
        fields.set_terms(terms)
        fields.set_modifiers(modifiers)
        if "P" in modifiers:  # as precise as the machine can be
            fields.set({"precise_ip": max((core.max_precise for core in self.cores()), default=0)})
        try:  # checked without the overrides: an error of theirs must not show a caret under the event string
            new_attr(fields.values)
        except OverflowError as error:
            self.fail(parsed.at, str(error))
        if alone:
            label = parsed.text
        elif modifiers:
            label += modifiers if label.endswith("/") else f":{modifiers}"
        name = next((term.value for term in terms if term.name == "name" and term.value), label)
        scale, unit = _unit(fields.values, pmu, terms)
        return Event(name, new_attr(_overridden(fields.values, self.overrides)), pmu, scale, unit, modifiers)

    def select(self, parsed: ParsedEvent) -> tuple[list[_Selection], bool]:
        """Return what the text before the terms selects, and whether the text behind its colon is modifiers."""
        name, second = parsed.name, parsed.second
        if not name:
            return [_Selection(parsed.text, parsed.fields)], False
        if event := generic(name):
            return self.generic(name, *event), bool(second)
        if not second and parsed.terms is not None:
            family = self.family(parsed.at, name)
            return [_Selection(f"{pmu.name}/{parsed.terms_text}/", {"type": pmu.type}, pmu) for pmu in family], False
        having = [
            pmu for pmu in listed(self.devices) if os.path.isfile(os.path.join(self.devices, pmu, "events", name))
        ]
        if pmus := self.read(having):
            return [_Selection(f"{pmu.name}/{name}/", {"type": pmu.type}, pmu, name) for pmu in pmus], bool(second)
        if not second or not set(second) - LETTERS:
            self.fail(parsed.at, self.unknown(name))
        return self.tracepoints(parsed.at, name, second), False

    def generic(self, name: str, kind: int, config: int) -> list[_Selection]:
        """Return one selection, or one for each kind of CPU."""
        fields = {"type": kind, "config": config}
        cores = [] if kind == lib.PERF_TYPE_SOFTWARE else self.cores()
        if len(cores) < 2:
            return [_Selection(name, fields)]
        return [_Selection(f"{pmu.name}/{name}/", on_core(pmu, fields), pmu) for pmu in cores]

    def cores(self) -> list[Pmu]:
        """Return the PMUs that count PERF_TYPE_HARDWARE events."""
        if self.core_pmus is None:
            self.core_pmus = self.read(
                name for name in listed(self.devices) if is_core(os.path.join(self.devices, name))
            )
        return self.core_pmus

    def read(self, names: Iterable[str]) -> list[Pmu]:
        """Return the PMUs of these names that can be opened, each read once."""
        found = []
        for name in names:
            if name not in self.pmus:
                self.pmus[name] = read_pmu(name, self.sysfs)
            if pmu := self.pmus[name]:
                found.append(pmu)
        return found

    def family(self, at: int, name: str) -> list[Pmu]:
        """Return the PMU of this name, or those that match it as a glob, or all units of an uncore PMU.

        The name ``imc``, for example, stands for ``uncore_imc_0``, ``uncore_imc_1`` and so on.
        """
        family = self.read([name])
        if not family:
            known = listed(self.devices)
            family = self.read([pmu for pmu in known if _is_box(pmu, name)] or _matching(known, name))
        if not family:
            self.fail(at, no_pmu(name, self.sysfs))
        return family

    def tracepoints(self, at: int, system: str, name: str) -> list[_Selection]:
        """Return a selection for each tracepoint that ``system:name`` is, or matches as a glob."""
        points = [f"{system}:{name}"]
        if _is_glob(points[0]):
            points = _matching(tracepoints(tracefs=self.tracefs), points[0])
        if not points:
            self.fail(at, f"no tracepoint matches {system}:{name}")
        selections = []
        for point in points:
            system, _, name = point.partition(":")
            try:
                config = tracepoint_id(system, name, tracefs=self.tracefs)
            except ValueError as error:
                self.fail(at, str(error))
            selections.append(_Selection(point, {"type": lib.PERF_TYPE_TRACEPOINT, "config": config}))
        return selections

    def unknown(self, name: str) -> str:
        """Return the message for a name that is no event, with the nearest names."""
        if name in _NOT_THE_KERNELS:
            return f"{name} is no event of the kernel: perf measures it itself"
        ours = [event for pmu in pmus(sysfs=self.sysfs).values() for event in pmu.events]
        return f"no event {name!r}{nearest(name, [*NAMES, *cache_events(), *ours])}"

    def checked(self, letters: str, at: int) -> str:
        """Return *letters*, which stand at *at*, if they are modifiers."""
        for position, letter in enumerate(letters):
            if letter not in LETTERS:
                self.fail(at + position, f"no modifier {letter!r}: they are u k h I G H p pp ppp P S D W e")
            if letters.count(letter) > (3 if letter == "p" else 1):
                self.fail(at + position, f"too many {letter!r}")
        return letters


def _is_box(pmu: str, name: str) -> bool:
    """Tell whether *pmu* is *name*, perhaps with ``uncore_`` before it and ``_`` and the number of a unit behind it."""
    for full in (name, f"uncore_{name}"):
        number = pmu[len(full) + 1 :]
        if pmu == full or (pmu == f"{full}_{number}" and number.isascii() and number.isdecimal()):
            return True
    return False


def _is_glob(pattern: str) -> bool:
    return any(wild in pattern for wild in "*?[")


def _matching(names: list[str], pattern: str) -> list[str]:
    if not _is_glob(pattern):
        return []
    from fnmatch import fnmatchcase  # imports re, which takes longer than this package

    return [name for name in names if fnmatchcase(name, pattern)]


def _overridden(fields: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return *fields* with *overrides*; sample_period and sample_freq are a union, and freq says which of them it is."""
    period, freq = overrides.get("sample_period"), overrides.get("sample_freq")
    if period and freq:
        raise ValueError(f"sample_period={period} and sample_freq={freq} are one field of the attr: give one of them")
    merged = fields | overrides
    if freq or (period is None and freq is not None):
        merged.pop("sample_period", None)
        merged["freq"] = overrides.get("freq", 1)
    elif period is not None:
        merged.pop("sample_freq", None)
        merged["freq"] = overrides.get("freq", 0)
    return merged


def _unit(fields: dict[str, Any], pmu: Pmu | None, terms: list[Term]) -> tuple[float, str]:
    """Return the factor and the unit in which an event's count is shown."""
    clocks = (lib.PERF_COUNT_SW_CPU_CLOCK, lib.PERF_COUNT_SW_TASK_CLOCK)
    if fields["type"] == lib.PERF_TYPE_SOFTWARE and fields.get("config") in clocks:
        return _MILLISECONDS
    event = next((term.name for term in terms if pmu and term.name in pmu.events), "")
    return (pmu.scales.get(event, 1.0), pmu.units.get(event, "")) if pmu else (1.0, "")

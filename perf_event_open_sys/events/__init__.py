"""Event names to ``perf_event_attr``, in the syntax of perf-list(1) and perf-record(1).

::

    list      = item ("," item)*            item = event | "{" event ("," event)* "}" [":" modifiers]
    event     = head ["/" [term ("," term)*] "/"] [":"] [modifiers]
    head      = generic | cache | sysfs-event | "r" hex | type ":" config | system ":" tracepoint
              | "mem:" address ["/" length] [":" access] | pmu        (a PMU's name needs its terms, be they none)
    cache     = cache ["-" operation] ["-" result]
    term      = name ["=" value]            name = format | sysfs-event | generic | "config" | "period" | "name" | ...
    modifiers = letters of: u k h I G H p pp ppp P S D W e

Names of vendors' event tables, which perf carries with it, are not known here: sysfs and tracefs are all that is read.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from .._files import DEVICES, listed
from .._names import nearest
from .._native import ffi, lib
from ..bindings import perf_event_attr
from ._sysfs import NUMBER, SYSFS, Pmu, cpus, is_core, no_pmu, number, pmu_type, pmus, read_pmu
from ._tracefs import tracefs, tracepoint_id, tracepoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NoReturn, TypeVar

    from ..bindings import perf_event_attr_p

    _Any = TypeVar("_Any")

__all__ = [
    "Event",
    "Pmu",
    "attr",
    "cache_events",
    "cpus",
    "parse",
    "pmu_type",
    "pmus",
    "tracefs",
    "tracepoint_id",
    "tracepoints",
]

_SOFTWARE, _HARDWARE, _HW_CACHE = lib.PERF_TYPE_SOFTWARE, lib.PERF_TYPE_HARDWARE, lib.PERF_TYPE_HW_CACHE

HARDWARE = {
    lib.PERF_COUNT_HW_CPU_CYCLES: ("cycles", "cpu-cycles"),
    lib.PERF_COUNT_HW_INSTRUCTIONS: ("instructions",),
    lib.PERF_COUNT_HW_CACHE_REFERENCES: ("cache-references",),
    lib.PERF_COUNT_HW_CACHE_MISSES: ("cache-misses",),
    lib.PERF_COUNT_HW_BRANCH_INSTRUCTIONS: ("branches", "branch-instructions"),
    lib.PERF_COUNT_HW_BRANCH_MISSES: ("branch-misses",),
    lib.PERF_COUNT_HW_BUS_CYCLES: ("bus-cycles",),
    lib.PERF_COUNT_HW_STALLED_CYCLES_FRONTEND: ("stalled-cycles-frontend", "idle-cycles-frontend"),
    lib.PERF_COUNT_HW_STALLED_CYCLES_BACKEND: ("stalled-cycles-backend", "idle-cycles-backend"),
    lib.PERF_COUNT_HW_REF_CPU_CYCLES: ("ref-cycles",),
}
SOFTWARE = {
    lib.PERF_COUNT_SW_CPU_CLOCK: ("cpu-clock",),
    lib.PERF_COUNT_SW_TASK_CLOCK: ("task-clock",),
    lib.PERF_COUNT_SW_PAGE_FAULTS: ("page-faults", "faults"),
    lib.PERF_COUNT_SW_CONTEXT_SWITCHES: ("context-switches", "cs"),
    lib.PERF_COUNT_SW_CPU_MIGRATIONS: ("cpu-migrations", "migrations"),
    lib.PERF_COUNT_SW_PAGE_FAULTS_MIN: ("minor-faults",),
    lib.PERF_COUNT_SW_PAGE_FAULTS_MAJ: ("major-faults",),
    lib.PERF_COUNT_SW_ALIGNMENT_FAULTS: ("alignment-faults",),
    lib.PERF_COUNT_SW_EMULATION_FAULTS: ("emulation-faults",),
    lib.PERF_COUNT_SW_DUMMY: ("dummy",),
    lib.PERF_COUNT_SW_BPF_OUTPUT: ("bpf-output",),
    lib.PERF_COUNT_SW_CGROUP_SWITCHES: ("cgroup-switches",),
}
NAMES = {
    name: (kind, config)
    for kind, table in ((_HARDWARE, HARDWARE), (_SOFTWARE, SOFTWARE))
    for config, names in table.items()
    for name in names
}

# A cache event's config is cache | operation << 8 | result << 16, each the position of its row here.
CACHES = (
    ("L1-dcache", "l1-d", "l1d", "L1-data"),
    ("L1-icache", "l1-i", "l1i", "L1-instruction"),
    ("LLC", "L2"),
    ("dTLB", "d-tlb", "Data-TLB"),
    ("iTLB", "i-tlb", "Instruction-TLB"),
    ("branch", "branches", "bpu", "btb", "bpc"),
    ("node",),
)
OPERATIONS = (
    ("loads", "load", "read"),
    ("stores", "store", "write"),
    ("prefetches", "prefetch", "speculative-read", "speculative-load"),
)
RESULTS = (("refs", "Reference", "ops", "access"), ("misses", "miss"))

_NAME = r"[\w.@*?!\[\]-]+"
_TERM = rf"(?P<term>{_NAME})(?:=(?P<value>'[^']*'|\"[^\"]*\"|[^,'\"]*))?"
_EVENT = rf"""
    (?: mem:(?P<address>{NUMBER}) (?:/(?P<length>{NUMBER}) (?!=))? (?: :(?P<access>[rwx]{{1,3}}) (?![^:/]) )?
      | r(?P<raw>[0-9a-fA-F]{{1,16}}) (?![^:/])
      | (?P<type>\d+):(?P<config>{NUMBER})
      | (?P<name>{_NAME}) (?: :(?P<second>{_NAME}) )?
    )
    (?: /(?P<terms>(?: '[^']*' | "[^"]*" | [^/'"] )*)/ )?
    :?(?P<modifiers>\w*)
"""

# perf's terms with a number: the field that takes it, and what it brings along.
_NUMBERS: dict[str, tuple[str, dict[str, int]]] = {
    **{name: (name, {}) for name in ("config", "config1", "config2", "config3", "config4", "inherit")},
    "period": ("sample_period", {"freq": 0}),
    "freq": ("sample_freq", {"freq": 1}),
    "overwrite": ("write_backward", {}),
    "stack-size": ("sample_stack_user", {}),
    "max-stack": ("sample_max_stack", {"sample_type": lib.PERF_SAMPLE_CALLCHAIN}),
    "aux-output": ("aux_output", {}),
    "aux-sample-size": ("aux_sample_size", {"sample_type": lib.PERF_SAMPLE_AUX}),
}
# perf's terms with a word; without one it is "1".
_WORDS: dict[str, dict[str, dict[str, int]]] = {
    "time": {"0": {}, "1": {"sample_type": lib.PERF_SAMPLE_TIME}},
    "no-inherit": {"1": {"inherit": 0}},
    "no-overwrite": {"1": {"write_backward": 0}},
    "call-graph": {"no": {}, "fp": {"sample_type": lib.PERF_SAMPLE_CALLCHAIN}},
    "aux-action": {"pause": {"aux_pause": 1}, "resume": {"aux_resume": 1}, "start-paused": {"aux_start_paused": 1}},
}
# The words of branch_type that perf has and the enum has not.
_BRANCHES = {
    "u": "user",
    "k": "kernel",
    "any_ret": "any_return",
    "ind_jmp": "ind_jump",
    "stack": "call_stack",
    "save_type": "type_save",
    "priv": "priv_save",
    "counter": "counters",
}
# Terms of our own, for what the kernel takes as pointers: perf writes probes through tracefs.
_PROBES = {
    "uprobe": {"path": "uprobe_path", "offset": "probe_offset"},
    "kprobe": {"func": "kprobe_func", "offset": "probe_offset", "addr": "kprobe_addr"},
}
_PERFS_OWN = ("duration_time", "user_time", "system_time")
_MODIFIERS = {"I": {"exclude_idle": 1}, "D": {"pinned": 1}, "e": {"exclusive": 1}, "W": {}} | {
    "S": {"sample_type": lib.PERF_SAMPLE_READ, "read_format": lib.PERF_FORMAT_GROUP | lib.PERF_FORMAT_ID}
}
_LETTERS = {*"ukhGHpP", *_MODIFIERS}
_MILLISECONDS = (1e-6, "msec")  # what the clocks, which count nanoseconds, are shown in

_strings: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()  # what an attr's pointers point to lives as long


class Event(NamedTuple):
    """An event as it was read: what to open, and how to show its count; times *scale* it is in *unit*."""

    name: str
    attr: perf_event_attr_p
    pmu: Pmu | None
    scale: float
    unit: str
    modifiers: str


def attr(event: str, *, sysfs: str = SYSFS, tracefs: str | None = None, **overrides: Any) -> perf_event_attr_p:
    """Return a new ``struct perf_event_attr *`` for one event of perf's syntax, with *overrides* as its other fields.

    For the uprobe and kprobe PMUs, ``uprobe_path`` and ``kprobe_func`` may be strings (as in
    ``attr("uprobe/retprobe/", uprobe_path="/bin/sh", probe_offset=0x4710)``); they live as long as the attr.

    Raises:
        ValueError: the string is no event, or names several; a caret shows the place, and the nearest names are given.
        FileNotFoundError, PermissionError: a tracepoint, and tracefs is not mounted, or closed to this user.
    """
    return _Reader(event, sysfs, tracefs).one(overrides).attr


def parse(text: str, *, sysfs: str = SYSFS, tracefs: str | None = None, **overrides: Any) -> list[list[Event]]:
    """Return the events of a list: a list for each group, leader first; an event outside of braces is a group of one.

    An event that stands for several (``sched:*``, an uncore PMU without its number, ``cycles`` where there are several
    kinds of CPU) becomes several. *overrides* and errors are those of :func:`attr`.
    """
    return _Reader(text, sysfs, tracefs).groups(overrides)


def _generic(name: str) -> tuple[int, int] | None:
    """Return type and config of a generic name: hardware, software or cache."""
    if name in NAMES:
        return NAMES[name]
    cache, operation, result = (_any_of(rows) for rows in (CACHES, OPERATIONS, RESULTS))
    found = re.fullmatch(f"({cache})(?:-(?:({operation})(?:-({result}))?|({result})(?:-({operation}))?))?", name)
    if not found:
        return None
    config = (
        _row(CACHES, found[1]) | _row(OPERATIONS, found[2] or found[5]) << 8 | _row(RESULTS, found[3] or found[4]) << 16
    )
    return _HW_CACHE, config


def cache_events() -> list[str]:
    """Return the names of the cache events that perf lists: not every cache is written to, or prefetched into."""
    absent = {(1, 1), (4, 1), (4, 2), (5, 1), (5, 2)}
    both = [(c, o) for c in range(len(CACHES)) for o in range(len(OPERATIONS)) if (c, o) not in absent]
    return [f"{CACHES[c][0]}-{OPERATIONS[o][miss]}{'-misses' * miss}" for c, o in both for miss in (0, 1)]


def _any_of(rows: tuple[tuple[str, ...], ...]) -> str:
    return "|".join(sorted((re.escape(name) for row in rows for name in row), key=len, reverse=True))


def _row(rows: tuple[tuple[str, ...], ...], name: str | None) -> int:
    return next((index for index, row in enumerate(rows) if name in row), 0)


def _add(fields: dict[str, Any], more: dict[str, Any]) -> None:
    """Put *more* into an attr's fields: sets of flags grow, other fields change."""
    for name, value in more.items():
        flags = name in ("sample_type", "read_format", "branch_sample_type")
        fields[name] = fields.get(name, 0) | value if flags else value
    if "sample_period" in more:
        fields.pop("sample_freq", None)  # the two share their place
    if "sample_freq" in more:
        fields.pop("sample_period", None)


def _attr(fields: dict[str, Any]) -> perf_event_attr_p:
    strings = {
        name: ffi.new("char[]", os.fsencode(value)) for name, value in fields.items() if isinstance(value, (str, bytes))
    }
    new = perf_event_attr(**fields | {name: int(ffi.cast("uintptr_t", text)) for name, text in strings.items()})
    if strings:
        _strings[new] = list(strings.values())
    return new


class _Head(NamedTuple):
    """What an event's text names before its terms: an attr's first fields, and a PMU, of which it may be an event."""

    label: str
    fields: dict[str, Any]
    pmu: Pmu | None = None
    event: str = ""


class _Term(NamedTuple):
    name: str
    value: str | None
    at: int  # its place in the text


class _Reader:
    """A string being read. Every error shows the place in it."""

    def __init__(self, text: str, sysfs: str, tracefs: str | None) -> None:
        self.text, self.sysfs, self.tracefs = text, sysfs, tracefs
        self.devices = os.path.join(sysfs, DEVICES)

    def fail(self, position: int, message: str) -> NoReturn:
        raise ValueError(f"{message}\n  {self.text}\n  {' ' * position}^")

    def one(self, overrides: dict[str, Any]) -> Event:
        found = self.match(0)
        if found.end() < len(self.text):
            self.fail(found.end(), "the event ends here, and one is all that can be read")
        events = list(self.events(found, "", overrides))
        generic = _generic(found["name"] or "")
        if len(events) > 1 and generic:  # of a hybrid machine's kinds of CPU the kernel takes one
            events[0].attr.config &= 0xFFFFFFFF
        elif len(events) > 1:
            self.fail(0, f"{len(events)} events have this name: {', '.join(event.name for event in events[:3])} ...")
        return events[0]

    def groups(self, overrides: dict[str, Any]) -> list[list[Event]]:
        groups, position = [], -1
        while position < len(self.text):
            position += 1
            if self.text.startswith("{", position):
                members: list[re.Match[str]] = []
                while not members or self.text.startswith(",", position):
                    members.append(self.match(position + 1))
                    position = members[-1].end()
                if not self.text.startswith("}", position):
                    self.fail(position, "the group's closing brace is missing")
                shared = re.compile(r":?(\w*)").match(self.text, position + 1)
                assert shared
                position = shared.end()
                leader = list(self.events(members[0], shared[1], overrides))
                others = shared[1].translate({ord("D"): "", ord("e"): ""})  # a leader's place is its group's
                groups.append(leader + [event for one in members[1:] for event in self.events(one, others, overrides)])
            else:
                found = self.match(position)
                position = found.end()
                groups += [[event] for event in self.events(found, "", overrides)]
            if position < len(self.text) and self.text[position] != ",":
                self.fail(position, "the event ends here, and no comma follows")
        return groups

    def match(self, position: int) -> re.Match[str]:
        found = re.compile(_EVENT, re.VERBOSE).match(self.text, position)
        if not found:
            self.fail(position, "an event is missing here")
        if self.text.startswith("/", found.end()):
            self.fail(found.end(), "this '/' has no closing one")
        return found

    def events(self, found: re.Match[str], shared: str, overrides: dict[str, Any]) -> Iterator[Event]:
        """Give the events that one event's text stands for, *shared* being the modifiers of its group."""
        heads, place = self.heads(found)
        if place == "second" and (found["modifiers"] or found["terms"] is not None):
            self.fail(found.end("second"), "modifiers come last")
        modifiers = self.modifiers(found[place] or "", found.start(place))
        modifiers += "".join(letter for letter in self.modifiers(shared, found.end()) if letter not in modifiers)
        terms = self.terms(found)
        named = next((term.value for term in terms if term.name == "name"), None)
        for head in heads:
            fields = dict(head.fields)
            own = [_Term(head.event, None, found.start())] if head.event else []
            for term in own + terms:
                self.term(fields, head.pmu, term, {term.name for term in terms})
            _modify(fields, modifiers)
            if "P" in modifiers:  # as precise as the machine can be
                fields["precise_ip"] = max((pmu.max_precise for pmu in self.cores), default=0)
            colon = ":" if modifiers and not head.label.endswith("/") else ""
            label = found[0] if len(heads) == 1 and not shared else f"{head.label}{colon}{modifiers}"
            try:
                _attr(fields)  # without overrides, whose errors are not the text's
            except OverflowError as error:
                self.fail(found.start(), str(error))
            scale, unit = _unit(fields, head.pmu, [term.name for term in own + terms])
            yield Event(named or label, _attr(fields | overrides), head.pmu, scale, unit, modifiers)

    def heads(self, found: re.Match[str]) -> tuple[list[_Head], str]:
        """Return what the text before the terms stands for, and the part of *found* in which the modifiers are."""
        name, second = found["name"], found["second"]
        if name is None:
            return [_Head(found[0], _numeric(found))], "modifiers"
        if generic := _generic(name):
            return self.generic(name, *generic), "second" if second else "modifiers"
        if second is None and found["terms"] is not None:
            pmus = self.family(found.start(), name)
            return [_Head(f"{pmu.name}/{found['terms']}/", {"type": pmu.type}, pmu) for pmu in pmus], "modifiers"
        devices = [
            pmu for pmu in listed(self.devices) if os.path.isfile(os.path.join(self.devices, pmu, "events", name))
        ]
        if having := [pmu for pmu in (read_pmu(device, self.sysfs) for device in devices) if pmu]:
            heads = [_Head(f"{pmu.name}/{name}/", {"type": pmu.type}, pmu, name) for pmu in having]
            return heads, "second" if second else "modifiers"
        if second is None or not set(second) - _LETTERS:
            self.fail(found.start(), self.unknown(name))
        return self.tracepoints(found.start(), name, second), "modifiers"

    def generic(self, name: str, kind: int, config: int) -> list[_Head]:
        """Return one head, or one for each kind of CPU."""
        fields = {"type": kind, "config": config}
        cores = [] if kind == _SOFTWARE else self.cores
        if len(cores) < 2:
            return [_Head(name, fields)]
        return [_Head(f"{pmu.name}/{name}/", _on(pmu, fields), pmu) for pmu in cores]

    @cached_property
    def cores(self) -> list[Pmu]:
        return self.read(name for name in listed(self.devices) if is_core(os.path.join(self.devices, name)))

    def read(self, names: Iterable[str]) -> list[Pmu]:
        return [pmu for pmu in (read_pmu(name, self.sysfs) for name in names) if pmu]

    def family(self, at: int, name: str) -> list[Pmu]:
        """Return the PMU of this name, or all that it leaves the number of open: imc for uncore_imc_0 and its like."""
        one = read_pmu(name, self.sysfs)
        pattern = re.compile(rf"(?:uncore_)?{re.escape(name)}(?:_\d+)?")
        names = [pmu for pmu in listed(self.devices) if pattern.fullmatch(pmu) or fnmatchcase(pmu, name)]
        family = [one] if one else self.read(names)
        if not family:
            self.fail(at, no_pmu(name, self.sysfs))
        return family

    def tracepoints(self, at: int, system: str, name: str) -> list[_Head]:
        points = [f"{system}:{name}"]
        if any(wild in points[0] for wild in "*?["):
            points = [point for point in tracepoints(tracefs=self.tracefs) if fnmatchcase(point, points[0])]
        try:
            ids = [tracepoint_id(*point.split(":"), tracefs=self.tracefs) for point in points]
        except ValueError as error:
            self.fail(at, str(error))
        if not points:
            self.fail(at, f"no tracepoint matches {system}:{name}")
        kind = lib.PERF_TYPE_TRACEPOINT
        return [_Head(point, {"type": kind, "config": config}) for point, config in zip(points, ids, strict=True)]

    def unknown(self, name: str) -> str:
        if name in _PERFS_OWN:
            return f"{name} is no event of the kernel: perf measures it itself"
        ours = [event for pmu in pmus(sysfs=self.sysfs).values() for event in pmu.events]
        return f"no event {name!r}{nearest(name, [*NAMES, *cache_events(), *ours])}"

    def terms(self, found: re.Match[str]) -> list[_Term]:
        terms, at, end = [], found.start("terms"), found.end("terms")
        while at < end:
            term = re.compile(_TERM).match(self.text, at, end)
            if not term or (term.end() < end and self.text[term.end()] != ","):
                self.fail(term.end() if term else at, "terms are name or name=value, with commas between")
            terms.append(_Term(term["term"], term["value"] and term["value"].strip("'\""), at))
            at = term.end() + 1
        return terms

    def term(self, fields: dict[str, Any], pmu: Pmu | None, term: _Term, given: set[str]) -> None:
        """Put one term into *fields*; *given* are the names of those that the user wrote."""
        name, value, at = term
        probe = _PROBES.get(pmu.name if pmu else "", {})
        if name in ("name", "metric-id"):
            return
        if name in _NUMBERS:
            field, more = _NUMBERS[name]
            _add(fields, more | {field: self.number(term)})
        elif name in _WORDS:
            _add(fields, self.word(term, _WORDS[name], value or "1"))
        elif name == "branch_type":
            _add(fields, {"sample_type": lib.PERF_SAMPLE_BRANCH_STACK})
            for word in (value or "any").split(","):
                _add(fields, {"branch_sample_type": self.word(term, _branches(), word)})
            if not fields["branch_sample_type"] & ~lib.PERF_SAMPLE_BRANCH_PLM_ALL:
                _add(fields, {"branch_sample_type": lib.PERF_SAMPLE_BRANCH_ANY})
        elif name in probe:
            fields[probe[name]] = (value or "") if name in ("path", "func") else self.number(term)
        elif pmu and name in pmu.events and value is None:
            self.alias(fields, pmu, term, given)
        elif pmu and name in pmu.formats:
            self.place(fields, pmu.formats[name], term)
        elif value is None and re.fullmatch("r[0-9a-fA-F]{1,16}", name):
            fields["config"] = int(name[1:], 16)
        elif pmu and value is None and (generic := _generic(name)) and (pmu.is_core or generic[0] == pmu.type):
            named = {"type": generic[0], "config": generic[1]}
            fields |= _on(pmu, named) if pmu.is_core and len(self.cores) > 1 else named
        else:
            known = [*_NUMBERS, *_WORDS, *probe, *((*pmu.formats, *pmu.events) if pmu else ())]
            self.fail(at, f"{f'PMU {pmu.name}' if pmu else 'this event'} has no term {name!r}{nearest(name, known)}")

    def alias(self, fields: dict[str, Any], pmu: Pmu, term: _Term, given: set[str]) -> None:
        """Put an event of sysfs, which is terms again, into *fields*."""
        for part in pmu.events[term.name].split(","):
            name, _, value = part.strip().partition("=")
            if value != "?":
                self.term(fields, pmu._replace(events={}), _Term(name, value or None, term.at), given)
            elif name not in given:
                self.fail(term.at, f"{term.name} leaves {name} to you: {pmu.name}/{term.name},{name}=.../")

    def number(self, term: _Term) -> int:
        value = 1 if term.value is None else number(term.value)
        if value is None:
            self.fail(term.at, f"{term.name} takes a number, not {term.value!r}")
        return value

    def word(self, term: _Term, words: dict[str, _Any], word: str) -> _Any:
        if word not in words:
            self.fail(term.at, f"{term.name} takes {' or '.join(sorted(words))}, not {word!r}")
        return words[word]

    def place(self, fields: dict[str, Any], layout: str, term: _Term) -> None:
        """Spread a number over the bits that a format file names, lowest first: ``config:0-7,32-35``."""
        value = self.number(term)
        field, _, ranges = layout.partition(":")
        bits = cpus(ranges)  # the same notation
        if not re.fullmatch("config[1-4]?", field) or not bits or max(bits) > 63:
            self.fail(term.at, f"sysfs describes {term.name} as {layout!r}, which is no format")
        if value >> len(bits):
            self.fail(term.at, f"{term.name} has {len(bits)} bits: it goes up to {(1 << len(bits)) - 1:#x}")
        for position, bit in enumerate(bits):
            fields[field] = fields.get(field, 0) | (value >> position & 1) << bit

    def modifiers(self, letters: str, at: int) -> str:
        for position, letter in enumerate(letters):
            if letter not in _LETTERS:
                self.fail(at + position, f"no modifier {letter!r}: they are u k h I G H p pp ppp P S D W e")
            if letters.count(letter) > (3 if letter == "p" else 1):
                self.fail(at + position, f"too many {letter!r}")
        return letters


def _branches() -> dict[str, int]:
    """Return the words of branch_type, several of which stand in quotes with commas between them."""
    enum = ffi.typeof("enum perf_branch_sample_type").relements
    words = {name.removeprefix("PERF_SAMPLE_BRANCH_").lower(): value for name, value in enum.items()}
    bits = {word: value for word, value in words.items() if not word.endswith(("_shift", "max", "plm_all"))}
    return bits | {word: bits[name] for word, name in _BRANCHES.items()}


def _numeric(found: re.Match[str]) -> dict[str, Any]:
    if found["raw"]:
        return {"type": lib.PERF_TYPE_RAW, "config": int(found["raw"], 16)}
    if found["type"]:
        return {"type": int(found["type"]), "config": number(found["config"])}
    access = found["access"] or "rw"
    # x86 takes an execute breakpoint only with the length of a long.
    length = number(found["length"] or "") or (ffi.sizeof("long") if access == "x" else lib.HW_BREAKPOINT_LEN_4)
    kinds = {"r": lib.HW_BREAKPOINT_R, "w": lib.HW_BREAKPOINT_W, "x": lib.HW_BREAKPOINT_X}
    kind = sum(kinds[letter] for letter in set(access))
    return {"type": lib.PERF_TYPE_BREAKPOINT, "bp_type": kind, "bp_addr": number(found["address"]), "bp_len": length}


def _on(pmu: Pmu, fields: dict[str, Any]) -> dict[str, Any]:
    """Say which kind of CPU a generic event is for."""
    return fields | {"config": fields["config"] | pmu.type << lib.PERF_PMU_TYPE_SHIFT}


def _modify(fields: dict[str, Any], letters: str) -> None:
    if set(letters) & set("ukh"):
        levels = {"exclude_user": "u", "exclude_kernel": "k", "exclude_hv": "h"}
        _add(fields, {field: 1 for field, letter in levels.items() if letter not in letters})
    if ("G" in letters) != ("H" in letters):
        fields["exclude_host" if "G" in letters else "exclude_guest"] = 1
    if "p" in letters:
        fields["precise_ip"] = letters.count("p")
    for letter in letters:
        _add(fields, _MODIFIERS.get(letter, {}))


def _unit(fields: dict[str, Any], pmu: Pmu | None, terms: list[str]) -> tuple[float, str]:
    clocks = (lib.PERF_COUNT_SW_CPU_CLOCK, lib.PERF_COUNT_SW_TASK_CLOCK)
    if fields["type"] == _SOFTWARE and fields.get("config") in clocks:
        return _MILLISECONDS
    event = next((term for term in terms if pmu and term in pmu.events), "")
    return (pmu.scales.get(event, 1.0), pmu.units.get(event, "")) if pmu else (1.0, "")

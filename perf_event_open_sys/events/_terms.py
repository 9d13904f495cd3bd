"""Set the fields of an attr that an event's terms and modifiers ask for."""

from __future__ import annotations

from .._files import parse_cpu_list, parse_number
from .._names import nearest
from .._native import ffi, lib
from ._attr import c_string
from ._names import generic
from ._parser import Term, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeVar

    from ._sysfs import Pmu

    _Any = TypeVar("_Any")

# perf's terms that take a number -> the field that is set to the number, and further fields with their values.
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
# perf's terms that take one of a few words -> the fields that each word sets. A term without a value has the word "1".
_CHOICES: dict[str, dict[str, dict[str, int]]] = {
    "time": {"0": {}, "1": {"sample_type": lib.PERF_SAMPLE_TIME}},
    "no-inherit": {"1": {"inherit": 0}},
    "no-overwrite": {"1": {"write_backward": 0}},
    "call-graph": {"no": {}, "fp": {"sample_type": lib.PERF_SAMPLE_CALLCHAIN}},
    "aux-action": {"pause": {"aux_pause": 1}, "resume": {"aux_resume": 1}, "start-paused": {"aux_start_paused": 1}},
}
# perf's words for branch_type -> the word in the kernel's enum, where that is another.
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
# Terms for the fields of the kprobe and uprobe PMUs. perf has no such terms: it makes its probes through tracefs.
_PROBES = {
    "uprobe": {"path": "uprobe_path", "offset": "probe_offset"},
    "kprobe": {"func": "kprobe_func", "offset": "probe_offset", "addr": "kprobe_addr"},
}
_MODIFIERS = {"I": {"exclude_idle": 1}, "D": {"pinned": 1}, "e": {"exclusive": 1}, "W": {}} | {
    "S": {"sample_type": lib.PERF_SAMPLE_READ, "read_format": lib.PERF_FORMAT_GROUP | lib.PERF_FORMAT_ID}
}
LETTERS = {*"ukhGHpP", *_MODIFIERS}


class Fields:
    """The fields of one event's attr: ``values``, which the event's terms and modifiers change one after the other."""

    def __init__(self, text: str, values: dict[str, Any], pmu: Pmu | None, *, hybrid: bool) -> None:
        """Begin with *values*; *text* is the string that errors show. If *hybrid*, *pmu* is one of several core PMUs."""
        self.text, self.values, self.pmu, self.hybrid = text, dict(values), pmu, hybrid
        self.given: set[str] = set()  # the names of the terms in the string

    def fail(self, at: int, message: str) -> NoReturn:
        refuse(self.text, at, message)

    def set(self, more: dict[str, Any]) -> None:
        """Set fields. To a field of flags that several terms set, the bits are added; other fields are replaced."""
        for name, value in more.items():
            # Taken out first, so that the new value comes last: of sample_period and sample_freq, a union, the last wins.
            before = self.values.pop(name, 0)
            self.values[name] = before | value if name in ("sample_type", "branch_sample_type") else value

    def set_terms(self, terms: list[Term]) -> None:
        self.given = {term.name for term in terms}
        for term in terms:
            self.set_term(term)

    def set_term(self, term: Term, *, in_alias: bool = False) -> None:
        """Set the fields that one term asks for.

        A term may be the name of an event in sysfs, which itself is a list of terms. Within that list (*in_alias*)
        names of events are not accepted: two events that name each other would never end.
        """
        name, value, at = term
        pmu = self.pmu
        probe = _PROBES.get(pmu.name if pmu else "", {})
        if name in ("name", "metric-id"):
            return
        if name in _NUMBERS:
            field, more = _NUMBERS[name]
            self.set(more | {field: self.number(term)})
        elif name in _CHOICES:
            self.set(self.choice(term, _CHOICES[name], value or "1"))
        elif name == "branch_type":
            self.set_branch_type(term)
        elif name in probe:
            self.values[probe[name]] = self.string(term) if name in ("path", "func") else self.number(term)
        elif pmu and name in pmu.events and value is None and not in_alias:
            self.set_alias(pmu, term)
        elif pmu and name in pmu.formats:
            self.set_format(pmu.formats[name], term)
        elif value is None and name[:1] == "r" and (raw := parse_number(f"0x{name[1:]}")) is not None:
            self.values["config"] = raw
        elif pmu and value is None and (event := generic(name)) and (pmu.is_core or event[0] == pmu.type):
            fields = {"type": event[0], "config": event[1]}
            self.values |= on_core(pmu, fields) if self.hybrid else fields
        else:
            known = [*_NUMBERS, *_CHOICES, *probe, *((*pmu.formats, *pmu.events) if pmu else ())]
            self.fail(at, f"{f'PMU {pmu.name}' if pmu else 'this event'} has no term {name!r}{nearest(name, known)}")

    def set_alias(self, pmu: Pmu, event: Term) -> None:
        """Set the terms that sysfs has for an event, as in ``event=0x3c,umask=?``; the user gives the value of a ``?``."""
        for part in pmu.events[event.name].split(","):
            name, _, value = part.strip().partition("=")
            if value != "?":
                self.set_term(Term(name, value or None, event.at), in_alias=True)
            elif name not in self.given:
                self.fail(event.at, f"{event.name} leaves {name} to you: {pmu.name}/{event.name},{name}=.../")

    def number(self, term: Term) -> int:
        value = 1 if term.value is None else parse_number(term.value)
        if value is None:
            self.fail(term.at, f"{term.name} takes a number of up to 64 bits, not {term.value!r}")
        return value

    def string(self, term: Term) -> bytes:
        try:
            return c_string(term.value or "")
        except ValueError as error:
            self.fail(term.at, f"{term.name}: {error}")

    def choice(self, term: Term, choices: dict[str, _Any], word: str) -> _Any:
        if word not in choices:
            self.fail(term.at, f"{term.name} takes {' or '.join(sorted(choices))}, not {word!r}")
        return choices[word]

    def set_branch_type(self, term: Term) -> None:
        self.set({"sample_type": lib.PERF_SAMPLE_BRANCH_STACK})
        words = _branches()
        for word in (term.value or "any").split(","):
            self.set({"branch_sample_type": self.choice(term, words, word)})
        if not self.values["branch_sample_type"] & ~lib.PERF_SAMPLE_BRANCH_PLM_ALL:
            self.set({"branch_sample_type": lib.PERF_SAMPLE_BRANCH_ANY})

    def set_format(self, layout: str, term: Term) -> None:
        """Put a term's number into the bits that a PMU's format names, as in ``config:0-7,32-35``, lowest bits first."""
        value = self.number(term)
        field, _, ranges = layout.partition(":")
        try:
            bits = parse_cpu_list(ranges)  # bits and CPUs have the same notation
        except ValueError:
            bits = ()
        if field not in ("config", "config1", "config2", "config3", "config4") or not bits or bits[-1] > 63:
            self.fail(term.at, f"sysfs describes {term.name} as {layout[:80]!r}, which is no format")
        if value >> len(bits):
            self.fail(term.at, f"{term.name} has {len(bits)} bits: it goes up to {(1 << len(bits)) - 1:#x}")
        for position, bit in enumerate(bits):
            self.values[field] = self.values.get(field, 0) | (value >> position & 1) << bit

    def set_modifiers(self, letters: str) -> None:
        """Set the fields that modifiers ask for, except for ``P``: the caller, who knows the core PMUs, sets its field."""
        if set(letters) & set("ukh"):
            levels = {"exclude_user": "u", "exclude_kernel": "k", "exclude_hv": "h"}
            self.set({field: 1 for field, letter in levels.items() if letter not in letters})
        if ("G" in letters) != ("H" in letters):
            self.set({"exclude_host" if "G" in letters else "exclude_guest": 1})
        if "p" in letters:
            self.set({"precise_ip": letters.count("p")})
        for letter in letters:
            self.set(_MODIFIERS.get(letter, {}))


def on_core(pmu: Pmu, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a generic event for one kind of CPU of a hybrid machine: its PMU's type is in config."""
    return fields | {"config": fields["config"] | pmu.type << lib.PERF_PMU_TYPE_SHIFT}


def _branches() -> dict[str, int]:
    """Return the words that branch_type takes, each with its bits of branch_sample_type."""
    enum = ffi.typeof("enum perf_branch_sample_type").relements
    words = {name.removeprefix("PERF_SAMPLE_BRANCH_").lower(): value for name, value in enum.items()}
    del words["max"]
    return words | {word: words[name] for word, name in _BRANCHES.items()}

"""What sysfs says of this machine's PMUs.

What is missing, unreadable or nonsense there is left out; *sysfs* is the root of the file system.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from .._files import DEVICES, contents, listed
from .._names import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSFS = "/sys"

_SCALE = r"[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?"
NUMBER = r"(?:0[xX][0-9a-fA-F]+|\d+)"
_ATTRIBUTES = (".scale", ".unit", ".snapshot", ".per-pkg")  # files beside an event's own
_CPUS = r"\d{1,5}(-\d{1,5})?"


class Pmu(NamedTuple):
    """A PMU as sysfs describes it; *formats* and *events* are the kernel's own text, by name."""

    name: str
    type: int
    formats: dict[str, str]  # {"event": "config:0-7,32-35"}
    events: dict[str, str]  # {"cache-misses": "event=0x2e,umask=0x41"}
    scales: dict[str, float]  # of the events that have one: a count times this is in
    units: dict[str, str]  # this unit
    cpumask: tuple[int, ...]  # the CPUs to open it on, empty for any
    is_core: bool  # counts PERF_TYPE_HARDWARE events; a hybrid machine has several such
    max_precise: int  # the highest attr.precise_ip


def pmus(*, sysfs: str = SYSFS) -> dict[str, Pmu]:
    """Return the machine's PMUs by name; one that sysfs does not describe well enough to open is left out."""
    found = (read_pmu(name, sysfs) for name in listed(os.path.join(sysfs, DEVICES)))
    return {pmu.name: pmu for pmu in found if pmu}


def pmu_type(name: str, *, sysfs: str = SYSFS) -> int:
    """Return the ``attr.type`` of a PMU.

    Raises:
        ValueError: no such PMU; the nearest names are given.
    """
    pmu = read_pmu(name, sysfs)
    if pmu is None:
        raise ValueError(no_pmu(name, sysfs))
    return pmu.type


def cpus(text: str) -> tuple[int, ...]:
    """Return the numbers of a list of CPUs as the kernel writes it, as in ``"0-3,8"``; of nonsense, none."""
    if not re.fullmatch(f"{_CPUS}(,{_CPUS})*", text):
        return ()
    ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return tuple(cpu for pair in ends for cpu in range(pair[0], pair[-1] + 1))


def read_pmu(name: str, sysfs: str) -> Pmu | None:
    root = os.path.join(sysfs, DEVICES, name)
    kind = contents(os.path.join(root, "type"))
    if "/" in name or not kind.isdecimal() or int(kind) >= 1 << 32:
        return None
    formats, events = (_files(os.path.join(root, part)) for part in ("format", "events"))
    return Pmu(
        name,
        int(kind),
        formats,
        {file: text for file, text in events.items() if not file.endswith(_ATTRIBUTES)},
        {event: float(text) for event, text in _attributes(events, ".scale") if re.fullmatch(_SCALE, text)},
        dict(_attributes(events, ".unit")),
        cpus(contents(os.path.join(root, "cpumask")) or contents(os.path.join(root, "cpus"))),
        is_core(root),
        number(contents(os.path.join(root, "caps", "max_precise"))) or 0,
    )


def is_core(root: str) -> bool:
    """Tell whether a PMU's directory is that of a CPU's own: x86's only one has a name, others a file."""
    return os.path.basename(root) == "cpu" or os.path.exists(os.path.join(root, "cpus"))


def _files(directory: str) -> dict[str, str]:
    files = {file: contents(os.path.join(directory, file)) for file in listed(directory)}
    return {file: text for file, text in files.items() if text}


def _attributes(files: dict[str, str], suffix: str) -> Iterator[tuple[str, str]]:
    return ((file.removesuffix(suffix), text) for file, text in files.items() if file.endswith(suffix))


def no_pmu(name: str, sysfs: str) -> str:
    known = listed(os.path.join(sysfs, DEVICES))
    return f"this machine has no PMU {name!r}{nearest(name, known)} (it has {', '.join(known) or 'none'})"


def number(text: str) -> int | None:
    """Read a number as perf does: no octal."""
    return int(text, 0 if text[:2] in ("0x", "0X") else 10) if re.fullmatch(NUMBER, text) else None

"""Read the PMUs of this machine from sysfs. Files that are missing, unreadable or nonsense are ignored.

*sysfs* is the directory where sysfs is mounted, or that of a copy of another machine's.
"""

from __future__ import annotations

import os

from .._files import DEVICES, contents, is_file_name, listed, parse_cpu_list, parse_number
from .._namedtuple import NamedTuple
from .._names import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SYSFS = "/sys"

_ATTRIBUTES = (".scale", ".unit", ".snapshot", ".per-pkg")  # files that describe the event of the same name


class Pmu(NamedTuple):
    """A PMU as sysfs describes it; *formats* and *events* are the kernel's own text, by name."""

    name: str
    type: int
    formats: dict[str, str]  #: as in ``{"event": "config:0-7,32-35"}``
    events: dict[str, str]  #: as in ``{"cache-misses": "event=0x2e,umask=0x41"}``
    scales: dict[str, float]  #: event -> factor from its count to its unit; not every event has one
    units: dict[str, str]  #: event -> unit of the scaled count
    cpumask: tuple[int, ...]  #: the CPUs to open it on, empty for any
    is_core: bool  #: counts PERF_TYPE_HARDWARE events; a hybrid machine has several such PMUs
    max_precise: int  #: the highest attr.precise_ip


def pmus(*, sysfs: str = SYSFS) -> dict[str, Pmu]:
    """Return the machine's PMUs by name; one that sysfs does not describe well enough to open is left out.

    Source: Documentation/ABI/testing/sysfs-bus-event_source-devices, Linux 6.18.
    """
    found = (read_pmu(name, sysfs) for name in listed(os.path.join(sysfs, DEVICES)))
    return {pmu.name: pmu for pmu in found if pmu}


def pmu_type(name: str, *, sysfs: str = SYSFS) -> int:
    """Return the ``attr.type`` of a PMU, which changes from boot to boot.

    Raises:
        ValueError: no such PMU; the nearest names are given.
    """
    pmu = read_pmu(name, sysfs)
    if pmu is None:
        raise ValueError(no_pmu(name, sysfs))
    return pmu.type


def read_pmu(name: str, sysfs: str) -> Pmu | None:
    """Return a PMU; None where sysfs has none of this name, or no usable type for it."""
    if not is_file_name(name):
        return None
    root = os.path.join(sysfs, DEVICES, name)
    kind = parse_number(contents(os.path.join(root, "type")))
    if kind is None or kind >= 1 << 32:
        return None
    formats, events = (_files(os.path.join(root, part)) for part in ("format", "events"))
    return Pmu(
        name,
        kind,
        formats,
        {file: text for file, text in events.items() if not file.endswith(_ATTRIBUTES)},
        dict(_scales(events)),
        dict(_attributes(events, ".unit")),
        _cpumask(root),
        is_core(root),
        parse_number(contents(os.path.join(root, "caps", "max_precise"))) or 0,
    )


def is_core(root: str) -> bool:
    """Tell whether a PMU's directory is that of a core PMU: it is named ``cpu``, or has a file ``cpus``."""
    return os.path.basename(root) == "cpu" or os.path.exists(os.path.join(root, "cpus"))


def no_pmu(name: str, sysfs: str) -> str:
    """Return the message for a PMU that this machine does not have."""
    known = listed(os.path.join(sysfs, DEVICES))
    return f"this machine has no PMU {name!r}{nearest(name, known)} (it has {', '.join(known) or 'none'})"


def _files(directory: str) -> dict[str, str]:
    """Return the text of each file in a directory, by name."""
    files = {file: contents(os.path.join(directory, file)) for file in listed(directory)}
    return {file: text for file, text in files.items() if text}


def _attributes(files: dict[str, str], suffix: str) -> Iterator[tuple[str, str]]:
    return ((file.removesuffix(suffix), text) for file, text in files.items() if file.endswith(suffix))


def _scales(files: dict[str, str]) -> Iterator[tuple[str, float]]:
    for event, text in _attributes(files, ".scale"):
        try:
            scale = float(text) if text.isascii() and "_" not in text else 0.0
        except ValueError:
            continue
        if 0 < abs(scale) < float("inf"):  # float() also takes nan and inf
            yield event, scale


def _cpumask(root: str) -> tuple[int, ...]:
    try:
        return parse_cpu_list(contents(os.path.join(root, "cpumask")) or contents(os.path.join(root, "cpus")))
    except ValueError:
        return ()

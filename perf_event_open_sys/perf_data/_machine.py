"""What the header of a perf.data file says of this machine: the values of its features."""

from __future__ import annotations

import os
import sys
import time

from .. import events as _events
from .._files import contents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..bindings import perf_event_attr_p


def features(attrs: Iterable[perf_event_attr_p]) -> dict[str | int, Any]:
    """Return the features that are known before anything is recorded, by name, without those that cannot be found out."""
    uname = os.uname()
    found: dict[str | int, Any] = {
        "hostname": uname.nodename,
        "osrelease": uname.release,
        "version": "perf_event_open_sys",
        "arch": uname.machine,
        "nrcpus": (os.sysconf("SC_NPROCESSORS_CONF"), os.sysconf("SC_NPROCESSORS_ONLN")),
        "cpudesc": _cpu_description(),
        "total_mem": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024,
        "cmdline": sys.orig_argv,
        "pmu_mappings": {pmu.name: pmu.type for pmu in _events.pmus().values()},
    }
    clocks = [attr.clockid for attr in attrs if attr.use_clockid]
    if clocks:
        found["clockid"] = round(time.clock_getres(clocks[0]) * 1e9)
    return {name: value for name, value in found.items() if value}


def _cpu_description() -> str:
    """Return the name of the first CPU's model, which has another name in /proc/cpuinfo on each architecture."""
    fields: dict[str, str] = {}
    for line in contents("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return next(
        (fields[name] for name in ("model name", "Processor", "cpu", "vendor_id", "uarch") if name in fields), ""
    )

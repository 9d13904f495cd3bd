"""``list``: the events of this machine, in the syntax of ``stat -e``."""

from __future__ import annotations

import errno
import os
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from .. import events
from .._native import ffi, lib

if TYPE_CHECKING:
    from argparse import Namespace

# What no privilege changes.
ABSENT = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV)


def list_events(options: Namespace) -> int:
    """Print the events that match a glob, in the syntax of ``stat -e``."""
    glob = options.glob if any(wild in options.glob for wild in "*?[") else f"*{options.glob}*"
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    found = False
    for heading, offered in _offers():
        matching = [(name, note) for name, note in offered if fnmatchcase(name, glob)]
        if matching:
            print(f"{chr(10) * found}{bold}{heading}{plain}")
            found = True
        for name, note in matching:
            print(f"  {name:48} {note}".rstrip())
    if not found:
        print(f"list: no event of this machine matches {options.glob!r}", file=sys.stderr)
    return 0 if found else 1


def _offers() -> list[tuple[str, list[tuple[str, str]]]]:
    generic = {"Software events": events.SOFTWARE, "Hardware events": events.HARDWARE}
    offers = [
        (
            heading,
            [(row[0], f"also {', '.join(row[1:])}" if row[1:] else "") for row in table.values() if _counts(row[0])],
        )
        for heading, table in generic.items()
    ]
    offers.append(("Cache events", [(name, "") for name in events.cache_events() if _counts(name)]))
    for pmu in events.pmus().values():
        named = [(_with_parameters(pmu, event), pmu.units.get(event, "")) for event in pmu.events]
        offers.append((f"Events of PMU {pmu.name}", named))
    try:
        offers.append(("Tracepoints", [(name, "") for name in events.tracepoints()]))
    except OSError as error:
        print(f"list: no tracepoints: {error}", file=sys.stderr)
    return offers


def _counts(name: str) -> bool:
    fd = lib.perf_event_open(
        events.attr(name, disabled=1, exclude_kernel=1, exclude_hv=1), 0, -1, -1, lib.PERF_FLAG_FD_CLOEXEC
    )
    if fd >= 0:
        os.close(fd)
    return fd >= 0 or ffi.errno not in ABSENT


def _with_parameters(pmu: events.Pmu, event: str) -> str:
    """Write an event whose parameters are the user's with a value for each."""
    terms = (term.partition("=") for term in pmu.events[event].split(","))
    return f"{pmu.name}/{','.join([event, *(f'{name}=0' for name, _, value in terms if value == '?')])}/"

"""``list``: the events of this machine, in the syntax of ``stat -e``."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase

from .. import events
from .._native import ffi, lib
from .counter import ABSENT
from .options import Subcommand
from .output import bold

COMMAND = Subcommand(
    "list", "List the events of this machine whose names match a glob or contain a word", rest="[GLOB]"
)


def run(arguments: list[str]) -> int:
    """Print the events that match a glob; return the exit status, 1 if there are none."""
    options = COMMAND.parse(arguments)
    if options is None:
        return 0
    if len(options.rest) > 1:
        raise COMMAND.error("list takes one GLOB: put it in quotes")
    wanted = options.rest[0] if options.rest else "*"
    glob = wanted if any(wild in wanted for wild in "*?[") else f"*{wanted}*"
    found = False
    for heading, offered in _offers():
        matching = [(name, note) for name, note in offered if fnmatchcase(name, glob)]
        if matching:
            print(f"{chr(10) * found}{bold(heading, sys.stdout)}")
            found = True
        for name, note in matching:
            print(f"  {name:48} {note}".rstrip())
    if not found:
        print(f"list: no event of this machine matches {wanted!r}", file=sys.stderr)
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
        print(f"list: no tracepoints: {error.strerror or error}", file=sys.stderr)
    return offers


def _counts(name: str) -> bool:
    attr = events.attr(name, disabled=1, exclude_kernel=1, exclude_hv=1)
    fd = lib.perf_event_open(attr, 0, -1, -1, lib.PERF_FLAG_FD_CLOEXEC)
    if fd >= 0:
        os.close(fd)
    return fd >= 0 or ffi.errno not in ABSENT


def _with_parameters(pmu: events.Pmu, event: str) -> str:
    """Write an event whose parameters are the user's with a value for each."""
    terms = (term.partition("=") for term in pmu.events[event].split(","))
    return f"{pmu.name}/{','.join([event, *(f'{name}=0' for name, _, value in terms if value == '?')])}/"

"""``check``: tell what this machine lets this user count, by opening events of each kind."""

from __future__ import annotations

import mmap
import os
import re

from .. import HEADERS_VERSION, counters, events, perf_event_attr, perf_event_open
from .._files import contents
from .._native import ffi, lib
from .options import Subcommand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Subcommand("check", "Say what this machine lets this user count")
SYSCTL = "/proc/sys/kernel/"
PAGES = 100
LEVELS = {
    -1: "everybody may count everything",
    0: "everybody may count whole CPUs, but get no raw tracepoint samples",
    1: "an ordinary user may count processes of their own, in the kernel too",
    2: "an ordinary user may count processes of their own, in user space",
}
# Linux treats a level above 2 as 2. Debian, Ubuntu and Android have a patch by which it means this:
PATCHED = "an ordinary user may open no event at all"
OWN, OWN_KERNEL, WHOLE_CPUS = "own processes, in user space", "own processes, in the kernel too", "whole CPUs"


def run(arguments: list[str]) -> int:
    """Print what this machine lets this user count; return the exit status."""
    if COMMAND.parse(arguments) is None:
        return 0
    software = {"type": lib.PERF_TYPE_SOFTWARE, "config": lib.PERF_COUNT_SW_PAGE_FAULTS}
    privileges = {
        OWN: _refusal(perf_event_attr(**software, exclude_kernel=1, exclude_hv=1)),
        OWN_KERNEL: _refusal(perf_event_attr(**software)),
        WHOLE_CPUS: _refusal(perf_event_attr(**software), -1, 0),
    }
    generic = {name: _refusal(_unprivileged(name)) for name in _generic_names()}
    for name, text in _facts(privileges):
        print(f"{name:22}{text}")
    print("\nMay be counted")
    _print_reasons(privileges)
    print("\nGeneric events")
    _print_reasons(generic)
    print(f"\n{'Live count':22}{_live_count()}")
    print(f"{'Verdict':22}{_verdict(privileges, generic)}")
    return 0


def _facts(privileges: dict[str, str]) -> list[tuple[str, str]]:
    probe: Any = perf_event_attr(size=1)  # refused, and the kernel writes its own size back
    lib.perf_event_open(probe, 0, -1, -1, 0)
    size = f"{probe.size} bytes in the kernel" if probe.size > 1 else "of a size that the kernel does not tell"
    level = contents(f"{SYSCTL}perf_event_paranoid")
    pmus = ", ".join(f"{pmu.name} (type {pmu.type})" for pmu in events.pmus().values())
    try:
        tracing = f"{events.tracefs()}, {len(events.tracepoints())} tracepoints"
    except OSError as error:
        tracing = error.strerror or str(error)
    mlock = contents(f"{SYSCTL}perf_event_mlock_kb")
    return [
        ("Kernel", f"{os.uname().release}, {os.uname().machine}, {os.cpu_count()} CPUs"),
        ("perf_event_attr", f"{size}, {ffi.sizeof('struct perf_event_attr')} here (Linux {HEADERS_VERSION})"),
        ("perf_event_paranoid", _meaning(level, privileges)),
        ("This user", "root" if os.geteuid() == 0 else f"uid {os.geteuid()}, no root"),
        ("perf_event_mlock_kb", f"{mlock} KiB of rings without CAP_IPC_LOCK" if mlock else "not to be read"),
        ("PMUs", pmus or "none in sysfs"),
        ("tracefs", tracing),
    ]


def _meaning(level: str, privileges: dict[str, str]) -> str:
    """Say what a level of perf_event_paranoid means; a level above 2 is judged by what this user could open."""
    if not level.lstrip("-").isdecimal():
        return "not to be read: this kernel has no perf events, or /proc is not mounted"
    number = max(-1, int(level))
    if number <= 2:
        return f"{level}: {LEVELS[number]}"
    if not privileges[WHOLE_CPUS]:  # a privileged user may open all: that does not show what the level means
        return f"{level}: {PATCHED}, if the kernel has its distribution's patch (Debian, Ubuntu, Android); else as 2"
    return f"{level}: {PATCHED}" if privileges[OWN] else f"{level}: on this kernel as 2, {LEVELS[2]}"


def _generic_names() -> list[str]:
    return [row[0] for row in (*events.SOFTWARE.values(), *events.HARDWARE.values())] + events.cache_events()


def _unprivileged(name: str) -> Any:
    return events.attr(name, disabled=1, exclude_kernel=1, exclude_hv=1)


def _refusal(attr: Any, pid: int = 0, cpu: int = -1) -> str:
    """Return the reason why the event cannot be opened; "" if it can."""
    try:
        os.close(perf_event_open(attr, pid, cpu))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _print_reasons(reasons: dict[str, str]) -> None:
    """Print each reason once, with all names that it applies to; reasons that differ only in a number are one."""
    alike: dict[str, dict[str, str]] = {}
    for name, reason in reasons.items():
        alike.setdefault(re.sub(r"0x[0-9a-f]+", "…", reason), {})[name] = reason
    for common, members in alike.items():
        names = list(members)
        shown = ", ".join(names) if len(names) < 13 else f"{', '.join(names[:10])} and {len(names) - 10} more"
        reason = common if len(set(members.values())) > 1 else members[names[0]]
        print(f"  {'no ' if reason else 'yes'}  {shown}" + f"\n       {reason}" * bool(reason))


def _live_count() -> str:
    try:
        fd = perf_event_open(events.attr("page-faults:u"))
    except OSError as error:
        return f"none: {error.strerror}"
    try:
        with mmap.mmap(-1, PAGES * mmap.PAGESIZE) as area:
            for page in range(PAGES):
                area[page * mmap.PAGESIZE] = 1
        counts: Any = counters.read(fd)[0]
        return f"{counts.value} page faults while {PAGES} pages were touched"
    finally:
        os.close(fd)


def _verdict(privileges: dict[str, str], generic: dict[str, str]) -> str:
    if all(generic.values()):
        return f"nothing can be counted here: {privileges[OWN]}"
    virtual = all(generic[row[0]] for row in events.HARDWARE.values())
    what = "software events (no hardware ones: there is no PMU, as in most virtual machines)" if virtual else "events"
    whom = "your own processes" if privileges[WHOLE_CPUS] else "everybody"
    return f"this machine counts {what} of {whom}{', in user space only' if privileges[OWN_KERNEL] else ''}"

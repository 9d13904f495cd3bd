"""``check``: what this machine counts for this user, found out by opening it."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from .. import HEADERS_VERSION, counters, events, perf_event_attr, perf_event_open
from .._files import contents
from .._native import ffi, lib

if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

SYSCTL = "/proc/sys/kernel/"
PAGES = 100
LEVELS = {
    -1: "everybody may count everything",
    0: "everybody may count whole CPUs, but get no raw tracepoint samples",
    1: "an ordinary user may count processes of their own, in the kernel too",
    2: "an ordinary user may count processes of their own, in user space",
}


def check(_: Namespace) -> int:
    """Print what this machine lets this user count."""
    for name, text in _facts():
        print(f"{name:22}{text}")
    print("\nMay be counted")
    software = {"type": lib.PERF_TYPE_SOFTWARE, "config": lib.PERF_COUNT_SW_PAGE_FAULTS}
    kinds: dict[str, tuple[int, int, dict[str, int]]] = {
        "own processes, in user space": (0, -1, {"exclude_kernel": 1}),
        "own processes, in the kernel too": (0, -1, {}),
        "whole CPUs": (-1, 0, {}),
    }
    reasons = {
        name: _refusal(perf_event_attr(**software, **more), pid, cpu) for name, (pid, cpu, more) in kinds.items()
    }
    _print_reasons(reasons)
    print("\nGeneric events")
    generic = {name: _refusal(_unprivileged(name)) for name in _generic_names()}
    _print_reasons(generic)
    print(f"\n{'Live count':22}{_live_count()}")
    print(f"{'Verdict':22}{_verdict([*reasons.values()], generic)}")
    return 0


def _facts() -> list[tuple[str, str]]:
    probe: Any = perf_event_attr(size=1)  # refused, and the kernel writes its own size back
    lib.perf_event_open(probe, 0, -1, -1, 0)
    size = f"{probe.size} bytes in the kernel" if probe.size > 1 else "of a size that the kernel does not tell"
    level = contents(f"{SYSCTL}perf_event_paranoid")
    number = int(level) if level.lstrip("-").isdecimal() else None
    meaning = "absent: this kernel has no perf events" if number is None else LEVELS[max(-1, min(number, 2))]
    pmus = ", ".join(f"{pmu.name} (type {pmu.type})" for pmu in events.pmus().values())
    try:
        tracing = f"{events.tracefs()}, {len(events.tracepoints())} tracepoints"
    except OSError as error:
        tracing = error.strerror or str(error)
    return [
        ("Kernel", f"{os.uname().release}, {os.uname().machine}, {os.cpu_count()} CPUs"),
        ("perf_event_attr", f"{size}, {ffi.sizeof('struct perf_event_attr')} here (Linux {HEADERS_VERSION})"),
        ("perf_event_paranoid", f"{level}: {meaning}".lstrip(": ")),
        ("This user", "root" if os.geteuid() == 0 else f"uid {os.geteuid()}, no root"),
        ("perf_event_mlock_kb", f"{contents(f'{SYSCTL}perf_event_mlock_kb')} KiB of rings without CAP_IPC_LOCK"),
        ("PMUs", pmus or "none in sysfs"),
        ("tracefs", tracing),
    ]


def _generic_names() -> list[str]:
    return [row[0] for row in (*events.SOFTWARE.values(), *events.HARDWARE.values())] + events.cache_events()


def _unprivileged(name: str) -> Any:
    return events.attr(name, disabled=1, exclude_kernel=1, exclude_hv=1)


def _refusal(attr: Any, pid: int = 0, cpu: int = -1) -> str:
    """Say why the event does not open; nothing if it does."""
    try:
        os.close(perf_event_open(attr, pid, cpu))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _print_reasons(reasons: dict[str, str]) -> None:
    """Print who fares alike together: each reason once."""
    for reason in dict.fromkeys(reasons.values()):
        names = [name for name, why in reasons.items() if why == reason]
        shown = ", ".join(names) if len(names) < 13 else f"{', '.join(names[:10])} and {len(names) - 10} more"
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


def _verdict(privileges: list[str], generic: dict[str, str]) -> str:
    if all(generic.values()):
        return f"nothing can be counted here: {privileges[0]}"
    virtual = all(generic[row[0]] for row in events.HARDWARE.values())
    what = "software events (no hardware ones: there is no PMU, as in most virtual machines)" if virtual else "events"
    whom = "your own processes" if privileges[2] else "everybody"
    return f"this machine counts {what} of {whom}{', in user space only' if privileges[1] else ''}"

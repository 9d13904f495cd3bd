"""``python -m perf_event_open_sys stat [-e EVENT,…] -- COMMAND …``: count the events of a program."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import NamedTuple, NoReturn

from . import counters, events, perf_event_open
from ._native import lib

DEFAULT_EVENTS = "task-clock,context-switches,cpu-migrations,page-faults,cycles,instructions,branches,branch-misses"
READ_FORMAT = lib.PERF_FORMAT_TOTAL_TIME_ENABLED | lib.PERF_FORMAT_TOTAL_TIME_RUNNING
COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE = 127, 126  # as the shell has it


class Counter(NamedTuple):
    """An event asked for: open as *fd*, or -1 with the *reason*."""

    name: str
    fd: int
    reason: str = ""


def open_counter(name: str, pid: int) -> Counter:
    """Open one event on a process that is about to exec, its future children included."""
    fields = {"disabled": 1, "inherit": 1, "enable_on_exec": 1, "read_format": READ_FORMAT}
    try:
        try:
            return Counter(name, perf_event_open(events.attr(name, **fields), pid))
        except PermissionError:  # an ordinary user may count in user space
            fields |= {"exclude_kernel": 1, "exclude_hv": 1}
            return Counter(f"{name}:u", perf_event_open(events.attr(name, **fields), pid))
    except OSError as error:
        return Counter(name, -1, error.strerror or str(error))


class Child:
    """A command that waits, forked, until it is told to exec."""

    def __init__(self, command: list[str]) -> None:
        """Fork; the child blocks on the *go* pipe, and reports a failed exec through the other."""
        go_read, self._go = os.pipe()
        self._error, error_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._exec(command, go_read, error_write)
        os.close(go_read)
        os.close(error_write)

    def _exec(self, command: list[str], go: int, error: int) -> NoReturn:
        status = COMMAND_NOT_FOUND
        try:
            os.close(self._go)
            if os.read(go, 1):
                os.execvp(command[0], command)
        except OSError as reason:
            status = COMMAND_NOT_FOUND if isinstance(reason, FileNotFoundError) else COMMAND_NOT_EXECUTABLE
            os.write(error, (reason.strerror or str(reason)).encode())
        finally:
            os._exit(status)

    def run(self) -> tuple[int, str]:
        """Let the command go; return its exit status as the shell gives it, and why it could not be run, if so."""
        os.write(self._go, b"x")
        os.close(self._go)
        reason = os.read(self._error, 1000).decode()
        os.close(self._error)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return (status if status >= 0 else 128 - status), reason


def row(counter: Counter) -> str:
    """One line of the table."""
    if counter.fd < 0:
        return f"{'<not counted>':>20}  {counter.name:24} {counter.reason}"
    counts = counters.read(counter.fd, READ_FORMAT)[0]
    value = counters.scaled(counts)
    if value is None:
        return f"{'<not counted>':>20}  {counter.name:24} enabled, but never on its PMU"
    share = 100 * counts.time_running / counts.time_enabled if counts.time_enabled else 100
    note = "" if share > 99.9 else f"({share:.1f} % of the time)"
    shown = f"{value / 1e6:,.2f} msec" if counter.name.startswith(("task-clock", "cpu-clock")) else f"{value:,}"
    return f"{shown:>20}  {counter.name:24} {note}".rstrip()


def stat(names: list[str], command: list[str]) -> int:
    """Run *command*, print what its events came to, and return its exit status."""
    for name in names:
        events.attr(name)  # a wrong name stops here, before anything runs
    child = Child(command)
    opened = [open_counter(name, child.pid) for name in names]
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the command's; the counts are printed all the same
    started = time.perf_counter()
    status, reason = child.run()
    elapsed = time.perf_counter() - started
    signal.signal(signal.SIGINT, interrupt)
    if reason:
        print(f"stat: {command[0]}: {reason}", file=sys.stderr)
    else:
        print(f"\n Events of {' '.join(command)!r}:\n", file=sys.stderr)
        print(*map(row, opened), sep="\n", file=sys.stderr)
        print(f"\n{elapsed:20.6f}  seconds elapsed\n", file=sys.stderr)
    for counter in opened:
        if counter.fd >= 0:
            os.close(counter.fd)
    return status


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m perf_event_open_sys", description="Count a program's events.")
    commands = parser.add_subparsers(required=True, metavar="stat")
    command = commands.add_parser("stat", help="count the events of a program", description="Count a program's events.")
    command.add_argument("-e", dest="events", metavar="EVENT,…", action="append", help="events by perf's names")
    command.add_argument("command", nargs="+", metavar="COMMAND", help="the program and its arguments, after --")
    options = parser.parse_args(arguments)
    names = [name for text in options.events or [DEFAULT_EVENTS] for name in text.split(",")]
    try:
        return stat(names, options.command)
    except (OSError, ValueError) as error:
        print(f"stat: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

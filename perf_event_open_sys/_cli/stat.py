"""``stat``: count the events of a command, of processes and threads, of CPUs, or of cgroups."""

from __future__ import annotations

import os
import sys
import time

from .._native import lib
from ..targets import Command
from . import whom
from .count import Count, Result, mean
from .counter import Counter, open_in_group, refuse
from .ending import Ending, started
from .options import Option, Subcommand, positive
from .output import Output
from .requested import cgroup_directory, groups
from .watch import Watch
from .whom import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import SimpleNamespace

    from .as_json import Json
    from .counter import Event, _Target
    from .separated import Separated
    from .table import Table


def _separator(text: str) -> str:
    if not text:
        raise ValueError("the separator is empty")
    return "\t" if text == r"\t" else text


def _names(text: str) -> list[str]:
    return text.split(",")


COMMAND = Subcommand(
    "stat",
    "Count the events of a command, of processes, threads, CPUs or cgroups",
    [
        Option("-e --event", "events", "EVENT,...", "events in perf's syntax; {a,b} is a group", many=True),
        *whom.OPTIONS,
        Option(
            "-G --cgroup",
            "cgroups",
            "CGROUP,...",
            "all that runs in this cgroup; of several, the first is for the first event, and so on",
            _names,
            default=[],
        ),
        Option("-A --no-aggr", "per_cpu", text="with -a, -C, -G: a count for each CPU"),
        Option("-I --interval-print", "interval", "MS", "print every so many milliseconds", positive, default=0),
        Option("-r --repeat", "repeat", "N", "run the command N times; print the means", positive, default=1),
        Option("-d --detailed", "details", text="count cache events too; -dd and -ddd: more of them"),
        Option("-D --delay", "delay", "MS", "begin to count so many milliseconds after the start", positive, default=0),
        Option("--timeout", "timeout", "MS", "end the count, and the command, after so long", positive, default=0),
        Option("-x --field-separator", "separator", "SEP", "print perf's columns, SEP between them", _separator),
        Option("-j --json --json-output", "json", text="print JSON; with -I, a line for each interval"),
        Option("-o --output", "output", "FILE", "print to this file, not to standard error"),
        Option("--append", "append", text="with -o: print behind what is in the file"),
        Option("-v --verbose", "verbose", text="print the counts unscaled, with their times; -vv: the attrs too"),
    ],
    "[--] COMMAND ...",
)


def run(arguments: list[str]) -> int:
    """Run ``stat`` with these arguments; return the exit status."""
    options = COMMAND.parse(arguments)
    if options is None:
        return 0
    _check(options)
    output = Output(options.output, append=bool(options.append))
    try:
        with Watch() as watch:
            return Stat(options, output, watch).main()
    finally:
        output.close()


def _check(options: SimpleNamespace) -> None:
    """Refuse options that do not go together."""
    command = options.rest
    given = whom.given(COMMAND, options)
    if options.per_cpu and not {"-a", "-C", "-G"} & set(given):
        raise COMMAND.error("-A needs -a, -C or -G")
    if options.repeat > 1 and (options.interval or not command):
        raise COMMAND.error("-r needs a COMMAND, and goes without -I")
    if options.separator and options.json:
        raise COMMAND.error("-x and --json exclude each other")
    if options.append and not options.output:
        raise COMMAND.error("--append needs -o FILE")


class Stat:
    """The runs of one ``stat`` command line."""

    def __init__(self, options: SimpleNamespace, output: Output, watch: Watch) -> None:
        self.options, self.watch, self.command = options, watch, options.rest
        self.of_cpus = bool(options.all_cpus or options.cpus or options.cgroups)
        self.of_command = not (self.of_cpus or options.pids or options.tids)
        self.on_exec = self.of_command and not options.delay
        clock = "cpu-clock" if self.of_cpus else "task-clock"
        requested = groups(options.events, options.details, clock, inherit=int(not self.of_cpus))
        self.tids: list[int] = []
        self.directories: dict[str, int] = {}  # of cgroups, open while their events are opened
        names = iter(self._cgroups(requested))
        self.groups = [
            [Counter(event, next(names), per_cpu=bool(options.per_cpu)) for event in group] for group in requested
        ]
        self.counters = [counter for group in self.groups for counter in group]
        self.report = self._report(output)
        self.ending = Ending(watch, None, None)
        self.reported_s = 0.0  # the end of the last interval
        self.limit = whom.FileLimit()

    def _cgroups(self, requested: list[list[Event]]) -> list[str]:
        """Return the cgroup of each event: a single -G name is for all events, of several the n-th is the n-th event's."""
        names, count = self.options.cgroups, sum(map(len, requested))
        if len(names) > count > 0 and len(names) > 1:
            raise COMMAND.error(f"-G names {len(names)} cgroups for {count} events")
        return list(names) * count if len(names) == 1 else [*names, *[""] * (count - len(names))]

    def _report(self, output: Output) -> Table | Separated | Json:
        options = self.options
        if options.json:
            from .as_json import Json

            return Json(output)
        if options.separator:
            from .separated import Separated

            return Separated(output, options.separator, repeated=options.repeat > 1, cgroups=bool(options.cgroups))
        from .table import Table

        return Table(output, self._title())

    def _title(self) -> str:
        options = self.options
        if self.of_command:
            return repr(" ".join(self.command))
        if options.pids or options.tids:
            kind, numbers = ("process", options.pids) if options.pids else ("thread", options.tids)
            return f"{kind} {', '.join(map(str, numbers))}"
        cpus = f"CPUs {', '.join(map(str, options.cpus))}" if options.cpus else "all CPUs"
        return f"cgroup {','.join(options.cgroups)} on {cpus}" if options.cgroups else cpus

    def main(self) -> int:
        """Run as often as asked; return the exit status."""
        status, results = 0, []
        for _ in range(self.options.repeat):
            command = Command(self.command) if self.command else None
            try:
                self._open(command)
                try:
                    status, result = self._run(command)
                finally:
                    self.ending.after_error()
            finally:
                self._close(command)
            if result is None:
                break
            results.append(result)
            if self.ending.signal:
                break
        if results and not self.options.interval:
            self.report.result(mean(results))
        return 128 + self.ending.signal if self.ending.signal else status

    def _open(self, command: Command | None) -> None:
        """Open all events."""
        try:
            if not self.of_command:  # the command is forked already, with the limit that it was given
                self.limit.raise_to_maximum()
            # Listed once for all events: all members of a group must be opened on the same threads.
            self.tids = whom.tids(self.options)
            for leader, *members in self.groups:
                leader.event.attr.disabled, leader.event.attr.enable_on_exec = 1, int(self.on_exec)
                leader.open(self._targets(leader, command))
                for member in members:
                    open_in_group(member, leader, self._targets(member, command))
        finally:
            for directory in self.directories.values():
                os.close(directory)
            self.directories = {}
        refuse("stat", [counter for counter in self.counters if counter.refusal])
        if self.options.verbose > 1:
            from ..bindings import dump

            for counter in self.counters:
                print(f"{counter.name}:\n{dump(counter.event.attr)}", file=sys.stderr)

    def _targets(self, counter: Counter, command: Command | None) -> list[_Target]:
        """Return what an event is opened on: pid, cpu and flags, each time."""
        options = self.options
        if self.of_command and command:
            return [(command.pid, ALL, lib.PERF_FLAG_FD_CLOEXEC)]
        if not self.of_cpus:
            return [(tid, ALL, lib.PERF_FLAG_FD_CLOEXEC) for tid in self.tids]
        pid, flags = ALL, lib.PERF_FLAG_FD_CLOEXEC
        if counter.cgroup:
            if counter.cgroup not in self.directories:
                path = cgroup_directory(counter.cgroup)
                self.directories[counter.cgroup] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            pid, flags = self.directories[counter.cgroup], flags | lib.PERF_FLAG_PID_CGROUP
        return [(pid, cpu, flags) for cpu in whom.cpus(options)]

    def _run(self, command: Command | None) -> tuple[int, Result | None]:
        """Let the command run, and count until the end; return its exit status and the counts, None if it did not run."""
        begin = time.perf_counter()
        if not (self.on_exec or self.options.delay):
            self._enable()
        if command:
            status = started(command, "stat")
            if status:
                return status, None
        self.watch.forget()
        self.watch.watch([command.pid] if command else self.options.pids)
        self.watch.watch([] if command else self.options.tids, threads=True)
        if self.options.delay:
            self.watch.until(begin + self.options.delay / 1000)
            self._enable()
            begin = time.perf_counter()
        timeout = self.options.timeout / 1000
        self.ending = Ending(self.watch, command, begin + timeout if timeout else None)
        self._count(begin)
        elapsed = time.perf_counter() - begin
        for counter in self.counters:
            counter.disable()
        status = command.wait() if command else 0
        used = command.rusage if command and self.of_command else None
        result = Result(self._read(), elapsed, *((used.ru_utime, used.ru_stime) if used else ()))
        if self.options.interval:
            self._interval(result)
        return 0 if self.ending.timed_out else status, result

    def _count(self, begin: float) -> None:
        """Wait for the end, printing at each interval."""
        interval = self.options.interval / 1000
        due = begin + interval if interval else None
        # The end of these ends the count.
        of_processes = bool(self.command or self.options.pids or self.options.tids)
        while self.watch.living or not of_processes:
            self.watch.until(min((at for at in (due, self.ending.deadline) if at is not None), default=None))
            now = time.perf_counter()
            if due is not None and now >= due:
                self._interval(Result(self._read(), now - begin))
                due += interval * max(1, -(-(time.perf_counter() - due) // interval))
            if self.ending.is_now():
                break

    def _enable(self) -> None:
        for counter in self.counters:
            counter.enable()

    def _read(self) -> list[Count]:
        counts = [count for counter in self.counters for count in counter.read()]
        if self.options.verbose:
            for count in counts:
                cpu = "" if count.cpu is None else f"CPU{count.cpu} "
                print(f"{cpu}{count.name}: {count.raw} {count.enabled_ns} {count.running_ns}", file=sys.stderr)
        return counts

    def _interval(self, result: Result) -> None:
        """Print what was counted since the last interval. On entry, *result*'s elapsed time is that since the start."""
        result.started_s, self.reported_s = self.reported_s, result.elapsed_s
        result.elapsed_s -= result.started_s
        self.report.interval(result)

    def _close(self, command: Command | None) -> None:
        for counter in self.counters:
            counter.close()
        if command:
            command.close()
        self.limit.restore()

"""``python -m perf_event_open_sys stat``: count the events of a command, of processes, or of whole CPUs."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from errno import EINVAL, EOPNOTSUPP, ESRCH
from typing import TYPE_CHECKING, NamedTuple

from .. import counters, events, ioctls, perf_event_open
from .._files import listed
from .._native import ffi, lib
from . import report

if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any, NoReturn, TextIO

DEFAULT_EVENTS = "{},context-switches,cpu-migrations,page-faults,cycles,instructions,branches,branch-misses"
READ_FORMAT = lib.PERF_FORMAT_TOTAL_TIME_ENABLED | lib.PERF_FORMAT_TOTAL_TIME_RUNNING
COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE = 127, 126  # as the shell has it
# What the Python that started us ignores, and its commands must not.
RESTORED_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
NOT_SUPPORTED, NOT_COUNTED = "<not supported>", "<not counted>"


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
            for number in RESTORED_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            if os.read(go, 1):
                os.execvp(command[0], command)
        except OSError as reason:
            status = COMMAND_NOT_FOUND if isinstance(reason, FileNotFoundError) else COMMAND_NOT_EXECUTABLE
            os.write(error, (reason.strerror or str(reason)).encode())
        finally:
            os._exit(status)

    def go(self) -> str:
        """Let the command run; return why it could not be run, if so."""
        os.write(self._go, b"x")
        os.close(self._go)
        self._go = -1
        reason = os.read(self._error, 1000)  # ends when exec closes the other side
        os.close(self._error)
        return reason.decode()

    def stop(self) -> None:
        """Let a command that was never told to go end, and be gone."""
        if self._go >= 0:
            os.close(self._go)
            os.close(self._error)
            os.waitpid(self.pid, 0)


class Count(NamedTuple):
    """What an event came to: a value, or the *state* that stands in its place."""

    name: str
    event: events.Event
    value: float | None
    state: str = ""
    reason: str = ""
    enabled_ns: int = 0
    running_ns: int = 0
    spread: float | None = None  # of a mean: its standard error, in per cent


class Counter:
    """An event that was asked for: open on each target, or not, and then with the *reason*."""

    def __init__(self, event: events.Event) -> None:
        self.event, self.name, self.reason = event, event.name, ""
        self.fds: list[int] = []
        self.before = (0, 0, 0)

    def open(self, targets: list[tuple[int, int]], leader: Counter | None) -> None:
        self.reason, self.before, pmu = "", (0, 0, 0), self.event.pmu
        for index, (pid, cpu) in enumerate(targets):
            group_fd = leader.fds[index] if leader else -1
            if (leader and group_fd < 0) or (cpu >= 0 and pmu and pmu.cpumask and cpu not in pmu.cpumask):
                self.fds.append(-1)
                continue
            try:
                self.fds.append(self.open_one(pid, cpu, group_fd))
            except OSError as error:
                self.fds.append(-1)
                if error.errno != ESRCH or len(targets) == 1:  # of many threads, one may end meanwhile
                    self.reason = error.strerror or str(error)
        if self.reason:
            self.close()

    def open_one(self, pid: int, cpu: int, group_fd: int) -> int:
        attr: Any = self.event.attr
        try:
            return perf_event_open(attr, pid, cpu, group_fd)
        except PermissionError as error:
            if attr.exclude_kernel or attr.exclude_user:
                raise
            denied = error
        attr.exclude_kernel = attr.exclude_hv = 1  # which an ordinary user may have
        try:
            fd = perf_event_open(attr, pid, cpu, group_fd)
        except OSError as error:
            attr.exclude_kernel = attr.exclude_hv = 0
            raise (denied if error.errno in (EINVAL, EOPNOTSUPP) else error) from None
        self.name += "u" if self.event.modifiers or self.name.endswith("/") else ":u"
        return fd

    def ioctl(self, what: Any) -> None:
        for fd in self.fds:
            if fd >= 0:
                what(fd)

    def close(self) -> None:
        self.ioctl(os.close)
        self.fds = []

    def count(self) -> Count:
        """Return what was counted since the last time."""
        if self.reason:
            return Count(self.name, self.event, None, NOT_SUPPORTED, self.reason)
        try:
            read = [counters.read(fd, READ_FORMAT)[0] for fd in self.fds if fd >= 0]
        except EOFError as error:
            return Count(self.name, self.event, None, NOT_COUNTED, str(error))
        now = tuple(sum(getattr(one, field) for one in read) for field in ("value", "time_enabled", "time_running"))
        value, enabled, running = (after - before for after, before in zip(now, self.before, strict=True))
        self.before = now
        if not running:
            reason = "enabled, but never on its PMU" if enabled else "what it counts did not run"
            return Count(self.name, self.event, None, NOT_COUNTED, reason)
        total: Any = ffi.new("struct perf_counts *", (value, enabled, running))
        scaled, scale = counters.scaled(total) or 0, self.event.scale
        return Count(self.name, self.event, scaled if scale == 1 else scaled * scale, "", "", enabled, running)


class Stat:
    """The run of one ``stat`` command line."""

    def __init__(self, options: Namespace, output: TextIO) -> None:
        self.options, self.output, self.command = options, output, options.command
        self.limit, self.reported = resource.getrlimit(resource.RLIMIT_NOFILE), 0.0
        self.on_exec = bool(self.command) and not options.all_cpus
        clock = "cpu-clock" if options.all_cpus else "task-clock"
        text = ",".join(options.events or [DEFAULT_EVENTS.format(clock)])
        inherit = int(not options.all_cpus)
        groups = events.parse(text, inherit=inherit, freq=0, sample_period=0, sample_type=0, read_format=READ_FORMAT)
        self.groups = [[Counter(event) for event in group] for group in groups]
        self.counters = [counter for group in self.groups for counter in group]

    def lead(self, counter: Counter) -> None:
        """Let a counter wait for the start: the members of a group follow their leader."""
        attr: Any = counter.event.attr
        attr.disabled, attr.enable_on_exec = 1, int(self.on_exec)

    def main(self) -> int:
        """Run it as often as asked; return the exit status."""
        status, runs, elapsed, used = 0, [], [], (0.0, 0.0)
        for _ in range(self.options.repeat):
            status, counts, seconds, used, reason = self.run()
            if reason:
                print(f"stat: {self.command[0]}: {reason}", file=sys.stderr)
                return status
            runs.append(counts)
            elapsed.append(seconds)
            if status == 128 + signal.SIGINT:
                break
        if not self.options.interval:
            self.report([_mean(list(of_event)) for of_event in zip(*runs, strict=True)], elapsed, used)
        return status

    def run(self) -> tuple[int, list[Count], float, tuple[float, float], str]:
        child = Child(self.command) if self.command else None
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            self.open(child.pid if child else 0)
            if child:  # Ctrl-C is the command's; what was counted is printed all the same
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            if not self.on_exec:
                for counter in self.counters:
                    counter.ioctl(ioctls.enable)
            started = time.perf_counter()
            reason = child.go() if child else ""
            status, used = self.wait(child, started)
            elapsed = time.perf_counter() - started
            for counter in self.counters:
                counter.ioctl(ioctls.disable)
            return status, self.count(), elapsed, used, reason
        finally:
            signal.signal(signal.SIGINT, interrupt)
            for counter in self.counters:
                counter.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, self.limit)
            if child:
                child.stop()

    def open(self, pid: int) -> None:
        if self.options.all_cpus:
            with open("/sys/devices/system/cpu/online") as online:
                targets = [(-1, cpu) for cpu in events.parse_cpu_list(online.read().strip())]
            # One file for each event on each CPU; the command is forked already, with the limit it was given.
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.limit[1], self.limit[1]))
        elif self.options.pids:
            targets = [(int(thread), -1) for pid in self.options.pids for thread in listed(f"/proc/{pid}/task")]
            if not targets:
                raise ValueError(f"there is no process {' or '.join(map(str, self.options.pids))}")
        else:
            targets = [(pid, -1)]
        for leader, *members in self.groups:
            self.lead(leader)
            leader.open(targets, None)
            for member in members:
                if leader.reason:
                    member.reason = leader.reason
                else:
                    member.open(targets, leader)
                if member.reason and "W" in leader.event.modifiers:  # a weak group falls apart
                    self.lead(member)
                    member.open(targets, None)

    def count(self) -> list[Count]:
        return [counter.count() for counter in self.counters]

    def wait(self, child: Child | None, started: float) -> tuple[int, tuple[float, float]]:
        """Wait for the end of what is counted, printing at each interval; return exit status, user and system time."""
        if child and not self.options.interval:
            return _reap(child)
        processes = [os.pidfd_open(pid) for pid in ([child.pid] if child else self.options.pids)]
        try:
            self.poll(processes, started)
        except KeyboardInterrupt:
            pass
        finally:
            for fd in processes:
                os.close(fd)
        if self.options.interval:
            self.report(self.count(), [time.perf_counter() - started], (0, 0))
        return _reap(child) if child else (0, (0.0, 0.0))

    def poll(self, processes: list[int], started: float) -> None:
        poll, living, due = select.poll(), set(processes), started
        for fd in processes:
            poll.register(fd, select.POLLIN)
        while living or not processes:
            due += self.options.interval / 1000
            timeout = max(0, due - time.perf_counter()) * 1000 if self.options.interval else None
            ended = poll.poll(timeout)
            for fd, _ in ended:
                poll.unregister(fd)
                living.discard(fd)
            if ended:
                due -= self.options.interval / 1000
            else:
                self.report(self.count(), [time.perf_counter() - started], (0, 0))

    def report(self, counts: list[Count], elapsed: list[float], used: tuple[float, float]) -> None:
        mean = sum(elapsed) / len(elapsed)
        if self.options.json:
            report.as_json(self.output, counts, mean, interval=bool(self.options.interval))
        elif self.options.interval:
            report.as_lines(self.output, counts, mean, mean - self.reported)
            self.reported = mean
        else:
            report.as_table(self.output, counts, self.title(), elapsed, used)

    def title(self) -> str:
        if self.command:
            runs = f" ({self.options.repeat} runs)" if self.options.repeat > 1 else ""
            return f"{' '.join(self.command)!r}{runs}"
        return f"process {', '.join(map(str, self.options.pids))}" if self.options.pids else "all CPUs"


def _reap(child: Child) -> tuple[int, tuple[float, float]]:
    _, status, used = os.wait4(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return (code if code >= 0 else 128 - code), (used.ru_utime, used.ru_stime)


def _mean(counts: list[Count]) -> Count:
    """Return the mean of several runs' counts, with its standard error."""
    values = [count.value for count in counts if count.value is not None]
    if len(counts) == 1 or not values:
        return counts[0]
    enabled = sum(count.enabled_ns for count in counts) // len(counts)
    running = sum(count.running_ns for count in counts) // len(counts)
    mean, spread = sum(values) / len(values), report.standard_error(values)
    return Count(counts[-1].name, counts[-1].event, mean, "", "", enabled, running, spread)

"""Export the counts of events to Prometheus, for each CPU, or for each cgroup, or for each systemd unit.

    exporter.py [-e EVENT,…] [--cpu 0-3 | --cgroup PATTERN | --unit PATTERN]

PATTERN is a path or a name, and may have wildcards: ``--cgroup 'system.slice/*'``, ``--unit 'nginx*.service'``. What comes
and goes, CPUs too, is found at each scrape. Counting whole CPUs and cgroups needs root, CAP_PERFMON, or
kernel.perf_event_paranoid at 0 or less.
"""

import argparse
import contextlib
import glob
import os
import resource
import signal
import sys
import threading
import time

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, events, ffi, perf_event_open, targets

TIMES = b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_TOTAL_TIME_RUNNING
UNITS = {"msec": ("seconds", 1e-3), "Joules": ("joules", 1), "MiB": ("bytes", 1 << 20)}  # Prometheus wants base units
SPARE = 16  # files that are left for those who scrape, if the events use up all others
REMEMBERED = 3600  # seconds for which the counts of a target that is gone are kept, should it come back


class Series:
    """What an event has counted on a target since the exporter started. It only grows."""

    def __init__(self):
        self.value = self.enabled_ns = self.running_ns = 0


class Counter:
    """An open event of a series, and its last reading: a counter that is opened anew begins at 0, its series does not."""

    def __init__(self, fd, series):
        self.fd, self.series = fd, series
        self.value = self.enabled = self.running = self.waiting = 0

    def add(self, now):
        """Add to the series what was counted since the last reading, scaled to the time that the event was enabled.

        The kernel's totals are not scaled: their quotient varies, and the product could become less.
        """
        value, running = now.value - self.value, now.time_running - self.running
        self.waiting += now.time_enabled - self.enabled
        self.series.enabled_ns += now.time_enabled - self.enabled
        self.series.running_ns += running
        self.value, self.enabled, self.running = now.value, now.time_enabled, now.time_running
        if running:  # if not, it waits for its turn on the PMU: what is counted then stands for this time too
            self.series.value += value * self.waiting // running
            self.waiting = 0


class Exporter:
    """A collector: each scrape reads all events in one call into C.

    *kind* is the label of a target: ``cpu``, ``cgroup`` or ``unit``; *find* returns the places that are there now: tuples
    of the target's name, a CPU, and of a cgroup its directory and inode.
    """

    def __init__(self, kind, wanted, find):
        self.kind, self.events, self.find = kind, wanted, find
        self.series, self.seen = {}, {}  # by target: {event: Series}, and when it was there last
        self.open, self.clocks = {}, {}  # place: [Counter]; CPU: [fd of a dummy event, its time_enabled]
        self.refused, self.lock = set(), threading.Lock()
        self.refresh()

    def open_place(self, place):
        """Open all events on a place."""
        target, cpu, path, _ = place
        found = self.series.setdefault(target, {})
        self.seen[target] = time.monotonic()
        fds, directory = [], os.open(path, os.O_RDONLY) if path else -1
        try:
            for event in self.events:
                if event.pmu is None or not event.pmu.cpumask or cpu in event.pmu.cpumask:
                    flags = b.PERF_FLAG_PID_CGROUP if path else 0
                    fd = perf_event_open(event.attr, directory, cpu, flags=flags | b.PERF_FLAG_FD_CLOEXEC)
                    fds.append(Counter(fd, found.setdefault(event.name, Series())))
        finally:
            self.open[place] = fds
            if path:
                os.close(directory)

    def close_place(self, place):
        """Close all events of a place."""
        for counter in self.open.pop(place, ()):
            os.close(counter.fd)

    def stopped(self):
        """Return the CPUs that were offline since the last call: their events are detached, and time stands still."""
        found = set()
        for cpu, clock in self.clocks.items():
            before = clock[1]
            with contextlib.suppress(EOFError):
                clock[1] = counters.read(clock[0], TIMES)[0].time_enabled
            if clock[1] == before:
                found.add(cpu)
        return found

    def refresh(self):
        """Close the events of what is gone, and open them on what is new. Neither ends the exporter."""
        places, stopped, spare = self.find(), self.stopped(), []
        with contextlib.suppress(OSError):
            for _ in range(SPARE):
                spare.append(os.open("/dev/null", os.O_RDONLY))
        cpus = {cpu for _, cpu, *_ in places}
        for place in [one for one in self.open if one not in places or one[1] in stopped]:
            self.close_place(place)
        for cpu in [one for one in self.clocks if one not in cpus or one in stopped]:
            os.close(self.clocks.pop(cpu)[0])
        for place in places - self.open.keys():
            try:
                if place[1] not in self.clocks:
                    self.clocks[place[1]] = [perf_event_open(events.attr("dummy", read_format=TIMES), -1, place[1]), -1]
                self.open_place(place)
            except OSError as error:
                self.close_place(place)
                if not isinstance(error, FileNotFoundError) and str(error) not in self.refused:  # said once
                    self.refused.add(str(error))
                    print(f"{self.kind} {place[0]}: {error}", file=sys.stderr, flush=True)
        for fd in spare:
            os.close(fd)
        now = time.monotonic()
        self.seen.update(dict.fromkeys([place[0] for place in self.open], now))
        for target in [one for one, seen in self.seen.items() if now - seen > REMEMBERED]:
            del self.series[target], self.seen[target]
        self.counters = [counter for opened in self.open.values() for counter in opened]
        self.fds = ffi.new("int[]", [counter.fd for counter in self.counters])
        self.out = ffi.new("struct perf_counts[]", len(self.fds))

    def read(self):
        """Read all events. One that can be read no more, as a pinned one that lost its place, is opened anew."""
        try:
            counters.read_into(self.fds, TIMES, self.out)
            readable = len(self.fds)
        except (EOFError, OSError) as error:
            readable = error.index
            lost = self.counters[readable]
            self.close_place(next(place for place, opened in self.open.items() if lost in opened))
        for counter, now in zip(self.counters[:readable], self.out, strict=False):
            counter.add(now)

    def collect(self):
        """Yield the metrics; called by prometheus_client for each scrape, in a thread of its own."""
        with self.lock:
            if self.counters:
                self.read()
            self.refresh()
            made = {}

            def family(name, text):
                if name not in made:
                    made[name] = CounterMetricFamily(name, text, labels=(self.kind, "event"))
                return made[name]

            for target in sorted({place[0] for place in self.open}):
                for event in self.events:
                    if (one := self.series[target].get(event.name)) is None:
                        continue  # its PMU counts on other CPUs only
                    unit, factor = UNITS.get(event.unit, (event.unit.lower(), 1))
                    name = f"perf_event_{unit}" if unit else "perf_events"
                    text = f"What events measured, in {unit}" if unit else "How often events happened"
                    value, labels = one.value * event.scale * factor, (target, event.name)
                    family(name, f"{text}, scaled to the time enabled.").add_metric(labels, value)
                    enabled, running = "perf_event_time_enabled_seconds", "perf_event_time_running_seconds"
                    family(enabled, "Time that events were enabled.").add_metric(labels, one.enabled_ns / 1e9)
                    family(running, "Time that events were on the PMU.").add_metric(labels, one.running_ns / 1e9)
            files = GaugeMetricFamily("perf_exporter_open_events", "Events that are open now.", len(self.fds))
        yield from (*made.values(), files)


def cgroup_root():
    """Return where the cgroups are that perf knows: version 1's perf_event, or else version 2."""
    with open("/proc/self/mounts") as mounts:
        lines = [line.split() for line in mounts]
    first = [where for _, where, kind, options, *_ in lines if kind == "cgroup" and "perf_event" in options.split(",")]
    first += [where for _, where, kind, *_ in lines if kind == "cgroup2"]
    if not first:
        raise ValueError("no cgroups are mounted that perf knows: version 2, or perf_event of version 1")
    return first[0]


def finder(args):
    """Return the label of the targets that are asked for, and a function that finds their places."""
    kind = next((kind for kind in ("cgroup", "unit") if getattr(args, kind) is not None), "cpu")
    if kind == "cpu":
        with open("/sys/devices/system/cpu/possible") as file:
            possible = set(events.parse_cpu_list(file.read()))
        chosen = set(events.parse_cpu_list(args.cpu)) or possible
        if not chosen <= possible:
            raise ValueError(f"this machine has no CPU {min(chosen - possible)}")
        return kind, lambda: {(str(cpu), cpu, "", 0) for cpu in chosen.intersection(targets.online_cpus())}
    root, given = cgroup_root(), getattr(args, kind)
    pattern = given.removeprefix(root).strip("/")
    if pattern in ("", ".") or ".." in pattern.split("/") or (kind == "unit" and "/" in given):
        raise ValueError(f"{given!r} cannot be a {kind}: give {'a name' if kind == 'unit' else f'a path below {root}'}")
    return kind, lambda: cgroups(root, f"**/{pattern}/" if kind == "unit" else f"{pattern}/", by_name=kind == "unit")


def cgroups(root, pattern, *, by_name):
    """Return the places of all cgroups that a pattern matches. The targets are their names, or their paths."""
    places = set()
    for path in glob.glob(pattern, root_dir=root, recursive=True):
        directory = os.path.join(root, path)
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            inode = os.stat(directory).st_ino  # of a cgroup that was removed and made anew, it is another one
            target = os.path.basename(path[:-1]) if by_name else path[:-1]
            places |= {(target, cpu, directory, inode) for cpu in targets.online_cpus()}
    return places


def wanted_events(text):
    """Parse and try the events: all that this machine or user may not count is an error at the start."""
    groups = events.parse(text, read_format=TIMES, sample_period=0)
    wanted = [event for group in groups for event in group]
    if len(wanted) > len(groups):
        raise ValueError(f"{text}: events are exported each by itself; leave out the braces")
    if len({(event.name, event.pmu and event.pmu.name) for event in wanted}) < len(wanted):
        raise ValueError(f"{text}: an event is given twice")
    for event in wanted:
        cpus = (event.pmu and event.pmu.cpumask) or targets.online_cpus()
        try:
            os.close(perf_event_open(event.attr, -1, cpus[0]))
        except OSError as error:
            raise ValueError(f"{event.name}: {error.strerror}") from None
    return wanted


def main():
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-e", "--event", default="context-switches,cpu-migrations,page-faults", help="perf's syntax")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cpu", default="", help="a list, as 0-3,8; all that are online unless given")
    which.add_argument("--cgroup", help="a path in the cgroup file system, with or without wildcards")
    which.add_argument("--unit", help="a systemd unit's name, with or without wildcards")
    parser.add_argument("--address", default="127.0.0.1", help="where to listen (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9480, help="0 lets the kernel choose (default: %(default)s)")
    args = parser.parse_args()
    try:
        kind, find = finder(args)
        wanted = wanted_events(args.event)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # in the threads made from here on, too
    exporter = Exporter(kind, wanted, find)
    registry = CollectorRegistry()
    registry.register(exporter)
    ProcessCollector(registry=registry)  # what the exporter itself costs
    try:
        server, thread = start_http_server(args.port, args.address, registry)
    except (OSError, OverflowError) as error:
        parser.error(f"cannot listen on {args.address}:{args.port}: {error}")
    where = f"http://{args.address}:{server.server_port}/metrics"
    print(f"{where}: {len(exporter.fds)} events of {len({place[0] for place in exporter.open})} targets", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.shutdown()
    thread.join()


if __name__ == "__main__":
    main()

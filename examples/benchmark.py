"""Measure Python functions by events instead of by the clock alone: medians of many calls. No privilege, no PMU needed.

``measure(function)`` is made to be copied. Events that the machine lacks are left out: cycles and instructions need a PMU.
"""

import os
import statistics

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, events, ioctls, perf_event_open

EVENTS = ("task-clock:u", "page-faults:u", "cycles:u", "instructions:u")
READ_FORMAT = b.PERF_FORMAT_GROUP | b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_TOTAL_TIME_RUNNING


def measure(function, repeat=21):
    """Call *function* many times; return the median of each event, by name, of the calls without an empty call's cost."""
    fds, names = [], []
    for name in EVENTS:  # one group: its events are on the PMU together, or not at all
        leader = fds[0] if fds else -1
        try:
            fds.append(perf_event_open(events.attr(name, read_format=READ_FORMAT, disabled=not fds), group_fd=leader))
            names.append(name)
        except OSError:
            if not fds:
                raise

    def medians(function):
        rows = []
        for _ in range(repeat):
            ioctls.reset(fds[0], b.PERF_IOC_FLAG_GROUP)
            ioctls.enable(fds[0])
            function()
            ioctls.disable(fds[0])
            counts = counters.read(fds[0], READ_FORMAT)
            rows.append([counters.scaled(one) or 0 for one in counts])
        return [statistics.median(column) for column in zip(*rows, strict=True)]

    try:
        medians(function)  # to warm up
        empty, whole = medians(lambda: None), medians(function)
    finally:
        for fd in fds:
            os.close(fd)
    return {name: max(0, after - before) for name, before, after in zip(names, empty, whole, strict=True)}


if __name__ == "__main__":
    for text in ("bytearray(64 << 20)", "sum(range(10_000))"):
        for name, value in measure(eval(f"lambda: {text}")).items():
            print(f"{text:24} {name:16} {value:>12,.0f}{' ns' if name.startswith('task-clock') else ''}")

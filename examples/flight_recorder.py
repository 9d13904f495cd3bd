"""Keep the last context switches of all CPUs in rings that the kernel overwrites; print them when something went wrong.

A snapshot is taken on SIGUSR1, and whenever a timer of this program is late by more than LATENCY_MS:
``flight_recorder.py [LATENCY_MS]``. Needs root, and tracefs.
"""

import contextlib
import os
import signal
import sys
import time

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ioctls, perf_event_open, records, ring, targets

TICK = 0.01  # seconds
SAMPLE_TYPE = b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CPU | b.PERF_SAMPLE_RAW
attr = events.attr("sched:sched_switch", sample_period=1, sample_type=SAMPLE_TYPE, write_backward=1)
switch = events.tracepoint_format("sched", "sched_switch")
rings = {}
for cpu in targets.online_cpus():
    fd = perf_event_open(attr, -1, cpu)
    rings[fd] = ring.map(fd, 16, overwrite=True)
buffer = memoryview(bytearray(sum(page.data_size for page in rings.values())))


def print_snapshot(why):
    """Print what the rings hold, in the order of time. They are not written meanwhile: else the oldest would be torn."""
    size = 0
    for fd in rings:
        ioctls.pause_output(fd, True)
    for fd, page in rings.items():
        size += ring.snapshot_into(page, buffer[size:])
        ioctls.pause_output(fd, False)
    samples = records.parse(buffer[:size], attr)
    samples.sort_by_time()
    print(f"{why}: the last {len(samples)} context switches")
    for sample in samples:
        fields = switch.decode(records.raw(buffer, sample))
        before, after = (f"{fields[f'{task}_comm'].decode()}/{fields[f'{task}_pid']}" for task in ("prev", "next"))
        print(f"  {sample.time / 1e9:.6f} [{sample.cpu:03}] {before} -> {after}", flush=True)


limit = float(sys.argv[1]) / 1e3 if len(sys.argv) > 1 else float("inf")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print(f"recording: kill -USR1 {os.getpid()}", flush=True)
with contextlib.suppress(KeyboardInterrupt):
    while True:
        due = time.monotonic() + TICK
        if signal.sigtimedwait([signal.SIGUSR1], TICK):
            print_snapshot("SIGUSR1")
        elif (late := time.monotonic() - due) > limit:
            print_snapshot(f"{late * 1e3:.3f} ms late")

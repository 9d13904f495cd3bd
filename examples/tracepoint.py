"""Count how often this thread goes to sleep: a tracepoint, and a filter on its fields. Needs root, and tracefs."""

import os
import threading
import time

from perf_event_open_sys import counters, events, ioctls, perf_event_open

INTERRUPTIBLE = 1  # TASK_INTERRUPTIBLE, in <linux/sched.h>
fd = perf_event_open(events.attr("sched:sched_switch", disabled=1))
ioctls.set_filter(fd, f"prev_pid == {threading.get_native_id()} && prev_state == {INTERRUPTIBLE}")

ioctls.enable(fd)
for _ in range(10):
    time.sleep(0.001)
ioctls.disable(fd)

[counts] = counters.read(fd)
os.close(fd)
print(f"slept {counts.value} times")

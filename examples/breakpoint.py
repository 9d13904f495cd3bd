"""Count the writes to one variable with a hardware breakpoint: no privilege needed."""

import ctypes
import os

from perf_event_open_sys import counters, events, perf_event_open

variable = ctypes.c_int32()
attr = events.attr(f"mem:{ctypes.addressof(variable):#x}/4:w:u")

fd = perf_event_open(attr)
for value in range(10):
    variable.value = value
[counts] = counters.read(fd)
os.close(fd)

print(f"{counts.value} writes")

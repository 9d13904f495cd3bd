"""Count the calls of a function of the C library with a uprobe: no change to the program. Needs root."""

import ctypes
import os

from perf_event_open_sys import counters, events, ioctls, perf_event_open


def in_file(address: int) -> tuple[str, int]:
    """Return the file that an address of this process comes from, and its offset there."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, _, offset, _, _, *path = line.split(None, 5)
            start, end = (int(part, 16) for part in span.split("-"))
            if start <= address < end:
                return path[0].strip(), address - start + int(offset, 16)
    raise LookupError(f"nothing is mapped at {address:#x}")


function = ctypes.CDLL(None).getppid
path, offset = in_file(ctypes.cast(function, ctypes.c_void_p).value)

fd = perf_event_open(events.attr("uprobe//", uprobe_path=path, probe_offset=offset, disabled=1))
ioctls.enable(fd)
for _ in range(1000):
    function()
ioctls.disable(fd)

[counts] = counters.read(fd)
os.close(fd)
print(f"getppid of {path}: called {counts.value} times")

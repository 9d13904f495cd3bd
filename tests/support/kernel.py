"""A kernel that refuses what the real one would not: the library, with another perf_event_open(2)."""

from perf_event_open_sys import ffi, lib


class Kernel:
    """The library; of each attr *refuse* gives the errno that it is refused with, 0 if it is opened."""

    def __init__(self, refuse):
        self.refuse = refuse

    def __getattr__(self, name):
        return getattr(lib, name)

    def perf_event_open(self, attr, *target):
        """Open an event, or set errno."""
        number = self.refuse(attr)
        if number:
            ffi.errno = number
            return -1
        return lib.perf_event_open(attr, *target)

"""Facts of this machine: page size, word size, CPUs."""

import mmap
import os
import platform

from perf_event_open_sys import ffi

PAGE_SIZE = mmap.PAGESIZE
PAGE_SCALE = PAGE_SIZE // 4096  # rings have this many times the bytes that they have on most machines
WORD = 8 * ffi.sizeof("long")  # the bits of an address, and of a position in a ring
CPUS = sorted(os.sched_getaffinity(0))

# A 64-bit kernel tells a 32-bit process the name of the 64-bit machine.
_NARROW = {"x86_64": "i686", "aarch64": "armv7l", "riscv64": "riscv32", "s390x": "s390"}
IS_COMPAT = WORD == 32 and platform.machine() in _NARROW  # a 32-bit process on a 64-bit kernel
MACHINE = _NARROW.get(platform.machine(), platform.machine()) if WORD == 32 else platform.machine()

"""Trace page faults with Numba: compiled code calls the C functions by their addresses."""

import ctypes
import mmap
import os
from ctypes import CFUNCTYPE, c_int, c_long, c_size_t, c_void_p

import numba
import numpy as np

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, lib_address, perf_event_open, ring
from perf_event_open_sys.events import attr

ioctl_enable = CFUNCTYPE(c_int, c_int, ctypes.c_uint32)(lib_address("ioctl_enable"))
ioctl_disable = CFUNCTYPE(c_int, c_int, ctypes.c_uint32)(lib_address("ioctl_disable"))
ring_read = CFUNCTYPE(c_long, c_void_p, c_void_p, c_size_t)(lib_address("ring_read"))


@numba.njit(nogil=True)
def capture(fd, page, area, page_size, buffer):
    """Touch a byte of each page of *area*; return how many bytes of records that has put into *buffer*."""
    ioctl_enable(fd, 0)
    for i in range(0, len(area), page_size):
        area[i] = 1
    ioctl_disable(fd, 0)
    return ring_read(page, buffer.ctypes, len(buffer))


@numba.njit
def decoded(words):
    """Return (time, address) of the samples among records of 64-bit words: a header, whose top 16 bits are the size."""
    found = [(words[0], words[0]) for _ in range(0)]
    i = 0
    while i < len(words):
        if words[i] & np.uint64(0xFFFFFFFF) == b_sample:
            found.append((words[i + 1], words[i + 2]))
        i += int(words[i] >> np.uint64(48)) // 8
    return found


b_sample = np.uint64(b.PERF_RECORD_SAMPLE)


def faults(pages):
    """Fault pages in; return the time and the address of each page fault."""
    event = attr("page-faults:u", sample_period=1, sample_type=b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_ADDR, disabled=1)
    buffer = np.empty(8 * mmap.PAGESIZE, np.uint8)
    area = np.frombuffer(mmap.mmap(-1, pages * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE), np.uint8)
    capture.compile((numba.int64, numba.uint64, numba.uint8[::1], numba.int64, numba.uint8[::1]))
    fd = perf_event_open(event)
    try:
        with ring.map(fd, 8) as page:
            size = capture(fd, int(ffi.cast("uintptr_t", page)), area, mmap.PAGESIZE, buffer)
    finally:
        os.close(fd)
    return [(int(time), int(address)) for time, address in decoded(buffer[:size].view(np.uint64))]

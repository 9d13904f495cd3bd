"""Trace page faults: Python opens, maps and drains, and C of our own looks at the samples, which have one type in both."""

import mmap
import os

from _faults_cffi import lib

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ioctls, perf_event_open, records, ring
from perf_event_open_sys.events import attr


def faults(pages):
    """Fault pages in; return the time and the address of each page fault."""
    event = attr("page-faults:u", sample_period=1, sample_type=b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_ADDR, disabled=1)
    fd = perf_event_open(event)
    try:
        with ring.map(fd, 8) as page, mmap.mmap(-1, pages * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE) as area:
            ioctls.enable(fd)
            for i in range(pages):
                area[i * mmap.PAGESIZE] = 1
            ioctls.disable(fd)
            samples = records.parse(ring.read(page), event)
    finally:
        os.close(fd)
    print("longest gap:", lib.longest_gap(samples.cdata, len(samples)), "ns")
    return [(sample.time, sample.addr) for sample in samples]

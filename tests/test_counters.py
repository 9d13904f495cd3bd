"""Counting: read formats, groups, many files at once, scaling."""

import mmap
import os

import pytest

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ioctls

PAGE_FAULTS = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_PAGE_FAULTS}


def touch(pages):
    """Fault *pages* pages in, once each."""
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as area:
        for page in range(pages):
            area[page * mmap.PAGESIZE] = 1


def test_read_returns_the_events_count(event):
    """A counter that counted 100 page faults reads at least 100, and not many more."""
    fd = event(**PAGE_FAULTS, disabled=1)
    ioctls.enable(fd)
    touch(100)
    ioctls.disable(fd)
    [counts] = counters.read(fd)
    assert 100 <= counts.value < 150


def test_closed_file_is_ebadf():
    """A descriptor that is not open is an OSError with the call's name."""
    with pytest.raises(OSError, match="read of event 999") as caught:
        counters.read(999)
    assert os.strerror(9) in str(caught.value)

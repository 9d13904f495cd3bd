"""Waiting for records: poll, the watermark, SIGIO, the end of the task."""

import fcntl
import os
import select
import signal
import struct
import threading

from support.events import FAULTS
from support.machine import PAGE_SIZE
from support.workloads import child, fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ioctls, perf_event_attr, records, ring


def test_poll_is_woken_by_a_record(event):
    """With wakeup_events = 1, one sample makes the event readable."""
    fd = event(**FAULTS, wakeup_events=1, disabled=1)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    with ring.map(fd, 8) as page:
        assert poll.poll(0) == []
        ioctls.enable(fd)
        fault(1)
        ioctls.disable(fd)
        assert poll.poll(60_000) == [(fd, select.POLLIN)]
        assert ring.read(page)


def test_poll_waits_for_the_watermark(event):
    """With wakeup_watermark, the event becomes readable when that many bytes are in the ring."""
    fd = event(**FAULTS, watermark=1, wakeup_watermark=PAGE_SIZE // 2, disabled=1)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    with ring.map(fd, 8) as page:
        ioctls.enable(fd)
        while not poll.poll(0):
            fault(1)
        ioctls.disable(fd)
        assert PAGE_SIZE // 2 <= ring.head(page) < PAGE_SIZE


def test_sigio_is_sent_for_a_record(event):
    """With O_ASYNC the wakeup is a signal that names the file."""
    fd = event(**FAULTS, wakeup_events=1, disabled=1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
    try:
        with ring.map(fd, 8) as page:
            # F_SETOWN_EX, F_OWNER_TID: to this thread, since others do not block it; F_SETSIG
            fcntl.fcntl(fd, 15, struct.pack("=ii", 0, threading.get_native_id()))
            fcntl.fcntl(fd, 10, signal.SIGRTMIN)
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
            ioctls.enable(fd)
            fault(1)
            ioctls.disable(fd)
            info = signal.sigtimedwait({signal.SIGRTMIN}, 60)
            assert info is not None
            assert info.si_band & select.POLLIN
            assert ring.read(page)
            fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    finally:
        signal.signal(signal.SIGRTMIN, signal.SIG_IGN)  # another may be on its way, and would end the process
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_exit_of_the_task_is_pollhup_and_the_ring_stays_readable(event):
    """A reader waits for records and the end with one poll, and then drains what is left."""
    attr = {**FAULTS, "sample_type": FAULTS["sample_type"] | b.PERF_SAMPLE_TID, "wakeup_events": 2**31}
    with child("fault(50)") as (process, go):
        fd = event(**attr, pid=process.pid)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        with ring.map(fd, 32) as page:
            assert poll.poll(0) == []
            go()
            [(_, happened)] = poll.poll(60_000)
            assert happened & select.POLLHUP
            samples = records.parse(ring.read(page), perf_event_attr(**attr))
            assert len(samples) >= 50
            assert {one.pid for one in samples} == {process.pid}

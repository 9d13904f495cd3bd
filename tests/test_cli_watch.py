"""Waiting for what ends a count: signals, the end of processes and threads, a time, and rings that fill."""

import os
import signal
import subprocess
import threading
import time

import pytest
from support.marks import needs_events
from support.workloads import child, fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, ring
from perf_event_open_sys._cli import watch as module
from perf_event_open_sys._cli.watch import Watch

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ABSENT = 4194305
FAULTS = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_PAGE_FAULTS, "exclude_kernel": 1} | {
    "sample_period": 1,
    "watermark": 1,
    "wakeup_watermark": 100,
}


@pytest.fixture(params=[True, False], ids=["with pidfds", "without pidfds"])
def _pidfds(request, monkeypatch):
    """A kernel with pidfds, and one without: there the processes are looked for now and then."""
    if not request.param:
        monkeypatch.setattr(module, "pidfd", lambda *_: -1)


@pytest.fixture
def handled():
    """Set how signals are handled; as before at the end."""
    before = {number: signal.getsignal(number) for number in (*ENDINGS, signal.SIGCHLD)}
    yield signal.signal
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_is_received_and_does_nothing_else(number):
    """It ends the wait, comes once, and is handled as before when the block has ended."""
    before = signal.getsignal(number)
    with Watch() as watch:
        signal.raise_signal(number)
        watch.until(None)
        assert watch.received == [number]
        watch.received = []
        watch.until(time.perf_counter() + 0.01)
        assert watch.received == []
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
        watch.until(None)
        assert watch.received == [number]
    assert signal.getsignal(number) == before


def test_signals_that_are_ignored(handled):
    """SIGHUP and SIGTERM stay so; SIGINT, which a script's background jobs ignore, and SIGCHLD do not; later they do."""
    for number in (*ENDINGS, signal.SIGCHLD):
        handled(number, signal.SIG_IGN)
    with Watch() as watch:
        for number in ENDINGS:
            signal.raise_signal(number)
        watch.until(time.perf_counter() + 0.01)
        assert watch.received == [signal.SIGINT]
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    assert {signal.getsignal(number) for number in (*ENDINGS, signal.SIGCHLD)} == {signal.SIG_IGN}


def test_a_time_is_waited_for():
    """Never less; a time that is over is not waited for."""
    with Watch() as watch:
        for milliseconds in (-1000, 0, 0.1, 3.3):
            deadline = time.perf_counter() + milliseconds / 1000
            watch.until(deadline)
            assert time.perf_counter() >= deadline


@pytest.mark.usefixtures("_pidfds")
def test_the_end_of_the_last_process_is_waited_for():
    """As long as one of them lives, the wait goes on."""
    with Watch() as watch, child("") as (one, end_one), child("") as (two, end_two):
        watch.watch([one.pid, two.pid])
        for end, living in ((end_one, True), (end_two, False)):
            assert watch.living
            end()
            watch.until(time.perf_counter() + 1 if living else None)
            assert watch.living is living


@pytest.mark.usefixtures("_pidfds")
def test_what_has_ended_is_not_waited_for():
    """A process that is gone, and one whose parent has not yet asked how it ended."""
    with Watch() as watch:
        watch.watch([ABSENT])
        assert not watch.living
        with subprocess.Popen(["true"]) as ended:
            os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
            watch.watch([ended.pid])
            watch.until(None if watch.living else 0.0)
            assert not watch.living


@pytest.mark.usefixtures("_pidfds")
def test_what_is_forgotten_is_not_waited_for():
    """No process is living any more, as far as the watch knows."""
    with Watch() as watch, child("") as (process, _):
        watch.watch([process.pid])
        watch.forget()
        assert not watch.living
        watch.until(time.perf_counter() + 0.01)


def test_a_thread_is_waited_for():
    """Its end, and not that of its process; where pidfds are of processes only, it is looked for."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    assert thread.native_id
    with Watch() as watch:
        watch.watch([thread.native_id], threads=True)
        assert watch.living
        stop.set()
        watch.until(None)
        assert not watch.living
    thread.join()


@needs_events
def test_a_ring_that_fills_ends_the_wait(event):
    """Each time that as much has come as it was asked to tell of."""
    page = ring.map(fd := event(**FAULTS), 8)
    with Watch() as watch:
        watch.watch_events([fd])
        for _ in range(2):
            fault(50)
            watch.until(None)
            assert ring.read_into(page, bytearray(1 << 16)) > 0
    ffi.release(page)


@needs_events
def test_the_ring_of_what_has_ended_is_not_waited_for(event):
    """It would end each wait at once, as nothing will come of it."""
    with child("fault(50)") as (process, go), Watch() as watch:
        page = ring.map(fd := event(**FAULTS, pid=process.pid), 8)
        watch.watch_events([fd])
        go()
        watch.until(None)
        deadline = time.perf_counter() + 0.01
        watch.until(deadline)
        assert time.perf_counter() >= deadline
        ffi.release(page)

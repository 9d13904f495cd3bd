"""Waiting for what ends a count: signals, the end of processes, a point in time; and for records in rings."""

from __future__ import annotations

import os
import select
import time

from .._files import contents
from ..targets import pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable
    from typing import Any
else:
    import _signal as signal  # the functions of signal without its enums, whose import takes milliseconds

PIDFD_THREAD = os.O_EXCL  # Linux 6.9
WITHOUT_PIDFD_S = 0.1  # how often to look whether a process lives that has no pidfd
LONGEST_S = 3600.0  # poll(2) takes an int of milliseconds


class Watch:
    """Waits for signals, for the end of processes, and for rings that are half full.

    Within its ``with`` block, signals are only put into ``received``.
    """

    def __init__(self) -> None:
        self.received: list[int] = []  # signals, for the caller to take
        self._handlers: dict[int, Any] = {}
        self._wakeup = (-1, -1)
        self._pidfds: set[int] = set()
        self._unseen: set[int] = set()  # processes without a pidfd
        self._poller = select.poll()

    def __enter__(self) -> Watch:
        self._wakeup = os.pipe()
        for fd in self._wakeup:
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        self._poller.register(self._wakeup[0], select.POLLIN)
        # A shell script starts `stat … &` with SIGINT ignored, but `kill -INT` must end it. Other signals that are
        # ignored stay so, such as SIGHUP under nohup.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, lambda number, _: self.received.append(number))
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # then nobody learns the command's exit status
            self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        for fd in self._wakeup:
            os.close(fd)

    def watch(self, pids: Iterable[int], *, threads: bool = False) -> None:
        """Wait, in until(), for the end of these processes or threads too."""
        for pid in pids:
            fd = pidfd(pid, PIDFD_THREAD if threads else 0)
            if fd >= 0:
                self._pidfds.add(fd)
                self._poller.register(fd, select.POLLIN)
            elif _lives(pid):
                self._unseen.add(pid)

    def watch_events(self, fds: Iterable[int]) -> None:
        """Return from until() too when the ring of one of these events is half full, or when what it counts has ended."""
        for fd in fds:
            self._poller.register(fd, select.POLLIN)

    def forget(self) -> None:
        """Do not wait for the end of any process any more."""
        fds, self._pidfds, self._unseen = self._pidfds, set(), set()
        for fd in fds:
            self._poller.unregister(fd)
            os.close(fd)

    @property
    def living(self) -> bool:
        """Tell whether any of the processes had not ended when until() last looked."""
        return bool(self._pidfds or self._unseen)

    def until(self, deadline: float | None) -> None:
        """Wait for a signal, the end of the last process, a ring, or a time of ``time.perf_counter()``; None is never."""
        watching = self.living
        ready = False
        while not self.received and not ready:
            left = LONGEST_S if deadline is None else max(0.0, min(LONGEST_S, deadline - time.perf_counter()))
            ready = self._poll(min(left, WITHOUT_PIDFD_S) if self._unseen else left)
            if watching and not self.living:
                return
            if deadline is not None and time.perf_counter() >= deadline:
                return

    def _poll(self, seconds: float) -> bool:
        """Wait once; tell whether an event's ring has something in it."""
        ready = False
        for fd, what in self._poller.poll(-(-seconds * 1000 // 1)):  # rounded up: not back before the time
            if fd == self._wakeup[0]:
                os.read(fd, 1000)
            elif fd in self._pidfds:
                self._pidfds.remove(fd)
                self._poller.unregister(fd)
                os.close(fd)
            else:
                ready = True
                if what & ~select.POLLIN:  # what it counts has ended: from now on poll would return at once
                    self._poller.unregister(fd)
        self._unseen = {pid for pid in self._unseen if _lives(pid)}
        return ready


def _lives(pid: int) -> bool:
    state = contents(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1]
    return state not in ([], ["Z"], ["X"])

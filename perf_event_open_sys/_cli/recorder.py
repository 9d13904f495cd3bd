"""Open events with a ring for each CPU, and write what comes out of the rings to a file."""

from __future__ import annotations

import mmap
from errno import EPERM

from .. import counters, ioctls, ring
from .._files import contents
from .._native import ffi, lib
from ..perf_data import Event
from .counter import Counter, open_in_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..bindings import perf_event_mmap_page_p
    from ..perf_data import Writer
    from . import counter
    from .counter import _Target

_LARGEST_RECORD = 1 << 16
_LARGEST_BUFFER = 64 << 20


class Recorder:
    """Events that are open on their targets, a ring for each CPU, and a buffer that takes what the rings hold.

    All events of a CPU write to its ring, whatever their targets are: events that are inherited by the threads that a
    target starts can have a ring only if they are of one CPU.
    """

    def __init__(self, groups: list[list[counter.Event]], pages: int) -> None:
        """Take the events, and the size of a ring in pages; 0 is that of which every user may have one for each CPU."""
        self.groups = [[Counter(event) for event in group] for group in groups]
        self.counters = [counter for group in self.groups for counter in group]
        self.rings: list[perf_event_mmap_page_p] = []
        self._asked, self._pages = pages, pages or _free_pages()

    def open(self, targets: list[_Target]) -> None:
        """Open all events, each on all targets."""
        for counter in self.counters:
            # poll(2) returns when a quarter is full: the other three are for what comes until this process gets a CPU.
            attr: Any = counter.event.attr
            attr.watermark, attr.wakeup_watermark = 1, self._pages * mmap.PAGESIZE // 4
        for leader, *members in self.groups:
            leader.open(targets)
            for member in members:
                open_in_group(member, leader, targets)

    def events(self) -> list[Event]:
        """Return the events with the ids of their files, as a perf.data file has them."""
        return [
            Event(counter.event.attr, tuple(map(ioctls.id, counter.open_fds())), counter.name)
            for counter in self.counters
        ]

    def group_desc(self) -> list[tuple[str, int, int]]:
        """Return what a perf.data file says of groups: a name, the place of the leader among the events, and the members."""
        described, place = [], 0
        for group in self.groups:
            if len(group) > 1:
                described.append(("{anon_group}", place, len(group)))
            place += len(group)
        return described

    def map(self) -> None:
        """Map the rings; smaller ones where no size was asked for, and this user may not have so much memory.

        Raises:
            ValueError: no event is open: all threads have ended meanwhile.
            OSError: ``EPERM`` where kernel.perf_event_mlock_kb is used up.
        """
        while True:
            if not any(counter.open_fds() for counter in self.counters):
                raise ValueError("all threads have ended that were to be sampled")
            try:
                self._map()
                break
            except OSError as error:
                if self._asked or error.errno != EPERM or self._pages == 1:
                    raise
                # All anew: each CPU's ring is to have the same size, and how full a ring wakes us is said at the opening.
                targets = self.counters[0].targets
                self.close()
                self._pages //= 2
                self.open(targets)
        everything = sum(page.data_size for page in self.rings)
        slack = len(self.rings) * _LARGEST_RECORD
        self._buffer = memoryview(bytearray(min(everything, max(_LARGEST_BUFFER, slack)) + slack))

    def _map(self) -> None:
        first: dict[int, int] = {}  # CPU -> the file whose ring it is
        for counter in self.counters:
            for (_, cpu, _), fd in zip(counter.targets, counter.fds, strict=True):
                if fd >= 0 and cpu not in first:
                    first[cpu] = fd
                    self.rings.append(ring.map(fd, self._pages))
                elif fd >= 0:
                    ioctls.set_output(fd, first[cpu])

    def drain(self, writer: Writer) -> None:
        """Write all that is in the rings."""
        slack = len(self.rings) * _LARGEST_RECORD
        complete = False
        while not complete:
            size = ring.drain_into(self.rings, self._buffer)
            if not size:
                return
            writer.write(self._buffer[:size])
            # If a record was left in a ring, less than its size was free in each ring's share of the buffer.
            complete = size <= len(self._buffer) - slack
        writer.finished_round()

    def disable(self) -> None:
        """Disable all events."""
        for counter in self.counters:
            counter.disable()

    def lost(self) -> int:
        """Return how many records the kernel could not write, as the events' files tell; 0 before Linux 6.0."""
        lost = 0
        for counter in self.counters:
            fds = counter.open_fds()
            if counter.event.attr.read_format == lib.PERF_FORMAT_LOST and fds:
                out = ffi.new("struct perf_counts[]", len(fds))
                counters.read_into(fds, lib.PERF_FORMAT_LOST, out)
                lost += sum(counts.lost for counts in out)
        return lost

    def close(self) -> None:
        """Unmap the rings and close all events."""
        rings, self.rings = self.rings, []
        for page in rings:
            ffi.release(page)
        for counter in self.counters:
            counter.close()


def _free_pages() -> int:
    """Return the number of pages that the ring of each CPU may have without being counted as locked memory."""
    kib = contents("/proc/sys/kernel/perf_event_mlock_kb")
    pages = (int(kib) if kib.isdecimal() else 516) * 1024 // mmap.PAGESIZE - 1  # without the control page
    return 1 << max(0, pages.bit_length() - 1)

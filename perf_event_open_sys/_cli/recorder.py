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

    def __init__(self, groups: list[list[counter.Event]]) -> None:
        self.groups = [[Counter(event) for event in group] for group in groups]
        self.counters = [counter for group in self.groups for counter in group]
        self.pages: list[perf_event_mmap_page_p] = []
        self._buffer = memoryview(b"")

    def open(self, targets: list[_Target]) -> None:
        """Open all events, each on all targets."""
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

    def map(self, pages: int) -> None:
        """Map the rings, of so many pages; 0: of as many as an ordinary user may have, or fewer where these are too many.

        Raises:
            ValueError: no event is open: all threads have ended meanwhile.
            OSError: ``EPERM`` where kernel.perf_event_mlock_kb is used up.
        """
        first: dict[int, int] = {}  # CPU -> the file whose ring it is
        for counter in self.counters:
            for (_, cpu, _), fd in zip(counter.targets, counter.fds, strict=True):
                if fd >= 0 and cpu not in first:
                    first[cpu] = fd
                    page, pages = _mapped(fd, pages)
                    self.pages.append(page)
                elif fd >= 0:
                    ioctls.set_output(fd, first[cpu])
        if not first:
            raise ValueError("all threads have ended that were to be sampled")
        everything = sum(page.data_size for page in self.pages)
        slack = len(self.pages) * _LARGEST_RECORD
        self._buffer = memoryview(bytearray(min(everything, max(_LARGEST_BUFFER, slack)) + slack))

    def drain(self, writer: Writer) -> None:
        """Write all that is in the rings."""
        slack = len(self.pages) * _LARGEST_RECORD
        complete = False
        while not complete:
            size = ring.drain_into(self.pages, self._buffer)
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
        pages, self.pages = self.pages, []
        for page in pages:
            ffi.release(page)
        for counter in self.counters:
            counter.close()


def _mapped(fd: int, pages: int) -> tuple[perf_event_mmap_page_p, int]:
    """Map the ring of an event; return it, and how many pages it has."""
    tried = pages or _free_pages()
    while True:
        try:
            return ring.map(fd, tried), tried
        except OSError as error:
            if pages or error.errno != EPERM or tried == 1:
                raise
            tried //= 2


def _free_pages() -> int:
    """Return the number of pages that the ring of each CPU may have without being counted as locked memory."""
    kib = contents("/proc/sys/kernel/perf_event_mlock_kb")
    pages = (int(kib) if kib.isdecimal() else 516) * 1024 // mmap.PAGESIZE - 1  # without the control page
    return 1 << max(0, pages.bit_length() - 1)

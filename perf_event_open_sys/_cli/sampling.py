"""The events that ``record`` samples: from the texts of -e to attrs."""

from __future__ import annotations

import os
from errno import EINVAL

from .. import events
from .._files import DEVICES, contents
from .._native import ffi, lib
from ..bindings import perf_event_attr
from .counter import Event
from .requested import event_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import SimpleNamespace
    from typing import Any

DEFAULT_HZ = 4000  # as perf's
# What is sampled where -e is not given: the first that this machine has. P is as precise as the processor can be.
DEFAULTS = ("cycles:P", "cycles", "cpu-clock")
MAX_HZ = "kernel.perf_event_max_sample_rate"
_EVERY_SAMPLE = lib.PERF_SAMPLE_IP | lib.PERF_SAMPLE_TID | lib.PERF_SAMPLE_TIME
# The records that say whose addresses those of the samples are; the last two are of Linux 5.1.
_SIDE_BAND = ("mmap", "mmap2", "comm", "comm_exec", "task")
_SIDE_BAND_OF_THE_KERNEL = ("ksymbol", "bpf_event")


class Sampling:
    """How events are sampled, by the options of ``record``."""

    def __init__(self, options: SimpleNamespace, *, of_cpus: bool, of_command: bool) -> None:
        self.options, self.of_cpus, self.of_command = options, of_cpus, of_command
        self.read_format, self._side_band = _known_to_the_kernel()
        self._hz = _frequency(options.frequency)

    def groups(self, text: str) -> list[list[Event]]:
        """Return the events of a list, a list for each group, leader first.

        The first of them has the side-band too. If what is sampled runs already, the last is an event of its own for that:
        enabled before the others, it has the records of what begins while ``record`` looks through /proc.

        Raises:
            ValueError: the text is no list of events.
        """
        inherit = int(not self.of_cpus)
        groups = [[event_of(event) for event in group] for group in events.parse(text, inherit=inherit)]
        for leader, *members in groups:
            self._set_rate(leader.attr)
            for member in members:
                if not leader.attr.sample_type & lib.PERF_SAMPLE_READ:  # ":S": samples of the leader have all counts
                    self._set_rate(member.attr)
        if not self.of_command:
            dummy = {"type": lib.PERF_TYPE_SOFTWARE, "config": lib.PERF_COUNT_SW_DUMMY}
            attr = perf_event_attr(**dummy, sample_period=1, inherit=inherit, exclude_kernel=1, exclude_hv=1)
            groups.append([Event("dummy:u", attr)])
        several = sum(map(len, groups)) > 1
        for leader, *members in groups:
            # Members are enabled from the start: only the leader is switched, and the others count with it.
            leader.attr.disabled, leader.attr.enable_on_exec = 1, int(self.of_command)
            for event in (leader, *members):
                self._set_fields(event.attr, several=several)
        side_band: Any = groups[0 if self.of_command else -1][0].attr
        for name in self._side_band:
            setattr(side_band, name, 1)
        side_band.mmap_data = int(bool(self.options.data))
        return groups

    def _set_rate(self, attr: Any) -> None:
        """Set how often an event is sampled, unless its terms say it (``cpu/event=1,period=1000/``)."""
        if attr.sample_period:  # or sample_freq, in the same union
            return
        if self.options.count:
            attr.sample_period = self.options.count
        elif self.options.frequency or attr.type not in _rare():
            attr.freq, attr.sample_freq = 1, self._hz
        else:
            attr.sample_period = 1

    def _set_fields(self, attr: Any, *, several: bool) -> None:
        kind = attr.sample_type | _EVERY_SAMPLE
        if several:
            kind |= lib.PERF_SAMPLE_IDENTIFIER
        # Only with a frequency, where the period varies: software events with a fixed one would be sampled each time.
        if attr.freq:
            kind |= lib.PERF_SAMPLE_PERIOD
        if attr.type == lib.PERF_TYPE_TRACEPOINT:
            kind |= lib.PERF_SAMPLE_RAW
        if self.of_cpus or attr.type == lib.PERF_TYPE_TRACEPOINT:
            kind |= lib.PERF_SAMPLE_CPU
        if self.options.data:
            kind |= lib.PERF_SAMPLE_ADDR
        if self.options.call_graph:
            kind |= lib.PERF_SAMPLE_CALLCHAIN
        attr.sample_type, attr.sample_id_all = kind, 1
        if kind & lib.PERF_SAMPLE_READ:
            attr.inherit = 0  # counts of a group are not inherited
        else:
            attr.read_format |= self.read_format


def _known_to_the_kernel() -> tuple[int, tuple[str, ...]]:
    """Return the read_format and the side-band that this kernel knows, the newest first."""
    every = _SIDE_BAND + _SIDE_BAND_OF_THE_KERNEL
    for known in ((lib.PERF_FORMAT_LOST, every), (0, every)):
        dummy = {"type": lib.PERF_TYPE_SOFTWARE, "config": lib.PERF_COUNT_SW_DUMMY, "exclude_kernel": 1}
        attr = perf_event_attr(**dummy, exclude_hv=1, read_format=known[0], **dict.fromkeys(known[1], 1))
        fd = lib.perf_event_open(attr, 0, -1, -1, lib.PERF_FLAG_FD_CLOEXEC)
        if fd >= 0:
            os.close(fd)
        if fd >= 0 or ffi.errno != EINVAL:  # what is refused otherwise will be explained when the events are opened
            return known
    return 0, _SIDE_BAND


def _frequency(asked: int) -> int:
    """Return the number of samples that are asked for in a second.

    Raises:
        ValueError: it is more than the kernel's limit.
    """
    limit = int(contents(f"/proc/sys/{MAX_HZ.replace('.', '/')}") or DEFAULT_HZ)
    if asked > limit:
        raise ValueError(f"-F {asked}: {MAX_HZ} is {limit} here")
    return asked or min(DEFAULT_HZ, limit)


def _rare() -> set[int]:
    """Return the types of events that are sampled each time that they happen, unless -c or -F says otherwise."""
    probes = (contents(f"/sys/{DEVICES}/{name}/type") for name in ("kprobe", "uprobe"))
    return {lib.PERF_TYPE_TRACEPOINT, lib.PERF_TYPE_BREAKPOINT, *map(int, filter(str.isdecimal, probes))}

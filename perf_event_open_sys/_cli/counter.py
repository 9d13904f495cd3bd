"""Open an event on each of its targets (a thread, a CPU, a cgroup on a CPU), enable it and read it."""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, ENODEV, ENOENT, ENXIO, EOPNOTSUPP, EPERM, ESRCH

from .. import counters, ioctls, perf_event_open
from .._native import ffi, lib
from .count import NOT_COUNTED, NOT_SUPPORTED, Count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    _Target = tuple[int, int, int]  # pid, cpu and flags of perf_event_open
    _Reading = tuple[int, int, int]  # value, time_enabled and time_running

READ_FORMAT = lib.PERF_FORMAT_TOTAL_TIME_ENABLED | lib.PERF_FORMAT_TOTAL_TIME_RUNNING
# What the attrs of all counters have in common: they count, and take no samples.
COUNTING: dict[str, Any] = {"freq": 0, "sample_period": 0, "sample_type": 0, "read_format": READ_FORMAT}
# The errors of perf_event_open that mean that the machine or kernel lacks the event: it is shown as not supported.
ABSENT = (ENOENT, EOPNOTSUPP, EINVAL, ENODEV, ENXIO)
DENIED = (EACCES, EPERM)
# Events that happen in the kernel only: opened with exclude_kernel they would count nothing.
_KERNELS_OWN = (lib.PERF_TYPE_TRACEPOINT,)
_TYPES_OF_CPUS = (lib.PERF_TYPE_HARDWARE, lib.PERF_TYPE_HW_CACHE)  # the high half of config is the kind of CPU


class Event:
    """An event that the user asked for: its attr, how its count is shown, and the CPUs it can be opened on (none: all)."""

    __slots__ = ("attr", "cpumask", "modifiers", "name", "scale", "unit")

    def __init__(
        self,
        name: str,
        attr: Any,
        scale: float = 1.0,
        unit: str = "",
        modifiers: str = "",
        cpumask: tuple[int, ...] = (),
    ) -> None:
        self.name, self.attr, self.scale, self.unit = name, attr, scale, unit
        self.modifiers, self.cpumask = modifiers, cpumask


class Counter:
    """An event on its targets.

    If it could not be opened, *reason* says why; *refusal* is the error, unless it means that the machine lacks the
    event.
    """

    def __init__(self, event: Event, cgroup: str = "", *, per_cpu: bool = False) -> None:
        self.event, self.name, self.cgroup, self.per_cpu = event, event.name, cgroup, per_cpu
        self.reason = ""
        self.refusal: OSError | None = None
        self.fds: list[int] = []  # one for each target, -1 where the event is not open
        self.targets: list[_Target] = []
        self.seen: list[_Reading] = []  # what the last read gave: the sum, or one for each CPU

    def open(self, targets: list[_Target], leader: Counter | None = None) -> None:
        """Open the event on each target, in the group of *leader*."""
        self.reason, self.refusal, self.targets, self.seen = "", None, targets, []
        for index, (pid, cpu, flags) in enumerate(targets):
            group_fd = leader.fds[index] if leader else -1
            if (leader and group_fd < 0) or (cpu >= 0 and self.event.cpumask and cpu not in self.event.cpumask):
                self.fds.append(-1)
                continue
            try:
                self.fds.append(self._open(pid, cpu, group_fd, flags))
            except OSError as error:
                self.fds.append(-1)
                if error.errno == ESRCH and len(targets) > 1:  # of many threads, one may end meanwhile
                    continue
                self.reason = error.strerror or str(error)
                self.refusal = None if error.errno in ABSENT else error
                self.close()
                return

    def _open(self, pid: int, cpu: int, group_fd: int, flags: int) -> int:
        attr = self.event.attr
        fd = lib.perf_event_open(attr, pid, cpu, group_fd, flags)
        excluding = attr.exclude_kernel or attr.exclude_user or attr.type in _KERNELS_OWN
        if fd < 0 and ffi.errno in DENIED and not excluding:
            attr.exclude_kernel = attr.exclude_hv = 1  # which an ordinary user may have
            fd = lib.perf_event_open(attr, pid, cpu, group_fd, flags)
            if fd >= 0 or ffi.errno not in (*DENIED, EINVAL, EOPNOTSUPP):
                self.name += "u" if self.event.modifiers or self.name.endswith("/") else ":u"
            else:  # restored, so that the error is that of the event which was asked for
                attr.exclude_kernel = attr.exclude_hv = 0
        return fd if fd >= 0 else perf_event_open(attr, pid, cpu, group_fd, flags)

    def open_fds(self) -> list[int]:
        """Return the file descriptors of the targets that the event is open on."""
        return [fd for fd in self.fds if fd >= 0]

    def enable(self) -> None:
        for fd in self.open_fds():
            ioctls.enable(fd)

    def disable(self) -> None:
        for fd in self.open_fds():
            ioctls.disable(fd)

    def close(self) -> None:
        fds, self.fds = self.open_fds(), []
        for fd in fds:
            os.close(fd)

    def read(self) -> list[Count]:
        """Return what was counted since the last call: the sum of all targets, or with *per_cpu* a count for each CPU."""
        if self.reason:
            return [self._uncounted(NOT_SUPPORTED, self.reason, cpu) for cpu in self._cpus()]
        fds = self.open_fds()
        out = ffi.new("struct perf_counts[]", len(fds))
        try:
            counters.read_into(fds, READ_FORMAT, out)
        except EOFError as error:
            return [self._uncounted(NOT_COUNTED, str(error), cpu) for cpu in self._cpus()]
        now = [(counts.value, counts.time_enabled, counts.time_running) for counts in out]
        if not self.per_cpu:
            now = [(sum(one[0] for one in now), sum(one[1] for one in now), sum(one[2] for one in now))]
        before, self.seen = self.seen or [(0, 0, 0)] * len(now), now
        return [self._count(new, old, cpu) for new, old, cpu in zip(now, before, self._cpus(), strict=True)]

    def _cpus(self) -> Iterator[int | None]:
        """Give the CPU of each count."""
        if not self.per_cpu:
            yield None
            return
        for index, (_, cpu, _) in enumerate(self.targets):
            if not self.fds or self.fds[index] >= 0:
                yield cpu

    def _count(self, now: _Reading, before: _Reading, cpu: int | None) -> Count:
        value, enabled, running = (after - earlier for after, earlier in zip(now, before, strict=True))
        if not running:
            reason = "enabled, but never on its PMU" if enabled else "what it counts did not run"
            count = self._uncounted(NOT_COUNTED, reason, cpu)
            count.enabled_ns = enabled
            return count
        counted: Any = counters.scaled(ffi.new("struct perf_counts *", (value, enabled, running)))
        count = self._uncounted("", "", cpu)
        count.value = counted if self.event.scale == 1 else counted * self.event.scale
        count.raw, count.enabled_ns, count.running_ns = value, enabled, running
        return count

    def _uncounted(self, state: str, reason: str, cpu: int | None) -> Count:
        attr = self.event.attr
        kind = (attr.type, attr.config & 0xFFFFFFFF if attr.type in _TYPES_OF_CPUS else attr.config)
        event = self.event
        return Count(
            self.name,
            kind,
            unit=event.unit,
            scale=event.scale,
            cpu=cpu,
            cgroup=self.cgroup,
            state=state,
            reason=reason,
        )


def open_in_group(member: Counter, leader: Counter, targets: list[_Target]) -> None:
    """Open an event in the group of *leader*; one that has no place there stands alone if the group is weak (``:W``)."""
    if leader.reason:
        member.reason, member.targets = leader.reason, leader.targets
    else:
        member.open(targets, leader)
    if member.reason and "W" in leader.event.modifiers:
        member.event.attr.disabled, member.event.attr.enable_on_exec = 1, leader.event.attr.enable_on_exec
        member.open(targets)


def refuse(subcommand: str, refused: list[Counter]) -> None:
    """Raise the error for events that could not be opened, with each reason once; do nothing if there are none."""
    names: dict[str, list[str]] = {}
    for counter in refused:
        names.setdefault(counter.reason, []).append(counter.name)
    if names:
        raise ValueError(f"\n{subcommand}: ".join(f"{', '.join(each)}: {reason}" for reason, each in names.items()))

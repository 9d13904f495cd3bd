"""Rings: draining one, and many."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from time import perf_counter_ns
from typing import Any

from measure import Row, fault, paired, software_attr, timed

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, ioctls, perf_event_open, records, ring

RING_PAGES = 2048


def filled_ring() -> tuple[int, Any, Any]:
    """Return an event, its attr and its ring, full of page faults: 8 MiB, or less where memory may not be locked."""
    sample_type = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_ADDR
    attr = software_attr(sample_period=1, sample_type=sample_type, disabled=1)
    fd = perf_event_open(attr)
    pages = RING_PAGES
    while True:
        try:
            page = ring.map(fd, pages)
            break
        except PermissionError:
            pages //= 2
    ioctls.enable(fd)
    while page.data_size - (ring.head(page) - ring.tail(page)) > 64:
        fault(10000)
    ioctls.disable(fd)
    return fd, attr, page


def rings(c: Any, c_ffi: Any, rounds: int) -> Iterator[Row]:
    """Compare draining a full ring with memcpy of its bytes."""
    fd, attr, page = filled_ring()
    size = ring.head(page) - ring.tail(page)
    buffer, copied = bytearray(size), bytearray(size)
    source = c_ffi.cast("void *", int(ffi.cast("uintptr_t", page)) + page.data_offset)
    target = c_ffi.from_buffer(copied)
    start = ring.tail(page)

    def drain() -> float:
        ring.set_tail(page, start)  # the event is disabled: the records are still there
        begin = perf_counter_ns()
        ring.read_into(page, buffer)
        return perf_counter_ns() - begin

    yield Row(
        f"ring.read_into, {size / 2**20:.1f} MiB",
        "memcpy",
        *paired(lambda: c.copy(target, source, size), drain, rounds),
        1.5,
    )
    n = len(records.parse(buffer, attr))
    yield Row(
        f"records.parse, {n} real page faults, each",
        "memcpy",
        *paired(lambda: c.copy(target, source, size) / n, timed(lambda: records.parse(buffer, attr), n), rounds),
    )
    ffi.release(page)
    os.close(fd)


def many_rings(c: Any, c_ffi: Any, rounds: int) -> Iterator[Row]:
    """Compare draining 64 rings, a page of page faults in each, with a C loop over them."""
    n, size = 64, mmap.PAGESIZE
    attr = software_attr(sample_period=1, sample_type=b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_ADDR)
    fds = [perf_event_open(attr) for _ in range(n)]
    pages = [ring.map(fd, 1) for fd in fds]
    fault(size // 24)
    for fd in fds:
        ioctls.disable(fd)
        os.close(fd)
    c_pages = c_ffi.new("void *[]", [c_ffi.cast("void *", int(ffi.cast("uintptr_t", page))) for page in pages])
    buffer = bytearray(n * size)
    target = c_ffi.from_buffer(buffer)

    def refill() -> None:
        for page in pages:
            page.data_tail = 0  # the events are disabled: the records are still there

    def in_c() -> float:
        refill()
        return float(c.drain_many(c_pages, n, size, size, target))

    def drained() -> float:
        refill()
        start = perf_counter_ns()
        ring.drain_into(pages, buffer)
        return perf_counter_ns() - start

    yield Row("ring.drain_into, 64 rings of a page", "C", *paired(in_c, drained, rounds * 3), 1.2)
    for page in pages:
        ffi.release(page)

"""Rings in plain memory, written as the kernel writes them."""

import itertools
import mmap

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi

from .encode import record, u64
from .machine import PAGE_SIZE


def address(pointer):
    """Return a pointer's address."""
    return int(ffi.cast("uintptr_t", pointer))


def numbered(numbers, sizes):
    """Return a record for each number, of the sizes in turn: the number, and bytes that follow from it."""
    sizes = itertools.cycle(sizes)
    return [record(b.PERF_RECORD_LOST, u64(n, n) + bytes([n % 251]) * (next(sizes) - 24)) for n in numbers]


def put_backward(page, area, data):
    """Write a record below the head, as the kernel does with attr.write_backward."""
    page.data_head = (page.data_head - len(data)) % 2**64
    write_wrapped(area, page.data_head, data)


def first(made, room):
    """Return as many of the records, from the first on, as fit into *room* bytes."""
    ends = itertools.accumulate(map(len, made))
    return [one for one, end in zip(made, ends, strict=True) if end <= room]


def synthetic_ring(data_pages=1, aux_pages=0):
    """Return (control page, its data, its AUX area) in anonymous shared memory, as the kernel would lay them out."""
    size = data_pages * PAGE_SIZE
    area = mmap.mmap(-1, PAGE_SIZE + size + aux_pages * PAGE_SIZE)
    page = ffi.from_buffer("struct perf_event_mmap_page *", area)
    page.data_offset, page.data_size = PAGE_SIZE, size
    page.aux_offset, page.aux_size = (PAGE_SIZE + size, aux_pages * PAGE_SIZE) if aux_pages else (0, 0)
    view = memoryview(area)
    return page, view[PAGE_SIZE : PAGE_SIZE + size], view[PAGE_SIZE + size :]


def write_wrapped(area, position, data):
    """Write *data* at a position of a ring, modulo its size."""
    at = position % len(area)
    room = min(len(data), len(area) - at)
    area[at : at + room] = data[:room]
    area[: len(data) - room] = data[room:]


def put(page, area, data):
    """Write records at the head of a ring, as the kernel does."""
    write_wrapped(area, page.data_head, data)
    page.data_head = (page.data_head + len(data)) % 2**64

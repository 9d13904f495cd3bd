"""The AUX area: a stream of bytes beside the records."""

import random

import pytest
from support.events import DUMMY, FAULTS
from support.machine import PAGE_SIZE
from support.rings import synthetic_ring, write_wrapped
from support.workloads import fault

from perf_event_open_sys import ffi, ring


@pytest.mark.parametrize("lap", [0, 2**32 - PAGE_SIZE, 2**64 - 3 * PAGE_SIZE])
@pytest.mark.parametrize("room", [1, 100, 1000, PAGE_SIZE, 4 * PAGE_SIZE])
def test_aux_is_drained_over_many_laps(lap, room):
    """The tail is monotonic, never masked; the bytes are a stream, whatever the buffer's size."""
    page, _, area = synthetic_ring(1, aux_pages=2)
    aux = ffi.from_buffer("uint8_t[]", area)
    rng = random.Random(room)
    page.aux_head = page.aux_tail = lap
    written, read, done = bytearray(), bytearray(), 0
    buffer = bytearray(room)
    while len(written) < 10 * len(area) and done < 3000:
        done += 1
        free = len(area) - (page.aux_head - page.aux_tail) % 2**64
        data = rng.randbytes(rng.randrange(min(free, 4 * room) + 1))
        write_wrapped(area, page.aux_head, data)
        page.aux_head = (page.aux_head + len(data)) % 2**64
        written += data
        size = ring.read_aux_into(page, aux, buffer)
        assert size == min(room, len(written) - len(read))
        read += buffer[:size]
        assert page.aux_tail == (lap + len(read)) % 2**64
    while size := ring.read_aux_into(page, aux, buffer):
        read += buffer[:size]
    assert read == written
    assert page.aux_tail == page.aux_head
    ffi.release(aux)


@pytest.mark.parametrize(
    "fields",
    [
        {"aux_size": 0},
        {"aux_size": 3 * PAGE_SIZE},
        {"aux_head": 2 * PAGE_SIZE + 1},
        {"aux_tail": 9},
        {"aux_head": 2**63 + 2**31},
    ],
    ids=str,
)
def test_a_page_without_an_aux_ring_is_a_value_error(fields):
    """Size, head and tail are checked before a byte is read."""
    page, _, area = synthetic_ring(1, aux_pages=2)
    page.aux_head = 8
    for name, value in fields.items():
        setattr(page, name, value)
    tail = page.aux_tail
    with pytest.raises(ValueError, match="not an AUX ring"):
        ring.read_aux_into(page, ffi.from_buffer("uint8_t[]", area), bytearray(8))
    assert page.aux_tail == tail


def test_an_aux_area_is_an_array_or_a_pointer():
    """Of a mapping of the caller's own, a pointer is good for as many bytes as the page says."""
    page, _, area = synthetic_ring(1, aux_pages=1)
    area[:8] = b"01234567"
    page.aux_head = 8
    array = ffi.from_buffer("uint8_t[]", area)
    for aux in (array, array + 0):
        page.aux_tail, buffer = 0, bytearray(9)
        assert ring.read_aux_into(page, aux, buffer) == 8
        assert buffer == b"01234567\0"
    ffi.release(array)


def test_aux_goes_into_writable_buffers_only():
    """read_aux_into into a read-only buffer is a BufferError, and consumes nothing."""
    page, _, area = synthetic_ring(1, aux_pages=1)
    page.aux_head = 8
    with pytest.raises(BufferError):
        ring.read_aux_into(page, ffi.from_buffer("uint8_t[]", area), bytes(8))
    assert page.aux_tail == 0


@pytest.mark.parametrize("aux_pages", [0, -1, 3])
def test_aux_pages_must_be_a_power_of_two(event, aux_pages):
    """A number of AUX pages that is no power of two, or 0, is a ValueError."""
    fd = event(**DUMMY)
    with ring.map(fd, 1) as page, pytest.raises(ValueError, match=f"aux_pages is {aux_pages}"):
        ring.map_aux(fd, page, aux_pages)


def test_an_event_without_aux_area_refuses_to_map_one(event):
    """Software events have none: an OSError, and the data ring goes on."""
    fd = event(**FAULTS)
    with ring.map(fd, 8) as page:
        with pytest.raises(OSError, match="mmap of the AUX ring"):
            ring.map_aux(fd, page, 1)
        fault(1)
        assert ring.read(page)

"""Draining a ring: every position, every buffer, geometry and headers that cannot be."""

import collections
import ctypes
import errno
import itertools
import random
import sys
import threading

import pytest
from support.encode import record
from support.machine import PAGE_SCALE, PAGE_SIZE
from support.rings import numbered, put, synthetic_ring

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, lib, records, ring

LOST = b.PERF_RECORD_LOST


def test_head_and_tail_are_64_bit():
    """Positions are not cut to 32 bits, and not masked."""
    page, _, _ = synthetic_ring()
    page.data_head = 2**64 - 8
    ring.set_tail(page, 2**64 - 16)
    assert (ring.head(page), ring.tail(page)) == (2**64 - 8, 2**64 - 16)


@pytest.mark.parametrize("lap", [0, 3 * PAGE_SIZE, 2**32 - PAGE_SIZE, 2**64 - PAGE_SIZE])
def test_records_that_wrap_are_joined_at_every_position(lap):
    """Wherever in the ring they begin, and in whichever lap, what comes out is what went in."""
    page, area, _ = synthetic_ring()
    whole = b"".join(numbered(range(9), [24, 64, 40, 128]))
    buffer = bytearray(PAGE_SIZE)
    for start in range(lap, lap + PAGE_SIZE, 8):
        page.data_head = page.data_tail = start % 2**64
        put(page, area, whole)
        assert ring.read_into(page, buffer) == len(whole)
        assert buffer[: len(whole)] == whole
        assert ring.tail(page) == page.data_head == (start + len(whole)) % 2**64
        assert ring.read_into(page, buffer) == 0
        page.data_tail = start % 2**64
        assert ring.read(page) == whole


@pytest.mark.parametrize("room", [64, 72, 100, 127, 128, 129, 255])
def test_a_small_buffer_takes_whole_records_only(room):
    """Records come in order and uncut, over many calls and laps."""
    page, area, _ = synthetic_ring()
    rng = random.Random(room)
    sizes = [rng.randrange(3, 9) * 8 for _ in range(97)]
    made = numbered(range(2000 * PAGE_SCALE), sizes)
    waiting = collections.deque(made)
    buffer, out = bytearray(room), []
    while waiting or page.data_head != page.data_tail:
        while waiting and PAGE_SIZE - (page.data_head - page.data_tail) >= len(waiting[0]):
            put(page, area, waiting.popleft())
        for _ in range(rng.randrange(1, 9)):
            size = ring.read_into(page, buffer)
            out += [bytes(ffi.buffer(one, one.header.size)) for one in records.iterate(buffer[:size])]
    assert out == made
    assert page.data_head > 10 * PAGE_SIZE


def test_a_full_ring_is_read_whole():
    """Head and tail may be as far apart as the ring is long, which is more than the largest record has."""
    pages = max(2, 2**17 // PAGE_SIZE)
    page, area, _ = synthetic_ring(pages)
    page.data_head = page.data_tail = PAGE_SIZE - 96
    whole = b"".join(numbered(range(pages * PAGE_SIZE // 64), [64]))
    assert len(whole) == page.data_size
    put(page, area, whole)
    assert ring.read(page) == whole


def test_the_largest_record_is_read():
    """A record has at most 65,528 bytes, header included."""
    page, area, _ = synthetic_ring(max(1, 65536 // PAGE_SIZE))
    page.data_head = page.data_tail = page.data_size - 536
    [large] = numbered([1], [65528])
    put(page, area, large)
    with pytest.raises(BufferError, match=r"65528 bytes, and the buffer 65527"):
        ring.read_into(page, bytearray(65527))
    buffer = bytearray(65528)
    assert ring.read_into(page, buffer) == 65528
    assert buffer == large


@pytest.mark.parametrize("room", [0, 1, 8, 39])
def test_a_buffer_below_the_next_record_is_a_buffer_error(room):
    """The message has the size that it needs, and nothing is consumed."""
    page, area, _ = synthetic_ring()
    put(page, area, b"".join(numbered([1, 2], [40, 24])))
    buffer = bytearray(b"x" * room)
    with pytest.raises(BufferError, match=f"next record has 40 bytes, and the buffer {room}$"):
        ring.read_into(page, buffer)
    assert (ring.tail(page), ring.head(page)) == (0, 64)
    assert buffer == b"x" * room
    assert ring.read_into(page, bytearray(40)) == 40
    assert ring.tail(page) == 40


def test_a_record_may_be_nothing_but_its_header():
    """PERF_RECORD_SWITCH has 8 bytes: the last of several, and one alone, are whole records."""
    page, area, _ = synthetic_ring()
    put(page, area, record(b.PERF_RECORD_SWITCH) * 3)
    assert ring.read_into(page, bytearray(23)) == 16
    with pytest.raises(BufferError, match="next record has 8 bytes, and the buffer 7"):
        ring.read_into(page, bytearray(7))
    assert ring.read_into(page, bytearray(8)) == 8


def test_ring_next_size_is_what_a_buffer_must_hold():
    """0 where the ring is empty; -1 with EBADMSG for a header that cannot be, with EINVAL for what is no ring."""
    page, area, _ = synthetic_ring()
    assert lib.ring_next_size(page) == 0
    put(page, area, numbered([1], [40])[0])
    assert lib.ring_next_size(page) == lib.ring_next_size_sized(page, PAGE_SIZE) == 40
    assert lib.ring_next_size_sized(page, PAGE_SIZE + 8) == -1
    assert ffi.errno == errno.EINVAL
    area[6:8] = (41).to_bytes(2, sys.byteorder)
    assert lib.ring_next_size(page) == -1
    assert ffi.errno == errno.EBADMSG


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (PAGE_SIZE, 4 * PAGE_SIZE, 4 * PAGE_SIZE),
        (0, PAGE_SIZE, 0),
        (PAGE_SIZE, 3 * PAGE_SIZE, 0),
        (PAGE_SIZE, PAGE_SIZE // 2, 0),
        (PAGE_SIZE, 0, 0),
    ],
)
def test_ring_data_size_is_what_the_page_says_or_0(offset, size, expected):
    """For pages that the caller mapped: 0 where the page's own words describe no ring."""
    page, _, _ = synthetic_ring(4)
    page.data_offset, page.data_size = offset, size
    assert lib.ring_data_size(page) == expected


def test_only_a_writable_contiguous_buffer_is_filled():
    """bytes, a read-only view and one with gaps are refused before anything is consumed; any item size will do."""
    page, area, _ = synthetic_ring()
    put(page, area, b"".join(numbered(range(4), [24])))
    for bad in (bytes(100), memoryview(bytearray(100)).toreadonly(), memoryview(bytearray(200))[::2]):
        with pytest.raises(BufferError):
            ring.read_into(page, bad)
        assert ring.tail(page) == 0
    with pytest.raises(TypeError):
        ring.read_into(page, "text")  # type: ignore[arg-type]
    for good in (
        bytearray(24),
        memoryview(bytearray(100))[10:34],
        (ctypes.c_uint64 * 3)(),
        ffi.buffer(ffi.new("uint64_t[]", 3)),
    ):
        assert ring.read_into(page, good) == 24
    assert ring.head(page) == ring.tail(page) == 96


def test_bytes_outside_the_result_stay_as_they_were():
    """Only the returned number of bytes is written."""
    page, area, _ = synthetic_ring()
    put(page, area, b"".join(numbered([1, 2], [24, 48])))
    buffer = bytearray(b"?" * 64)
    assert ring.read_into(page, buffer) == 24
    assert buffer[24:] == b"?" * 40


def test_the_tail_is_stored_once_with_all_that_was_moved():
    """A second reader of the page never sees a tail in the middle of a batch."""
    page, area, _ = synthetic_ring(64)
    seen, done = set(), threading.Event()

    def watch():
        while not done.is_set():
            seen.add(lib.ring_tail(page))

    batches = [b"".join(numbered(range(1000), [24, 32, 40])) for _ in range(50)]
    ends = set(itertools.accumulate((len(batch) for batch in batches), initial=0))
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for batch in batches:
            put(page, area, batch)
            assert ring.read_into(page, bytearray(page.data_size)) == len(batch)
    finally:
        done.set()
        watcher.join()
    assert seen <= ends


@pytest.mark.parametrize(
    "fields",
    [
        {"data_offset": 0},
        {"data_offset": 2 * PAGE_SIZE},
        {"data_offset": 2**63},
        {"data_size": 0},
        {"data_size": PAGE_SIZE - 8},
        {"data_size": PAGE_SIZE // 2},
        {"data_size": 3 * PAGE_SIZE},
        {"data_size": 2**64 - 1},
        {"data_head": PAGE_SIZE + 8},
        {"data_head": 2**64 - 8},
        {"data_head": 2**63 + 2**31},
        {"data_head": 0, "data_tail": 8},
        {"data_head": 0, "data_tail": 2**63 + 2**31},
        {"data_head": 4},
        {"data_head": 12, "data_tail": 4},
    ],
    ids=str,
)
def test_a_page_that_is_no_ring_is_a_value_error(fields):
    """Geometry that no kernel writes, and a head further from the tail than the ring is long, are not followed."""
    page, _, _ = synthetic_ring()
    page.data_head = 64
    for name, value in fields.items():
        setattr(page, name, value)
    tail = page.data_tail
    for call in (
        ring.read,
        lambda page: ring.read_into(page, bytearray(64)),
        lambda page: ring.read_into(page, bytearray(1)),
    ):
        with pytest.raises(ValueError, match="not a ring that is read forward"):
            call(page)
    assert page.data_tail == tail


@pytest.mark.parametrize("size", [0, 7, 12, 20, 48, 4096, 65535])
def test_a_header_that_cannot_be_is_a_corrupt_record(size):
    """Where the buffer must be cut: what came before is delivered, then the offset is named, and again."""
    page, area, _ = synthetic_ring()
    start = PAGE_SIZE - 24  # the second record wraps
    page.data_head = page.data_tail = start
    good = b"".join(numbered([1, 2], [24, 40]))
    put(page, area, good + record(LOST, bytes(16), size=size) + bytes(16))
    buffer = bytearray(72)
    assert ring.read_into(page, buffer) == 64
    assert buffer[:64] == good
    for _ in range(2):
        with pytest.raises(records.CorruptRecord, match="offset 40 ") as caught:
            ring.read_into(page, bytearray(32))
        assert caught.value.offset == (start + 64) % PAGE_SIZE == 40
        assert ring.tail(page) == start + 64
    # Nothing is looked at where everything fits; the decoder then says so.
    whole = ring.read(page)
    with pytest.raises(records.CorruptRecord):
        list(records.iterate(whole))


def test_noise_in_the_ring_never_hangs_a_reader():
    """Any bytes between tail and head are delivered or refused, in as many calls as there are records."""
    rng = random.Random(5)
    page, area, _ = synthetic_ring()
    for _ in range(max(50, 500 // PAGE_SCALE)):
        area[:] = rng.randbytes(PAGE_SIZE)
        for at in range(0, PAGE_SIZE, 8):
            if rng.random() < 0.7:
                area[at + 6 : at + 8] = rng.choice([8, 16, 24, 32, 64]).to_bytes(2, "little")
        page.data_tail = 8 * rng.randrange(2**40)
        page.data_head = page.data_tail + 8 * rng.randrange(PAGE_SIZE // 8 + 1)
        buffer = bytearray(rng.randrange(8, 200))
        for _ in range(PAGE_SIZE):
            before = page.data_tail
            try:
                if not (size := ring.read_into(page, buffer)):
                    break
            except (BufferError, records.CorruptRecord):
                assert page.data_tail == before
                break
            assert page.data_tail == before + size
        else:
            pytest.fail("a reader would go on for ever")

"""The C functions that find records, as other programs call them: what they return, and what they leave alone."""

import errno
import struct

import pytest
from support.encode import record, u64

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, lib

SWITCH = record(b.PERF_RECORD_SWITCH)
LOST = record(b.PERF_RECORD_LOST, u64(1, 2))
CORRUPT = record(b.PERF_RECORD_NAMESPACES, u64(0, 2, 1, 1))


def test_records_next_is_the_size_of_the_record_at_an_offset():
    """0 at the buffer's end; -1 with EBADMSG where no record can be, and beyond the end."""
    buffer = LOST + SWITCH + CORRUPT
    sizes = [lib.records_next(buffer, len(buffer), offset) for offset in (0, 24, 32)]
    assert sizes == [24, 8, -1]
    assert ffi.errno == errno.EBADMSG
    assert lib.records_next(buffer, 32, 32) == 0
    assert lib.records_next(buffer, 32, 33) == lib.records_next(buffer, 31, 24) == -1


def walk(buffer, room, offset=0):
    """Return what records_walk returns, where it stopped, and the types and offsets that it wrote."""
    data, at = ffi.from_buffer(buffer), ffi.new("size_t *", offset)
    types, addresses = ffi.new("uint32_t[4]", [99] * 4), ffi.new("uintptr_t[]", 4)  # type: ignore[call-overload]
    n = lib.records_walk(data, len(data), at, types, addresses, room)
    begin = int(ffi.cast("uintptr_t", data))
    return n, at[0], list(types), [address - begin if address else None for address in addresses]


@pytest.mark.parametrize("room", [1, 2, 3])
def test_records_walk_fills_the_room_and_no_more(room):
    """It returns how many it found, and goes on from where it stopped."""
    buffer = LOST + SWITCH + LOST + SWITCH
    kinds, offsets, ends = [2, 14, 2, 14], [0, 24, 32, 56], [24, 32, 56, 64]
    expected = kinds[:room] + [99] * (4 - room), offsets[:room] + [None] * (4 - room)
    assert walk(buffer, room) == (room, ends[room - 1], *expected)
    assert walk(buffer, 4, ends[room - 1])[:2] == (4 - room, 64)
    assert walk(buffer, 4, 64)[:2] == (0, 64)


def test_records_walk_stops_before_what_is_no_record():
    """What comes before is delivered; the next call is -1 with EBADMSG, and stays there."""
    for bad in (CORRUPT, SWITCH[:4], record(b.PERF_RECORD_SWITCH, size=12)):
        assert walk(LOST + SWITCH + bad, 4)[:2] == (2, 32)
        assert walk(LOST + SWITCH + bad, 4, 32)[:2] == (-1, 32)
        assert ffi.errno == errno.EBADMSG


def find(buffer, types, offset=0):
    """Return what records_find returns, and where it stopped."""
    data, at = ffi.from_buffer(buffer), ffi.new("size_t *", offset)
    return lib.records_find(data, len(data), at, types), at[0]


def test_records_find_stops_at_the_types_that_are_asked_for():
    """Bit n is type 64 + n; the kernel's types, and those of more than 127, are passed over; 0 at the end."""
    buffer = LOST + record(64) + SWITCH + record(128) + record(127, b"123") + record(2**32 - 1) + record(64)
    assert find(buffer, 1) == (8, 24)
    assert find(buffer, 1, 32) == (8, 67)
    assert find(buffer, 1 << 63) == (11, 48)
    assert find(buffer, 1 << 63 | 1, 32) == (11, 48)
    assert find(buffer, 0) == find(buffer, 1 << 14, 75) == (0, 75)


def test_records_find_stops_before_what_is_no_record():
    """It is -1 with EBADMSG; the inside of a record is not looked at."""
    for bad in (SWITCH[:4], record(b.PERF_RECORD_SWITCH, size=12), record(64, size=7), record(64, size=9)):
        assert find(LOST + CORRUPT + bad, 0) == (-1, 24 + len(CORRUPT))
        assert ffi.errno == errno.EBADMSG


def test_text_may_fill_its_record_to_the_end():
    """A TEXT_POKE of four bytes ends with its record; one more is corrupt."""
    for new, size in ((2, 24), (3, -1)):
        poke = record(b.PERF_RECORD_TEXT_POKE, u64(0) + struct.pack("=HHI", 2, new, 0))
        assert lib.records_next(poke, len(poke), 0) == size

"""ring.drain_into: many rings in one call, each getting its share, nothing consumed where something is wrong."""

import errno
import itertools
import random

import pytest
from support.encode import record, u64
from support.events import DUMMY, EVERY_FAULT
from support.machine import PAGE_SCALE, PAGE_SIZE
from support.rings import put, synthetic_ring
from support.workloads import fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, ioctls, lib, records, ring


def numbered(ring_number, n, size=24):
    """Return *n* records of one ring, each with its ring's number and its own."""
    return [record(b.PERF_RECORD_LOST, u64(ring_number, i) + bytes(size - 24)) for i in range(n)]


def filled(*contents, tails=None):
    """Return the control pages of rings with these records in them; *tails* are the positions where they begin."""
    pages = []
    for parts, tail in zip(contents, tails or [2**64 - 128] * len(contents), strict=True):  # so that the records wrap
        page, area, _ = synthetic_ring()
        page.data_head = page.data_tail = tail
        put(page, area, b"".join(parts))
        pages.append(page)
    return pages


def told(buffer):
    """Return (ring, number) of every record."""
    return [(one.id, one.lost) for one in records.iterate(buffer)]  # type: ignore[attr-defined]


def waiting(pages):
    """Return how many bytes wait in each ring."""
    return [(ring.head(page) - ring.tail(page)) % 2**64 for page in pages]


def test_all_that_fits_is_moved_ring_after_ring():
    """In the order of the pages, each ring's records in theirs; empty rings and no rings are nothing."""
    pages = filled(numbered(0, 5), [], numbered(2, 3, 64))
    buffer = bytearray(1000)
    assert ring.drain_into(pages, buffer) == 5 * 24 + 3 * 64
    assert told(buffer[: 5 * 24 + 3 * 64]) == [(0, i) for i in range(5)] + [(2, i) for i in range(3)]
    assert waiting(pages) == [0, 0, 0]
    assert ring.drain_into(pages, buffer) == ring.drain_into([], buffer) == ring.drain_into(pages, bytearray()) == 0


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_pages_are_any_iterable(kind):
    """A list, a tuple, a generator."""
    pages = filled(numbered(0, 1), numbered(1, 1))
    assert ring.drain_into(kind(pages), bytearray(48)) == 48


def test_a_full_buffer_cuts_between_records_and_the_rest_stays():
    """Call after call, every record comes once, each ring's in order."""
    rng = random.Random(1)
    for size in range(64, 2000, 61):
        contents = [numbered(number, rng.randrange(20), rng.choice([24, 40, 64])) for number in range(7)]
        pages, found = filled(*contents), []
        buffer = bytearray(size)
        while any(waiting(pages)):
            moved = ring.drain_into(pages, buffer)
            assert 0 < moved <= size
            found += told(buffer[:moved])
        for number, parts in enumerate(contents):
            assert [i for which, i in found if which == number] == list(range(len(parts)))


def test_no_ring_starves_beside_one_that_is_always_full():
    """Every ring gets an equal share of the buffer before a ring that is always full gets more."""
    pages = filled(numbered(0, 150), numbered(1, 2), numbered(2, 150))
    buffer = bytearray(24 * 12)
    moved = ring.drain_into(pages, buffer)
    taken = [list(group) for _, group in itertools.groupby(told(buffer[:moved]), key=lambda pair: pair[0])]
    assert [len(group) for group in taken] == [5, 2, 5]
    assert moved == len(buffer)


def test_what_is_left_over_goes_to_the_ring_that_has_most():
    """Parts of the buffer that are too small for a ring's next record are given to the ring with most bytes."""
    pages = filled(numbered(0, 2, 64), numbered(1, 5, 64), numbered(2, 3, 64))
    buffer = bytearray(3 * 40)
    assert ring.drain_into(pages, buffer) == 64
    assert told(buffer[:64]) == [(1, 0)]


@pytest.mark.parametrize("order", [1, -1])
def test_a_record_larger_than_an_equal_share_is_taken(order):
    """If the buffer holds the next record of every ring, each ring's is moved; the others share what that leaves."""
    pages = filled(*[numbered(0, 2, 200), numbered(1, 10), numbered(2, 10)][::order])
    buffer = bytearray(300)  # shares of 100; 200 and then shares of 50: two records of 24 bytes
    assert ring.drain_into(pages, buffer) == 200 + 2 * 48
    assert sorted(told(buffer[: 200 + 2 * 48])) == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_large_record_may_make_the_next_one_larger_than_a_share(order):
    """A record of 304 bytes leaves shares of 60, less than the 96 bytes of another ring's record: that one is moved too."""
    contents = numbered(0, 9, 96), numbered(1, 9, 304), numbered(2, 9)
    pages = filled(*(contents[number] for number in order))
    buffer = bytearray(304 + 96 + 24)
    assert ring.drain_into(pages, buffer) == len(buffer)
    assert sorted(told(buffer)) == [(0, 0), (1, 0), (2, 0)]


def test_a_next_record_as_large_as_an_equal_share_is_not_larger():
    """Rings with such records share on in what smaller rings leave: two records each, and one more for the first."""
    pages = filled(numbered(0, 9, 40), numbered(1, 9, 40), *(numbered(number, 1) for number in (2, 3)))
    buffer = bytearray(4 * 40)  # shares of 40; 112 are left for two rings
    assert ring.drain_into(pages, buffer) == 2 * 24 + 2 * 40
    pages = filled(*(numbered(number, 9, 96) for number in (0, 1)), *(numbered(number, 1) for number in range(2, 8)))
    buffer = bytearray(8 * 96)  # shares of 96; 6 * 24 go to the small rings, which leaves shares of 312
    assert ring.drain_into(pages, buffer) == 6 * 24 + 6 * 96
    moved = told(buffer[: 6 * 24 + 6 * 96])
    assert [[i for which, i in moved if which == number] for number in (0, 1)] == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("tails", list(itertools.permutations([0, 800, 8000])))
def test_where_not_all_next_records_fit_the_ring_that_was_read_least_comes_first(tails):
    """A buffer for one of three next records takes that of the ring with the lowest tail, and so for two."""
    for room in (1, 2):
        pages = filled(*(numbered(number, 3, 64) for number in range(3)), tails=tails)
        buffer = bytearray(64 * room)
        assert ring.drain_into(pages, buffer) == len(buffer)
        expected = sorted(range(3), key=lambda number: tails[number])[:room]
        assert told(buffer) == [(number, 0) for number in sorted(expected)]


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
def test_of_rings_that_were_read_equally_far_the_fullest_comes_first(order):
    """Three rings with one, two and three records, and a buffer for one: the ring with three. Of equals, the first."""
    pages = filled(*(numbered(number, number, 64) for number in order))
    buffer = bytearray(64)
    assert ring.drain_into(pages, buffer) == 64
    assert told(buffer) == [(3, 0)]
    pages = filled(*(numbered(number, 2, 64) for number in order))
    assert ring.drain_into(pages, buffer) == 64
    assert told(buffer) == [(order[0], 0)]


def test_a_next_record_that_does_not_fit_does_not_hold_up_a_smaller_one():
    """The ring that was read least has a record larger than the buffer: the other ring's is moved."""
    pages = filled(numbered(0, 2, 200), numbered(1, 2, 64), tails=[0, 800])
    buffer = bytearray(100)
    assert ring.drain_into(pages, buffer) == 64
    assert told(buffer[:64]) == [(1, 0)]


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_left_over_goes_to_the_ring_that_has_most_left(order):
    """What an equal share has taken no longer counts: the rest of the buffer goes to the ring with most bytes left."""
    many_small, few_large = numbered(0, 16, 56), numbered(1, 3, 264)
    pages = filled(*[many_small, few_large][::order])
    buffer = bytearray(1000)  # shares of 500: 8 of 56, 1 of 264; 288 are left
    assert ring.drain_into(pages, buffer) == 8 * 56 + 2 * 264
    assert sorted(told(buffer[: 8 * 56 + 2 * 264])) == [(0, i) for i in range(8)] + [(1, 0), (1, 1)]


def test_nothing_beyond_the_head_is_taken_though_there_is_room():
    """Whole records of an earlier lap lie there, and the buffer has room for one of them."""
    pages = filled(*(numbered(number, 64 * PAGE_SCALE, 64) for number in range(3)))
    for page in pages:
        ring.set_tail(page, (ring.head(page) - 5 * 64) % 2**64)
    last = range(64 * PAGE_SCALE - 5, 64 * PAGE_SCALE)
    buffer = bytearray(950)  # shares of 316: 4 of each; 182 are left, for one more of two
    assert ring.drain_into(pages, buffer) == 14 * 64
    expected = [(0, i) for i in last] + [(1, i) for i in last] + [(2, i) for i in list(last)[:4]]
    assert told(buffer[: 14 * 64]) == expected


@pytest.mark.parametrize("room", [1000, 200])
def test_the_shares_tell_what_was_taken_of_each_ring(room):
    """Programs in C are told, whether all fitted or not."""
    pages = filled(numbered(0, 5), [], numbered(2, 3, 64))
    shares, needed = ffi.new("struct ring_share[]", 3), ffi.new("size_t *")
    pointers = ffi.new("struct perf_event_mmap_page *[]", pages)
    before, buffer = waiting(pages), ffi.new("char[]", room)
    moved = lib.ring_drain(pointers, ffi.new("uint64_t[]", [PAGE_SIZE] * 3), 3, buffer, room, shares, needed)
    taken = [share.taken for share in shares]
    assert taken == ([120, 0, 192] if room == 1000 else [120, 0, 64])
    assert moved == sum(taken)
    assert waiting(pages) == [size - part for size, part in zip(before, taken, strict=True)]


def test_a_buffer_below_every_next_record_is_a_buffer_error():
    """It says what the smallest of them has; nothing is consumed."""
    pages = filled(numbered(0, 2, 64), numbered(1, 2, 48), [])
    before = waiting(pages)
    for room in (0, 1, 47):
        with pytest.raises(BufferError, match=f"the next records have 48 bytes or more, and the buffer {room}"):
            ring.drain_into(pages, bytearray(room))
    assert waiting(pages) == before
    assert ring.drain_into(pages, bytearray(48)) == 48


def test_everything_is_checked_before_anything_is_consumed(event):
    """A page that is gone, one that is read-only, one that is no ring, a list: the good ring keeps its records."""
    good, other = filled(numbered(0, 3), [])
    gone = ring.map(event(**DUMMY), 1)
    ffi.release(gone)
    no_ring = filled([])[0]
    no_ring.data_head = (no_ring.data_tail + 2**30) % 2**64
    with ring.map(event(**DUMMY), 1, overwrite=True) as read_only:
        for bad, error in ((gone, ValueError), (read_only, ValueError), (no_ring, ValueError), ([], TypeError)):
            with pytest.raises(error) as caught:
                ring.drain_into([good, other, bad], bytearray(1000))  # type: ignore[list-item]
            assert caught.value.index == 2  # type: ignore[attr-defined]
    assert waiting([good]) == [3 * 24]
    with pytest.raises(BufferError, match="writable"):
        ring.drain_into([good], b"readonly")
    assert waiting([good]) == [3 * 24]


def test_a_corrupt_header_is_found_where_a_ring_must_be_cut():
    """Which ring it is stands in the error; where all fits, no header is looked at."""
    corrupt = [record(b.PERF_RECORD_LOST, u64(1, 1), size=9), *numbered(1, 20)]
    pages = filled(numbered(0, 20), corrupt)
    with pytest.raises(records.CorruptRecord) as caught:
        ring.drain_into(pages, bytearray(500))
    assert caught.value.index == 1  # type: ignore[attr-defined]
    assert waiting(pages) == [20 * 24, 21 * 24]
    buffer = bytearray(2000)
    size = ring.drain_into(pages, buffer)
    with pytest.raises(records.CorruptRecord) as caught:
        list(records.iterate(buffer[:size]))
    assert caught.value.offset == 20 * 24


def test_no_header_is_looked_at_in_a_buffer_of_exactly_what_waits():
    """A byte less, and the ring must be cut: there the corrupt header is found."""
    corrupt = [record(b.PERF_RECORD_LOST, u64(1, 1), size=9), *numbered(0, 5)]
    pages = filled(corrupt, numbered(1, 2))
    with pytest.raises(records.CorruptRecord):
        ring.drain_into(pages, bytearray(8 * 24 - 1))
    assert ring.drain_into(pages, bytearray(8 * 24)) == 8 * 24
    pages = filled([*numbered(0, 1, 200), corrupt[0]], numbered(1, 1))  # behind a record larger than an equal share
    assert ring.drain_into(pages, bytearray(200 + 2 * 24)) == 200 + 2 * 24


def test_the_raw_function_returns_minus_one():
    """As all of lib: -1 and errno, for a ring that is none, a corrupt header and a buffer that is too small."""
    shares, needed, buffer = ffi.new("struct ring_share[]", 2), ffi.new("size_t *"), ffi.new("char[]", 1000)

    def drain(page, size):
        pages, sizes = ffi.new("struct perf_event_mmap_page *[]", [page]), ffi.new("uint64_t[]", [PAGE_SIZE])
        return lib.ring_drain(pages, sizes, 1, buffer, size, shares, needed), ffi.errno

    (no_ring,) = filled([])
    no_ring.data_head = no_ring.data_tail + 1
    (corrupt,) = filled([record(b.PERF_RECORD_LOST, u64(1, 1), size=9)])
    (good,) = filled(numbered(0, 1))
    assert drain(no_ring, 1000) == (-1, errno.EINVAL)
    assert drain(corrupt, 16) == (-1, errno.EBADMSG)
    assert drain(good, 16) == (-1, errno.ENOBUFS)
    assert needed[0] == 24


def test_a_page_that_goes_between_two_calls_is_noticed(event):
    """Also where a new ring lies at its address, and the list is the same."""
    pages = [ring.map(event(**DUMMY), 1) for _ in range(3)]
    assert ring.drain_into(pages, bytearray(100)) == ring.drain_into(pages, bytearray(100)) == 0
    ffi.release(pages[1])
    with pytest.raises(ValueError, match="the ring was unmapped") as caught:
        ring.drain_into(pages, bytearray(100))
    assert caught.value.index == 1  # type: ignore[attr-defined]
    pages[1] = ring.map(event(**DUMMY), 1)
    assert ring.drain_into(pages, bytearray(100)) == 0
    for page in pages:
        ffi.release(page)


def test_nothing_is_remembered_of_a_page_of_the_callers():
    """Nobody says when its mapping goes, or another takes its place: its size is read in each call."""
    (page,) = filled([])
    assert ring.drain_into([page], bytearray(100)) == 0
    page.data_size = 0
    with pytest.raises(ValueError, match="not a ring that is read forward"):
        ring.drain_into([page], bytearray(100))


def test_what_drain_into_remembers_keeps_no_mapping(event):
    """A page that nobody holds any more is unmapped."""
    pages = [ring.map(event(**DUMMY), 1) for _ in range(2)]
    assert ring.drain_into(pages, bytearray(100)) == 0
    areas = perf_mappings()
    del pages[0]
    assert len(perf_mappings()) == len(areas) - 1
    ffi.release(pages[0])
    assert len(perf_mappings()) == len(areas) - 2


def perf_mappings():
    """Return this process's mappings of perf events, as /proc has them."""
    with open("/proc/self/maps") as maps:
        return [line for line in maps if "[perf_event]" in line]


def test_real_rings_give_what_was_counted(event):
    """Two events of this thread, many calls with a small buffer: every sample once, each ring's in order."""
    fields = {**EVERY_FAULT, "sample_type": b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_STREAM_ID, "exclude_kernel": 1}
    # Not twice the same: of two equal software events, Linux 6.18 writes one's ids into the samples of both.
    configs = b.PERF_COUNT_SW_PAGE_FAULTS, b.PERF_COUNT_SW_PAGE_FAULTS_MIN
    fds = [event(**fields | {"config": config}, disabled=1) for config in configs]
    attr = b.perf_event_attr(**fields)
    pages = [ring.map(fd, 16) for fd in fds]
    for fd in fds:
        ioctls.enable(fd)
    fault(500)
    for fd in fds:
        ioctls.disable(fd)
    expected = [size // 24 for size in waiting(pages)]
    buffer, times = bytearray(PAGE_SIZE // 4), {}
    while size := ring.drain_into(pages, buffer):
        for row in records.parse(buffer[:size], attr):
            times.setdefault(row.stream_id, []).append(row.time)
    assert [len(times[ioctls.id(fd)]) for fd in fds] == expected
    assert min(expected) >= 500
    assert all(found == sorted(found) for found in times.values())
    for page in pages:
        ffi.release(page)

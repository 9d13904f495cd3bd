"""counters.read_into of groups, and what C makes of bytes that are no group."""

import pytest
from support.counts import fields, packed, pipe

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, lib

GROUP = b.PERF_FORMAT_GROUP | b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_ID
TWO, ONE, THREE = ([(10 * size + n, size, 0) for n in range(size)] for size in (2, 1, 3))
COUNTS = [(value, 5, 0, identity, 0) for value, identity, _ in (*TWO, *ONE, *THREE)]


@pytest.fixture
def groups():
    """Three files, whose reads are those of groups of two, one and three members."""
    with (
        pipe(packed(GROUP, TWO, 5, 0)) as two,
        pipe(packed(GROUP, ONE, 5, 0)) as one,
        pipe(packed(GROUP, THREE, 5, 0)) as three,
    ):
        yield [two, one, three]


@pytest.mark.parametrize("room", [6, 7])
def test_groups_are_read_one_behind_the_other(groups, room):
    """Each fills as many elements as it has members; elements behind the last are left alone."""
    out = ffi.new("struct perf_counts[]", room)
    assert counters.read_into(groups, GROUP, out) == 6
    assert [fields(one) for one in out] == COUNTS + [(0,) * 5] * (room - 6)


@pytest.mark.parametrize("room", range(6))
def test_too_few_elements_for_groups_are_a_buffer_error(groups, room):
    """The groups before the one that finds no room are there."""
    out = ffi.new("struct perf_counts[]", room)
    with pytest.raises(BufferError, match=f"{room} elements are too few"):
        counters.read_into(groups, GROUP, out)
    assert [fields(one) for one in out[0:room]] == COUNTS[:room]


def test_a_group_at_its_end_is_named(groups):
    """EOFError has its index; the counts of the groups before it are there."""
    out = ffi.new("struct perf_counts[]", 6)
    with pipe() as ended, pytest.raises(EOFError, match=rf"read of event {ended}\b") as caught:
        counters.read_into([groups[0], ended, groups[1]], GROUP, out)
    assert caught.value.index == 1  # type: ignore[attr-defined]
    assert [fields(one) for one in out[0:2]] == COUNTS[:2]


def test_a_group_that_cannot_be_read_is_named(groups, closed_fd):
    """OSError of the kernel's, and ValueError for bytes that are no group, have the index."""
    out = ffi.new("struct perf_counts[]", 6)
    with pytest.raises(OSError, match=rf"read of event {closed_fd}\b") as caught:
        counters.read_into([groups[0], closed_fd], GROUP, out)
    assert caught.value.index == 1  # type: ignore[attr-defined]
    with pipe(b"12345678") as other, pytest.raises(ValueError, match="read_format") as wrong:
        counters.read_into([groups[1], groups[2], other], GROUP, out)
    assert wrong.value.index == 2  # type: ignore[attr-defined]


def test_a_read_format_of_the_future_reads_nothing(groups):
    """It is refused before the first read(2): the counts can still be read."""
    out = ffi.new("struct perf_counts[]", 6)
    with pytest.raises(ValueError, match="read_format") as caught:
        counters.read_into(groups, GROUP | b.PERF_FORMAT_MAX, out)
    assert caught.value.index == 0  # type: ignore[attr-defined]
    assert counters.read_into(groups, GROUP, out) == 6


def test_a_read_of_many_that_fails_returns_minus_one():
    """As every function of lib that fails."""
    out, failed = ffi.new("struct perf_counts[]", 1), ffi.new("size_t *", 9)
    assert lib.counters_read_many([-1], 1, GROUP, out, 1, failed) == -1
    assert failed[0] == 0
    failed[0] = 9
    assert lib.counters_read_many([-1], 1, b.PERF_FORMAT_MAX, out, 1, failed) == -1
    assert failed[0] == 0


@pytest.mark.parametrize(
    ("words", "nr"),
    [
        ((1, 5, 7, 8), 1),
        ((1, 5, 7, 8, 0, 0), 1),
        ((1, 5, 7, 8, 0, 1), -1),
        ((1, 5, 7), -1),
        ((1, 5), -1),
        ((1,), -1),
        ((0, 5), -1),
        ((2, 5, 7, 8), -1),
        ((2, 5, 7, 8, 9, 10), 2),
        ((2**61, 5, 7, 8), -1),
        ((2**63 + 1, 5, 7, 8), -1),
    ],
)
def test_only_whole_groups_are_taken(words, nr):
    """A group has its times, and as many members as it says, and behind them zeroes at most."""
    data, out = ffi.new("uint64_t[]", words), ffi.new("struct perf_counts[]", 2)
    assert lib.counters_parse(data, ffi.sizeof(data), GROUP, out, 2) == nr


def test_the_largest_group_is_read_whole(tmp_path):
    """perf_event_open(2) refuses groups whose read would have more than 16 KiB."""
    members = [(n, 1, 0) for n in range((16 * 1024 - 16) // 16)]
    out = ffi.new("struct perf_counts[]", len(members))
    with open(tmp_path / "group", "wb+", buffering=0) as file:  # a pipe gives 4 KiB at a time
        file.write(packed(GROUP, members, 5, 0))
        file.seek(0)
        assert counters.read_into([file.fileno()], GROUP, out) == len(members)
    assert [one.value for one in out] == [value for value, _, _ in members]

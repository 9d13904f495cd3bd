"""Counting: read formats, groups, many files at once."""

import array
import contextlib
import errno
import gc
import itertools
import os
import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.counts import fields, packed, pipe
from support.events import DUMMY, FAULTS, PAGE_FAULTS
from support.marks import needs_events
from support.workloads import fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, ioctls, lib, perf_event_attr, perf_event_open

FORMATS = range(b.PERF_FORMAT_MAX)
WORD = st.integers(0, 2**64 - 1)


def format_id(read_format):
    """The names of a read_format's bits, for a test's id."""
    names = ("ENABLED", "RUNNING", "ID", "GROUP", "LOST")
    return "|".join(name for bit, name in enumerate(names) if read_format >> bit & 1) or "value"


every_format = pytest.mark.parametrize("read_format", FORMATS, ids=format_id)


def unpacked(read_format, members, enabled, running):
    """What counters.read must make of it: what the format lacks is 0."""
    return [
        (
            value,
            enabled if read_format & b.PERF_FORMAT_TOTAL_TIME_ENABLED else 0,
            running if read_format & b.PERF_FORMAT_TOTAL_TIME_RUNNING else 0,
            identity if read_format & b.PERF_FORMAT_ID else 0,
            lost if read_format & b.PERF_FORMAT_LOST else 0,
        )
        for value, identity, lost in members
    ]


def with_format(event, read_format, **attr):
    """Open an event of this read_format, or skip where the kernel is too old for PERF_FORMAT_LOST."""
    try:
        return event(read_format=read_format, **attr)
    except OSError as error:
        if error.errno == errno.EINVAL and read_format & b.PERF_FORMAT_LOST:
            pytest.skip("the kernel has no PERF_FORMAT_LOST (Linux 6.0)")
        raise


def test_read_returns_the_events_count(event):
    """A counter that counted 100 page faults reads at least 100, and not many more."""
    fd = event(**PAGE_FAULTS, disabled=1)
    ioctls.enable(fd)
    fault(100)
    ioctls.disable(fd)
    [counts] = counters.read(fd)
    assert 100 <= counts.value < 150


@every_format
def test_read_takes_every_format_of_a_real_event(event, read_format):
    """Alone or with PERF_FORMAT_GROUP, each of the 32 formats gives the event's own values, in its own fields."""
    leader = with_format(event, read_format, **PAGE_FAULTS, disabled=1)
    fds = [leader]
    if read_format & b.PERF_FORMAT_GROUP:
        fds += [event(**DUMMY, read_format=read_format, group_fd=leader) for _ in range(2)]
    ioctls.enable(leader)
    fault(100)
    ioctls.disable(leader)
    group = counters.read(leader, read_format)
    assert len(group) == len(fds)
    assert 100 <= group[0].value < 150
    for fd, counts in zip(fds, group, strict=True):
        assert (counts.time_enabled > 0) == bool(read_format & b.PERF_FORMAT_TOTAL_TIME_ENABLED)
        assert (counts.time_running > 0) == bool(read_format & b.PERF_FORMAT_TOTAL_TIME_RUNNING)
        assert counts.id == (ioctls.id(fd) if read_format & b.PERF_FORMAT_ID else 0)
        assert counts.lost == 0
    assert [counts.value for counts in group[1:]] == [0] * (len(fds) - 1)


@every_format
def test_read_puts_every_word_of_every_format_in_its_field(read_format):
    """Of numbers that are all different, each arrives in its field: one event, and groups of one and of five."""
    words = itertools.count(2**63)
    sizes = (1, 5) if read_format & b.PERF_FORMAT_GROUP else (1,)
    for size in sizes:
        members = [(next(words), next(words), next(words)) for _ in range(size)]
        times = next(words), next(words)
        message = packed(read_format, members, *times)
        with pipe(message, message) as fd:  # a group is read once for its size, once for its counts
            assert [fields(c) for c in counters.read(fd, read_format)] == unpacked(read_format, members, *times)


def test_read_gives_the_records_that_a_full_ring_lost(event, ring):
    """PERF_FORMAT_LOST counts the samples for which the ring had no place."""
    fd = with_format(event, b.PERF_FORMAT_LOST, **FAULTS, disabled=1)
    samples = ring(fd, 1)
    ioctls.enable(fd)
    fault(500)
    ioctls.disable(fd)
    [counts] = counters.read(fd, b.PERF_FORMAT_LOST)
    assert counts.lost == counts.value - len(samples.samples())
    assert counts.lost > 200


@needs_events
@pytest.mark.parametrize(
    "read_format",
    [b.PERF_FORMAT_GROUP, FORMATS[-1] & ~b.PERF_FORMAT_LOST],
    ids=format_id,
)
@pytest.mark.parametrize("size", [75, None], ids=["75 members", "as many as the kernel takes"])
def test_a_group_of_any_size_is_read_whole(read_format, size):
    """The caller does not say how large the group is; it is read up to the kernel's own limit, 16 KiB of counts."""
    with large_group(read_format, size) as group:
        counts = counters.read(group[0], read_format)
        assert len(group) == size or len(group) > 600
        assert [c.id for c in counts] == [ioctls.id(fd) if read_format & b.PERF_FORMAT_ID else 0 for fd in group]


@contextlib.contextmanager
def large_group(read_format, size):
    """Open *size* dummy events in one group, or as many as the kernel takes; close them at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    group = []
    try:
        while size is None or len(group) < size:
            attr = perf_event_attr(**DUMMY, read_format=read_format, exclude_kernel=1)
            try:
                group.append(perf_event_open(attr, group_fd=group[0] if group else -1))
            except OSError as error:
                if error.errno == errno.EMFILE:
                    pytest.skip(f"RLIMIT_NOFILE allows {hard} files, too few for the largest group")
                if size or error.errno not in (errno.E2BIG, errno.ENOSPC):
                    raise
                break
        yield group
    finally:
        for fd in group:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_elements_outlive_the_list(event):
    """Each element owns its memory: its values stay when the list and the other elements are gone."""
    read_format = b.PERF_FORMAT_GROUP | b.PERF_FORMAT_ID
    leader = event(**DUMMY, read_format=read_format)
    sibling = event(**DUMMY, read_format=read_format, group_fd=leader)
    element = counters.read(leader, read_format)[1]
    gc.collect()
    others = [ffi.new("struct perf_counts[]", 2) for _ in range(1000)]  # in the place of a freed one
    assert fields(element) == (0, 0, 0, ioctls.id(sibling), 0)
    del others


def test_end_of_file_is_an_error_and_says_why():
    """A pinned event without its place reads as end of file, as does a closed pipe: EOFError, never a value."""
    with pipe() as fd, pytest.raises(EOFError, match=rf"read of event {fd}\b.*pinned"):
        counters.read(fd)
    with pipe() as fd, pytest.raises(EOFError, match=rf"read of event {fd}\b.*pinned"):
        counters.read(fd, b.PERF_FORMAT_GROUP)


def test_a_group_that_ends_between_two_reads_is_an_end_of_file():
    """A group is read for its size, then whole: what the second read(2) says counts."""
    group = packed(b.PERF_FORMAT_GROUP, [(1, 0, 0)] * 2, 0, 0)
    with pipe(group) as fd, pytest.raises(EOFError, match=rf"read of event {fd}\b"):
        counters.read(fd, b.PERF_FORMAT_GROUP)
    with pipe(group, b"12345678") as fd, pytest.raises(ValueError, match=rf"read_format 0x8 .* event {fd}\b"):
        counters.read(fd, b.PERF_FORMAT_GROUP)


def test_a_group_that_grows_or_shrinks_between_two_reads_is_read_whole():
    """Members that join meanwhile are in the result, and those that go are not."""
    small, large = ([(n, 0, 0) for n in range(size)] for size in (2, 5))
    messages = [packed(b.PERF_FORMAT_GROUP, members, 0, 0) for members in (small, large, large)]
    with pipe(*messages) as fd:
        assert [counts.value for counts in counters.read(fd, b.PERF_FORMAT_GROUP)] == [0, 1, 2, 3, 4]
    with pipe(messages[1], packed(b.PERF_FORMAT_GROUP, small[:1], 0, 0)) as fd:
        assert [counts.value for counts in counters.read(fd, b.PERF_FORMAT_GROUP)] == [0]


def test_a_format_that_is_not_the_events_is_refused(event):
    """What was read has another size than the format says: ValueError, not numbers in the wrong fields."""
    fd = event(**DUMMY, read_format=b.PERF_FORMAT_ID)
    for read_format in (0, FORMATS[-1], b.PERF_FORMAT_GROUP, b.PERF_FORMAT_MAX | b.PERF_FORMAT_ID, 2**63):
        with pytest.raises(ValueError, match=rf"{read_format:#x}.*event {fd}\b"):
            counters.read(fd, read_format)


def test_closed_file_is_ebadf(closed_fd):
    """A descriptor that is not open is an OSError with the call's name."""
    with pytest.raises(OSError, match=f"read of event {closed_fd}") as caught:
        counters.read(closed_fd)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("fd", [None, "3", 1.5], ids=repr)
def test_read_takes_an_int(fd):
    """Anything else for a descriptor is a TypeError."""
    with pytest.raises(TypeError):
        counters.read(fd)


@pytest.mark.parametrize("read_format", [-1, 2**64])
def test_a_format_that_is_no_u64_is_refused(event, read_format):
    """A read_format that its C type does not hold is an OverflowError."""
    with pytest.raises(OverflowError):
        counters.read(event(**DUMMY), read_format)


SEQUENCES = {
    "list": list,
    "tuple": tuple,
    "array": lambda fds: array.array("i", fds),
    "int[]": lambda fds: ffi.new("int[]", fds),
}


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
def test_read_into_fills_one_element_per_event(event, sequence):
    """Eight events, in their order, from whatever sequence names them; elements beyond stay as they were."""
    fds = [event(**DUMMY, read_format=b.PERF_FORMAT_ID) for _ in range(8)]
    out = ffi.new("struct perf_counts[]", 10)
    out[8].id = 77
    assert counters.read_into(sequence(fds), b.PERF_FORMAT_ID, out) == 8
    assert [counts.id for counts in out] == [*(ioctls.id(fd) for fd in fds), 77, 0]


def test_read_into_fills_one_element_per_member(event):
    """Groups of two and of three fill five elements."""
    read_format = b.PERF_FORMAT_GROUP | b.PERF_FORMAT_ID
    leaders, ids = [], []
    for size in (2, 3):
        leaders.append(event(**DUMMY, read_format=read_format))
        siblings = [event(**DUMMY, read_format=read_format, group_fd=leaders[-1]) for _ in range(size - 1)]
        ids += [ioctls.id(fd) for fd in (leaders[-1], *siblings)]
    out = ffi.new("struct perf_counts[]", 5)
    assert counters.read_into(leaders, read_format, out) == 5
    assert [counts.id for counts in out] == ids


def test_read_into_of_nothing_is_nothing():
    """No files: no elements, and none is written."""
    assert counters.read_into([], 0, ffi.new("struct perf_counts[]", 0)) == 0


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
def test_read_into_names_the_first_file_that_fails(event, closed_fd, sequence):
    """The third of four is closed: it is in the message."""
    fds = [event(**DUMMY), event(**DUMMY), closed_fd, -1]
    with pytest.raises(OSError, match=f"read of event {closed_fd}") as caught:
        counters.read_into(sequence(fds), 0, ffi.new("struct perf_counts[]", 4))
    assert caught.value.errno == errno.EBADF


def test_read_into_names_the_first_file_at_its_end(event):
    """An end of file among them is EOFError, and names the event."""
    with pipe() as fd, pytest.raises(EOFError, match=rf"read of event {fd}\b"):
        counters.read_into([event(**DUMMY), fd], 0, ffi.new("struct perf_counts[]", 2))


def test_read_into_names_the_first_file_of_another_format(event):
    """A format that one of the events does not have is a ValueError that names it."""
    other = event(**DUMMY, read_format=b.PERF_FORMAT_ID)
    with pytest.raises(ValueError, match=rf"event {other}\b"):
        counters.read_into([event(**DUMMY), other], 0, ffi.new("struct perf_counts[]", 2))


def test_read_into_of_too_little_room_is_a_buffer_error(event):
    """Too few elements for the events, or for the members of a group: BufferError, nothing written beyond."""
    leader = event(**DUMMY, read_format=b.PERF_FORMAT_GROUP)
    event(**DUMMY, read_format=b.PERF_FORMAT_GROUP, group_fd=leader)
    for fds, read_format, room in (([event(**DUMMY)] * 3, 0, 2), ([leader], b.PERF_FORMAT_GROUP, 1), ([leader], 8, 0)):
        with pytest.raises(BufferError):
            counters.read_into(fds, read_format, ffi.new("struct perf_counts[]", room))


def test_read_into_takes_an_array_of_counts(event):
    """None, a list or an array of something else is a TypeError."""
    fd = event(**DUMMY)
    for out in (None, [None], ffi.new("int[]", 4), ffi.new("struct perf_event_attr[]", 1)):
        with pytest.raises(TypeError):
            counters.read_into([fd], 0, out)  # type: ignore[arg-type]
    for fds in (None, fd, [None], ["3"], ffi.new("long[]", 1)):
        with pytest.raises(TypeError):
            counters.read_into(fds, 0, ffi.new("struct perf_counts[]", 1))  # type: ignore[arg-type]


def test_read_into_refuses_a_number_that_is_no_descriptor():
    """An fd that no C int holds is an OverflowError."""
    with pytest.raises(OverflowError):
        counters.read_into([2**31], 0, ffi.new("struct perf_counts[]", 1))


@settings(max_examples=500)
@given(
    read_format=st.integers(0, b.PERF_FORMAT_MAX - 1),
    members=st.lists(st.tuples(WORD, WORD, WORD), min_size=1, max_size=9),
    times=st.tuples(WORD, WORD),
    room=st.integers(0, 10),
)
def test_parse_decodes_what_the_kernel_packs(read_format, members, times, room):
    """counters_parse fills as many elements as there is room for, and says how many there are."""
    if not read_format & b.PERF_FORMAT_GROUP:
        members = members[:1]
    data = packed(read_format, members, *times)
    out = ffi.new("struct perf_counts[]", 11)
    assert lib.counters_parse(ffi.from_buffer(data), len(data), read_format, out, room) == len(members)
    filled = [fields(counts) for counts in out]
    expected = unpacked(read_format, members, *times)[:room]
    assert filled == expected + [(0, 0, 0, 0, 0)] * (11 - len(expected))


def test_parse_takes_zeroes_behind_a_group():
    """Linux 6.1 reads a sibling in the size of the group that it was in; anything else behind the members is EBADMSG."""
    group = packed(b.PERF_FORMAT_GROUP, [(7, 0, 0)], 0, 0)
    out = ffi.new("struct perf_counts[]", 1)
    for rest, nr in ((bytes(16), 1), (bytes(8) + b"\1" + bytes(7), -1)):
        data = group + rest
        assert lib.counters_parse(ffi.from_buffer(data), len(data), b.PERF_FORMAT_GROUP, out, 1) == nr
        assert out[0].value == 7


@settings(max_examples=500)
@given(data=st.binary(max_size=200), read_format=st.one_of(st.integers(0, 40), WORD))
def test_parse_of_any_bytes_is_a_count_or_an_error(data, read_format):
    """Bytes that the format does not describe are EBADMSG; nothing is read or written out of bounds."""
    out = ffi.new("struct perf_counts[]", 26)
    nr = lib.counters_parse(ffi.from_buffer(data), len(data), read_format, out, 25)
    if nr < 0:
        assert ffi.errno == errno.EBADMSG
    if nr > 0:
        members = [(counts.value, counts.id, counts.lost) for counts in out[0:nr]]
        whole = packed(read_format, members, out[0].time_enabled, out[0].time_running)
        assert data.startswith(whole)
        assert not any(data[len(whole) :])
    assert fields(out + 25) == (0, 0, 0, 0, 0)


def test_a_read_format_of_the_future_is_refused():
    """With the first bit that these headers do not know, it is not known what the bytes mean."""
    data, out = ffi.new("uint64_t[]", [5]), ffi.new("struct perf_counts *")
    assert lib.counters_parse(data, 8, 0, out, 1) == 1
    assert lib.counters_parse(data, 8, b.PERF_FORMAT_MAX, out, 1) == -1

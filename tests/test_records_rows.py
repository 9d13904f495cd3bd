"""Every record a row: the side-band beside the samples, in one pass, and rows in the order of time."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.encode import encode_trailer, record, u64
from support.record_bodies import BODIES, kind_of

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, lib, perf_event_attr, records

WHOLE = (
    b.PERF_SAMPLE_TID
    | b.PERF_SAMPLE_TIME
    | b.PERF_SAMPLE_ID
    | b.PERF_SAMPLE_STREAM_ID
    | b.PERF_SAMPLE_CPU
    | b.PERF_SAMPLE_IDENTIFIER
)
VALUES = {"pid": 1, "tid": 2, "time": 3, "id": 4, "stream_id": 5, "cpu": 6}
TRAILER_FIELDS = tuple(VALUES)
OTHERS = [tag for tag in BODIES if tag != "sample"]
SWITCH = record(b.PERF_RECORD_SWITCH)


def whole_attr(**fields):
    """Return an attr whose samples have an id first, and whose records have all six fields behind."""
    return perf_event_attr(**{"sample_type": WHOLE, "sample_id_all": 1} | fields)


def fields_of(row, names=TRAILER_FIELDS):
    """Return what a row says, by field."""
    return {name: getattr(row, name) for name in names}


@pytest.mark.parametrize("tag", OTHERS)
def test_a_record_that_is_no_sample_is_a_row_with_its_trailer(tag):
    """Header and trailer are in the row; at() gives the record itself."""
    body, misc, fields = BODIES[tag]
    attr = whole_attr()
    one = record(kind_of(tag), body + encode_trailer(attr, VALUES), misc)
    buffer = one + one
    rows = records.parse(buffer, attr, all_records=True)
    assert [(row.type, row.offset, row.size, row.misc) for row in rows] == [
        (kind_of(tag), offset, len(one), misc) for offset in (0, len(one))
    ]
    assert [fields_of(row) for row in rows] == [VALUES] * 2
    found = records.at(buffer, rows[1].offset)
    assert ffi.typeof(found).cname == f"struct perf_record_{tag} *"
    assert {name: getattr(found, name) for name in fields} == fields
    assert fields_of(records.sample_id(found, attr)) == VALUES


def test_rows_are_in_the_order_of_the_buffer_and_samples_are_what_they_were():
    """The rows of type SAMPLE are those of a parse without side-band."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CALLCHAIN, sample_id_all=1)
    side = record(b.PERF_RECORD_COMM, u64(1) + b"name\0\0\0\0" + u64(77))
    parts = [record(b.PERF_RECORD_SAMPLE, u64(n, n % 5, *range(n % 5))) if n % 3 else side for n in range(60)]
    buffer = b"".join(parts)
    rows, samples = records.parse(buffer, attr, all_records=True), records.parse(buffer, attr)
    assert [row.offset for row in rows] == [sum(map(len, parts[:n])) for n in range(60)]
    assert [row.time for row in rows] == [n if n % 3 else 77 for n in range(60)]
    of_samples = [bytes(ffi.buffer(row)) for row in rows if row.type == b.PERF_RECORD_SAMPLE]
    assert of_samples == [bytes(ffi.buffer(row)) for row in samples]
    assert [list(records.callchain(buffer, row)) for row in rows[1:3]] == [[0], [0, 1]]


def test_records_without_a_trailer_say_0():
    """Perf's own types, and all records of an attr without sample_id_all."""
    buffer = record(68) + record(81, b"12345") + record(b.PERF_RECORD_LOST, u64(1, 2, 99))
    rows = records.parse(buffer, whole_attr(sample_id_all=0), all_records=True)
    assert [(row.type, row.size) for row in rows] == [(68, 8), (81, 13), (b.PERF_RECORD_LOST, 32)]
    assert [fields_of(row) for row in rows] == [dict.fromkeys(VALUES, 0)] * 3
    only_time = perf_event_attr(sample_type=b.PERF_SAMPLE_TIME, sample_id_all=1)
    assert [row.time for row in records.parse(buffer, only_time, all_records=True)] == [0, 0, 99]


def test_the_first_of_perfs_own_types_has_no_trailer():
    """Type 64, PERF_RECORD_HEADER_ATTR: its last 48 bytes are no trailer, though the attr has sample_id_all."""
    [row] = records.parse(record(64, u64(*range(1, 7))), whole_attr(), all_records=True)
    assert fields_of(row) == dict.fromkeys(VALUES, 0)


def test_a_record_may_have_nothing_but_a_trailer_with_an_id():
    """A SWITCH of 16 bytes, the last 8 of which are the id that selects the event."""
    attrs = {identity: whole_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER) for identity in (3, 4)}
    [row] = records.parse(record(b.PERF_RECORD_SWITCH, u64(4)), attrs, all_records=True)
    assert row.id == 4
    with pytest.raises(records.CorruptRecord):
        records.parse(SWITCH, attrs, all_records=True)


def test_the_bytes_before_the_buffer_do_not_matter():
    """A record is judged by its own bytes: here the 64 zero bytes before the buffer would make it sound."""
    bad = record(b.PERF_RECORD_NAMESPACES, u64(1, 2**63))
    buffer = memoryview(bytes(64) + SWITCH + bad)[64:]
    with pytest.raises(records.CorruptRecord) as caught:
        records.parse(buffer, whole_attr(sample_id_all=0), all_records=True)
    assert caught.value.offset == len(SWITCH)


def test_rows_are_counted_exactly():
    """lib.records_count counts samples, lib.records_count_all every record, both up to a corrupt one."""
    sample = record(b.PERF_RECORD_SAMPLE, u64(1))
    for buffer, samples, rows in ((b"", 0, 0), (SWITCH, 0, 1), (sample + SWITCH + sample + bytes(8) + sample, 2, 3)):
        assert (lib.records_count(buffer, len(buffer)), lib.records_count_all(buffer, len(buffer))) == (samples, rows)


def test_the_sizes_of_perfs_own_types_need_not_be_multiples_of_8():
    """Records of perf's own types may have any size, for iterate() and for rows; those of the kernel's types may not."""
    buffer = record(81, b"12345") + record(80, b"1") + record(b.PERF_RECORD_LOST, u64(1, 2))
    assert [one.header.type for one in records.iterate(buffer)] == [81, 80, b.PERF_RECORD_LOST]
    [unknown, *_] = records.iterate(buffer)
    assert bytes(unknown.data[0:5]) == b"12345"  # type: ignore[attr-defined]
    for parse in (
        lambda bad: records.parse(bad, whole_attr(), all_records=True),
        lambda bad: list(records.iterate(bad)),
    ):
        with pytest.raises(records.CorruptRecord):
            parse(record(63, b"12345"))


def test_several_events_read_each_trailer_by_its_own_attr():
    """An id that is 0, or of no event given, is read by the first attr, and the row's id says so."""
    few = b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_TIME
    attrs = {7: whole_attr(sample_type=few), 9: whole_attr(sample_type=few | b.PERF_SAMPLE_TID)}
    long_one = record(b.PERF_RECORD_LOST, u64(0, 0) + encode_trailer(attrs[9], VALUES | {"id": 9}))
    short_ones = [record(b.PERF_RECORD_LOST, u64(0, 0, 33, identity)) for identity in (7, 0, 12345)]
    rows = records.parse(long_one + b"".join(short_ones), attrs, all_records=True)
    assert [(row.id, row.tid, row.time) for row in rows] == [(9, 2, 3), (7, 0, 33), (0, 0, 33), (12345, 0, 33)]
    with pytest.raises(ValueError, match="has an id that is none of the given events'"):
        records.parse(record(b.PERF_RECORD_SAMPLE, u64(12345, 33)), attrs, all_records=True)


def test_trailers_with_their_ids_at_different_places_are_a_value_error():
    """PERF_SAMPLE_ID alone lies before CPU and STREAM_ID in the trailer; without trailers it is no matter."""
    base = b.PERF_SAMPLE_ID | b.PERF_SAMPLE_TIME
    attrs = {1: whole_attr(sample_type=base), 2: whole_attr(sample_type=base | b.PERF_SAMPLE_CPU)}
    assert len(records.parse(SWITCH, attrs)) == 0
    with pytest.raises(ValueError, match="their ids at different places"):
        records.parse(SWITCH, attrs, all_records=True)
    for attr in attrs.values():
        attr.sample_id_all = 0
    assert len(records.parse(SWITCH, attrs, all_records=True)) == 1


@pytest.mark.parametrize("tag", OTHERS)
def test_a_record_too_short_for_its_trailer_is_corrupt(tag):
    """What comes before it is delivered, by parse and by parse_into."""
    body, misc, _ = BODIES[tag]
    attr = whole_attr()
    good = record(b.PERF_RECORD_LOST, u64(1, 2) + encode_trailer(attr, VALUES))
    fixed = ffi.sizeof(f"struct perf_record_{tag}") - 8  # type: ignore[arg-type]
    bad = record(kind_of(tag), (body[:fixed] + bytes(48))[: fixed + 40], misc)
    with pytest.raises(records.CorruptRecord) as caught:
        records.parse(good + bad + good, attr, all_records=True)
    assert (caught.value.offset, caught.value.n_samples) == (len(good), 1)
    assert [fields_of(row) for row in caught.value.samples] == [VALUES]
    out = ffi.new("struct perf_sample[]", 3)
    with pytest.raises(records.CorruptRecord):
        records.parse_into(good + bad, attr, out, all_records=True)
    assert fields_of(out[0]) == VALUES


def test_what_iterate_refuses_rows_refuse():
    """A count inside of a record that goes beyond it, among good ones."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_TIME)
    for bad in (
        record(b.PERF_RECORD_NAMESPACES, u64(1, 2**63)),
        record(b.PERF_RECORD_CALLCHAIN_DEFERRED, u64(1, 2, 3)),
        record(b.PERF_RECORD_LOST, u64(1)),
        record(b.PERF_RECORD_SWITCH, size=4),
        record(70, size=7),
    ):
        with pytest.raises(records.CorruptRecord) as caught:
            records.parse(SWITCH + bad, attr, all_records=True)
        assert caught.value.offset == 8
        with pytest.raises(records.CorruptRecord):
            list(records.iterate(SWITCH + bad))


def test_parse_into_stops_where_out_is_full():
    """parse_into with all_records stops when *out* is full, and the next call begins with the next record of any type."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_TIME, sample_id_all=1)
    buffer = b"".join(record(b.PERF_RECORD_SWITCH, u64(n)) for n in range(5))
    out, times = ffi.new("struct perf_sample[]", 2), []
    while buffer:
        n, consumed = records.parse_into(buffer, attr, out, all_records=True)
        times += [row.time for row in out[0:n]]
        buffer = buffer[consumed:]
    assert times == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("offset", [-1, 1, 4, 16, 24, 2**32, 2**70])
def test_at_an_offset_without_a_record_is_a_corrupt_record(offset):
    """Before the buffer, inside of a record whose bytes are none, at the end and beyond."""
    with pytest.raises(records.CorruptRecord) as caught:
        records.at(record(b.PERF_RECORD_LOST, u64(1, 2)), offset)
    assert caught.value.offset == offset


def test_at_keeps_the_buffer_alive():
    """A record from at() keeps the buffer alive, as one from iterate() does."""
    buffer = bytearray(record(b.PERF_RECORD_LOST, u64(1, 2)))
    found = records.at(buffer, 0)
    with pytest.raises(BufferError):
        buffer.clear()
    assert (found.id, found.lost) == (1, 2)  # type: ignore[attr-defined]


def rows_of(times):
    """Return a row for each time, numbered by its ``ip``."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TIME)
    buffer = b"".join(record(b.PERF_RECORD_SAMPLE, u64(n, time)) for n, time in enumerate(times))
    return records.parse(buffer, attr)


def in_order(times):
    """Return what Python's stable sort makes of the numbered times."""
    return sorted(enumerate(times), key=lambda pair: pair[1])


@given(st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=60))
def test_sort_by_time_is_stable(times):
    """Rows of equal time keep their order, however many sorted runs the array consists of."""
    rows = rows_of(times)
    rows.sort_by_time()
    assert [(row.ip, row.time) for row in rows] == in_order(times)


@pytest.mark.parametrize("n_rings", [1, 2, 3, 64])
def test_sort_by_time_merges_rings(n_rings):
    """Runs of unequal length, each in order, with times that several have."""
    rng = random.Random(n_rings)
    times = [time for _ in range(n_rings) for time in sorted(rng.choices(range(5000), k=rng.randrange(1, 200)))]
    rows = rows_of(times)
    rows.sort_by_time()
    assert [(row.ip, row.time) for row in rows] == in_order(times)


def test_sort_by_time_is_in_place():
    """The array, elements and slices of it see the new order; a slice sorts its own part."""
    rows = rows_of([5, 4, 3, 2, 1])
    element, array = rows[0], rows.cdata
    rows[1:4].sort_by_time()
    assert [row.time for row in rows] == [5, 2, 3, 4, 1]
    rows.sort_by_time()
    assert (element.time, rows.cdata) == (1, array)
    assert [row.ip for row in rows] == [4, 3, 2, 1, 0]


def test_sort_by_time_of_few_rows():
    """Sorting no rows, or one, changes nothing."""
    for times in ([], [7]):
        rows = rows_of(times)
        rows.sort_by_time()
        assert [row.time for row in rows] == times

"""Bytes that are no records: refused with their offset, and never read beyond."""

import contextlib
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.encode import (
    encode_sample,
    record,
    u64,
)
from support.samples import (
    GOOD,
    PLAIN,
    REPEATABLE,
    SAMPLE,
    ips,
    random_values,
)

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_event_attr, records

NAMED = (b.PERF_RECORD_MMAP, b.PERF_RECORD_MMAP2, b.PERF_RECORD_COMM, b.PERF_RECORD_KSYMBOL, b.PERF_RECORD_CGROUP)
HUGE = 2**63
BAD_SIZES = {
    "size-0": record(SAMPLE, u64(1), size=0),
    "size-7": record(SAMPLE, u64(1), size=7),
    "size-no-multiple-of-8": record(SAMPLE, u64(1, 2), size=12),
    "size-beyond": record(SAMPLE, u64(1), size=24),
    "size-largest": record(SAMPLE, u64(1), size=65528),
    "half-a-header": record(SAMPLE)[:4],
}
# What the attr asks for, and a body that is no sample of it.
BAD_BODIES = {
    "no-body": ({"sample_type": b.PERF_SAMPLE_IP}, b""),
    "body-too-long": ({"sample_type": b.PERF_SAMPLE_IP}, u64(1, 2)),
    "callchain-without-nr": ({"sample_type": b.PERF_SAMPLE_CALLCHAIN}, b""),
    "callchain-nr-1-beyond": ({"sample_type": b.PERF_SAMPLE_CALLCHAIN}, u64(3, 1, 2)),
    "callchain-nr-wraps": ({"sample_type": b.PERF_SAMPLE_CALLCHAIN}, u64(2**61, 1)),
    "callchain-nr-wraps-to-what-fits": ({"sample_type": b.PERF_SAMPLE_CALLCHAIN}, u64(2**61 + 1, 1)),
    "callchain-nr-largest": ({"sample_type": b.PERF_SAMPLE_CALLCHAIN}, u64(2**64 - 1, 1)),
    "callchain-nr-low-half-fits": ({"sample_type": b.PERF_SAMPLE_CALLCHAIN}, u64(2**32 + 1, 1)),
    "branches-beyond": ({"sample_type": b.PERF_SAMPLE_BRANCH_STACK}, u64(1, 1, 2)),
    "branches-wrap": ({"sample_type": b.PERF_SAMPLE_BRANCH_STACK}, u64(2**64 // 24 + 1, 1, 2, 3)),
    "branches-nr-2^63": ({"sample_type": b.PERF_SAMPLE_BRANCH_STACK}, u64(HUGE)),
    "branches-without-hw-idx": (
        {"sample_type": b.PERF_SAMPLE_BRANCH_STACK, "branch_sample_type": b.PERF_SAMPLE_BRANCH_HW_INDEX},
        u64(1, 1, 2, 3),
    ),
    "branches-without-counters": (
        {"sample_type": b.PERF_SAMPLE_BRANCH_STACK, "branch_sample_type": b.PERF_SAMPLE_BRANCH_COUNTERS},
        u64(1, 1, 2, 3),
    ),
    "raw-without-length": ({"sample_type": b.PERF_SAMPLE_RAW}, b""),
    "raw-beyond": ({"sample_type": b.PERF_SAMPLE_RAW}, struct.pack("=IIQ", 13, 0, 0)),
    "raw-largest": ({"sample_type": b.PERF_SAMPLE_RAW}, struct.pack("=II", 2**32 - 1, 0)),
    "raw-wraps-with-its-padding": ({"sample_type": b.PERF_SAMPLE_RAW}, struct.pack("=II", 2**32 - 4, 0)),
    "registers-beyond": ({"sample_type": b.PERF_SAMPLE_REGS_USER, "sample_regs_user": 0b111}, u64(2, 1, 2)),
    "registers-without-abi": ({"sample_type": b.PERF_SAMPLE_REGS_INTR, "sample_regs_intr": 1}, b""),
    "registers-behind-no-abi": ({"sample_type": b.PERF_SAMPLE_REGS_INTR, "sample_regs_intr": 1}, u64(0, 1)),
    "registers-of-abi-2^16": ({"sample_type": b.PERF_SAMPLE_REGS_USER, "sample_regs_user": 1}, u64(2**16, 1)),
    "stack-beyond": ({"sample_type": b.PERF_SAMPLE_STACK_USER}, u64(16, 1, 8)),
    "stack-without-dyn-size": ({"sample_type": b.PERF_SAMPLE_STACK_USER}, u64(16, 1, 2)),
    "stack-dyn-size-beyond": ({"sample_type": b.PERF_SAMPLE_STACK_USER}, u64(16, 1, 2, 17)),
    "stack-2^63": ({"sample_type": b.PERF_SAMPLE_STACK_USER}, u64(HUGE, 1, 2)),
    "stack-dyn-size-behind-none": ({"sample_type": b.PERF_SAMPLE_STACK_USER}, u64(0, 0)),
    "aux-beyond": ({"sample_type": b.PERF_SAMPLE_AUX}, u64(9, 1)),
    "aux-2^64-1": ({"sample_type": b.PERF_SAMPLE_AUX}, u64(2**64 - 1, 1)),
    "read-without-value": ({"sample_type": b.PERF_SAMPLE_READ}, b""),
    "read-without-times": ({"sample_type": b.PERF_SAMPLE_READ, "read_format": 3}, u64(1, 2)),
    "read-without-id": ({"sample_type": b.PERF_SAMPLE_READ, "read_format": b.PERF_FORMAT_ID}, u64(1)),
    "read-group-nr-2^63": ({"sample_type": b.PERF_SAMPLE_READ, "read_format": b.PERF_FORMAT_GROUP}, u64(HUGE, 1)),
    "read-group-nr-wraps": (
        {"sample_type": b.PERF_SAMPLE_READ, "read_format": b.PERF_FORMAT_GROUP | b.PERF_FORMAT_ID},
        u64(2**60, 1),
    ),
    "read-group-1-beyond": ({"sample_type": b.PERF_SAMPLE_READ, "read_format": b.PERF_FORMAT_GROUP}, u64(2, 1)),
    "rest-cut-off": ({"sample_type": b.PERF_SAMPLE_CODE_PAGE_SIZE | b.PERF_SAMPLE_WEIGHT}, u64(1)),
}


@pytest.mark.parametrize("bad", BAD_SIZES.values(), ids=BAD_SIZES)
def test_a_size_that_cannot_be_is_a_corrupt_record(bad):
    """The offset is named, everything before was delivered: by parse, parse_into and iterate."""
    check_corrupt(ips(2), bad, PLAIN)
    found = records.iterate(ips(2) + bad)
    assert [next(found).header.size, next(found).header.size] == [16, 16]
    with pytest.raises(records.CorruptRecord, match="offset 32 ") as caught:
        next(found)
    assert caught.value.offset == 32


@pytest.mark.parametrize(("fields", "body"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_count_or_length_beyond_the_record_is_a_corrupt_record(fields, body):
    """No count reaches outside its record, though the buffer goes on behind it."""
    attr = perf_event_attr(**fields)
    good = encode_sample(attr, random_values(random.Random(1), attr))
    check_corrupt(good + record(b.PERF_RECORD_SWITCH) + good, record(SAMPLE, body), attr, good * 3)


def check_corrupt(good, bad, attr, rest=b""):
    """Two good samples are delivered before the bad one, which is named."""
    buffer = good + bad + rest
    with pytest.raises(records.CorruptRecord, match=f"offset {len(good)} ") as caught:
        records.parse(buffer, attr)
    assert isinstance(caught.value, ValueError)
    assert caught.value.offset == len(good)
    assert caught.value.n_samples == len(caught.value.samples) == 2  # type: ignore[arg-type]
    expected = [bytes(ffi.buffer(sample)) for sample in records.parse(good, attr)]
    assert [bytes(ffi.buffer(sample)) for sample in caught.value.samples] == expected
    out = ffi.new("struct perf_sample[]", 5)
    with pytest.raises(records.CorruptRecord) as caught:
        records.parse_into(buffer, attr, out)
    assert (caught.value.offset, caught.value.n_samples) == (len(good), 2)
    assert [bytes(ffi.buffer(out + i)) for i in range(2)] == expected


def test_an_abi_of_16_bits_is_one():
    """The largest that struct perf_sample can say; one more is corrupt, as above."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_REGS_USER, sample_regs_user=1)
    [sample] = records.parse(record(SAMPLE, u64(2**16 - 1, 1)), attr)
    assert (sample.user_regs_abi, sample.user_regs_count) == (2**16 - 1, 1)


def test_an_attr_that_does_not_fit_is_a_corrupt_record():
    """Samples of another attr are too long or too short for this one."""
    for other in (b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TIME, 0, b.PERF_SAMPLE_CALLCHAIN):
        with pytest.raises(records.CorruptRecord, match="or not of the given attr"):
            records.parse(GOOD, perf_event_attr(sample_type=other))


def test_a_sample_too_short_for_its_id_is_a_corrupt_record():
    """With several events the id is read first, and not from behind the record."""
    attrs = dict.fromkeys((1, 2), perf_event_attr(sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_ID))
    with pytest.raises(records.CorruptRecord) as caught:
        records.parse(record(SAMPLE, u64(9)) + u64(1, 1), attrs)
    assert caught.value.offset == 0


BAD_RECORDS = {
    "build-id-of-21": record(b.PERF_RECORD_MMAP2, bytes(32) + b"\x15" + bytes(39), b.PERF_RECORD_MISC_MMAP_BUILD_ID),
    "build-id-of-255": record(b.PERF_RECORD_MMAP2, bytes(32) + b"\xff" + bytes(39), b.PERF_RECORD_MISC_MMAP_BUILD_ID),
    "namespaces-1-beyond": record(b.PERF_RECORD_NAMESPACES, u64(0, 2, 1, 1)),
    "namespaces-wrap": record(b.PERF_RECORD_NAMESPACES, u64(0, 2**60, 1, 1)),
    "text-poke-beyond": record(b.PERF_RECORD_TEXT_POKE, u64(0) + struct.pack("=HHI", 3, 2, 0)),
    "text-poke-largest": record(b.PERF_RECORD_TEXT_POKE, u64(0) + struct.pack("=HHI", 65535, 65535, 0)),
    "deferred-1-beyond": record(b.PERF_RECORD_CALLCHAIN_DEFERRED, u64(0, 2, 1)),
    "deferred-wraps": record(b.PERF_RECORD_CALLCHAIN_DEFERRED, u64(0, 2**61, 1)),
}


@pytest.mark.parametrize("bad", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_iterate_checks_the_counts_inside_other_records(bad):
    """A user may follow nr_namespaces, build_id_size, nr, old_len and new_len without another check."""
    found = records.iterate(GOOD + bad + GOOD)
    assert next(found).header.type == SAMPLE
    with pytest.raises(records.CorruptRecord) as caught:
        next(found)
    assert caught.value.offset == len(GOOD)


@pytest.mark.parametrize("kind", range(1, b.PERF_RECORD_MAX))
def test_a_record_smaller_than_its_struct_is_corrupt(kind):
    """Every field of the struct that iterate hands out is in the record; eight bytes fewer are too few."""
    name = b.name_of("perf_event_type", kind).removeprefix("PERF_RECORD_").lower()
    size = (ffi.sizeof(f"struct perf_record_{name}") + 7) // 8 * 8  # type: ignore[arg-type]
    [whole] = records.iterate(record(kind, bytes(size - 8)))
    assert ffi.typeof(whole) is ffi.typeof(f"struct perf_record_{name} *")  # type: ignore[call-overload]
    if size > 8:
        with pytest.raises(records.CorruptRecord):
            list(records.iterate(record(kind, bytes(size - 16))))


@st.composite
def almost_records(draw):
    """Make bytes that look like records longer than noise would, in whole words or not."""
    sizes = st.one_of(st.none(), st.integers(0, 65535), st.integers(0, 20).map(lambda words: 8 * words))
    kinds = st.one_of(st.integers(0, 24), st.just(SAMPLE), st.integers(0, 2**32 - 1))
    words = st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1))
    bodies = st.one_of(st.lists(words, max_size=14).map(lambda some: u64(*some)), st.binary(max_size=64))
    parts = draw(st.lists(st.tuples(kinds, bodies, st.integers(0, 65535), sizes), max_size=6))
    end = draw(st.binary(max_size=9))
    return b"".join(record(kind, body, misc, size=size) for kind, body, misc, size in parts) + end


@REPEATABLE
@given(
    data=st.one_of(st.binary(max_size=200), almost_records()),
    sample_type=st.integers(0, b.PERF_SAMPLE_MAX - 1),
    read_format=st.integers(0, b.PERF_FORMAT_MAX - 1),
    branch_sample_type=st.integers(0, b.PERF_SAMPLE_BRANCH_MAX - 1),
    mask=st.integers(0, 2**64 - 1),
)
def test_any_bytes_are_decoded_or_refused(data, sample_type, read_format, branch_sample_type, mask):
    """Whatever the bytes, each record, sample and view stays inside them; what is refused has its offset."""
    attr = perf_event_attr(
        sample_type=sample_type,
        read_format=read_format,
        branch_sample_type=branch_sample_type,
        sample_regs_user=mask,
        sample_regs_intr=~mask & (2**64 - 1),
        sample_id_all=1,
    )
    found, stopped = what_comes(records.iterate(data))
    size = 0
    for one in found:
        header = ffi.cast("struct perf_event_header *", one)
        assert bytes(ffi.buffer(header, header.size)) == data[size : size + header.size]
        size += header.size
        if header.type in NAMED:
            assert len(records.name(one)) < header.size
        if header.type != SAMPLE:
            trailer, refused = what_comes(records.sample_id(one, attr) for _ in range(1))
            assert (len(trailer), refused) in ((1, None), (0, 0))
    assert stopped == (None if size == len(data) else size)
    out = ffi.new("struct perf_sample[]", 7)
    n, stopped = parse_some(data, attr, out)
    assert stopped is None or stopped <= len(data)
    for sample in out[0:n]:
        views = (records.callchain, records.branches, records.user_regs, records.intr_regs)
        size = sum(len(ffi.buffer(view(data, sample))) for view in views)
        size += sum(len(view(data, sample)) for view in (records.raw, records.user_stack, records.aux))
        assert len(records.counts(data, sample)) * 8 + size <= sample.size
    with contextlib.suppress(ValueError):  # no place for an id, one of nobody's, a corrupt record
        records.parse(data, {1: attr, 2: attr})


def what_comes(found):
    """Return what an iterator yields, and the offset of the corrupt record that ended it, if any."""
    out = []
    with contextlib.suppress(StopIteration):
        while True:
            try:
                out.append(next(found))
            except records.CorruptRecord as error:
                return out, error.offset
    return out, None


def parse_some(buffer, attr, out):
    """Return how many samples parse_into put into *out*, and the offset of the corrupt record that ended it, if any."""
    try:
        return records.parse_into(buffer, attr, out)[0], None
    except records.CorruptRecord as error:
        return error.n_samples, error.offset


@REPEATABLE
@given(data=st.binary(max_size=120), read_format=st.integers(0, 40))
def test_a_view_of_another_buffer_is_a_value_error(data, read_format):
    """A sample that reaches beyond the buffer it is shown with is refused by every view, not read."""
    sample = ffi.new("struct perf_sample *", {"read_format": read_format})
    for field in ("read", "callchain", "raw", "branch", "user_regs", "user_stack", "intr_regs", "aux"):
        setattr(sample, f"{field}_count", 17)
        setattr(sample, f"{field}_offset", 2**32 - 1 if read_format % 2 else 104)
    views = (records.callchain, records.branches, records.user_regs, records.intr_regs, records.raw, records.counts)
    for view in (*views, records.user_stack, records.aux):
        with pytest.raises(ValueError, match="not of this buffer"):
            view(data, sample)


def test_the_counts_of_another_group_are_a_value_error():
    """A buffer that has a larger group where the sample had its own is not the sample's."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_READ, read_format=b.PERF_FORMAT_GROUP)
    buffer = bytearray(record(SAMPLE, u64(2, 7, 8)))
    [sample] = records.parse(buffer, attr)
    assert [counts.value for counts in records.counts(buffer, sample)] == [7, 8]
    buffer[8:16] = u64(3)
    with pytest.raises(ValueError, match="not of this buffer"):
        records.counts(buffer, sample)

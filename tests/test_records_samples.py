"""Decoding samples: every combination of fields, in the kernel's order, of one event and of several."""

import errno
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.encode import encode_sample, record, u64
from support.samples import (
    ALL_SAMPLE_BITS,
    BRANCH_FLAGS,
    GOOD,
    REPEATABLE,
    SAMPLE_BITS,
    check_sample,
    random_values,
    round_trip,
)

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, lib, perf_event_attr, records


@REPEATABLE
@given(
    sample_type=st.integers(0, b.PERF_SAMPLE_MAX - 1),
    read_format=st.integers(0, b.PERF_FORMAT_MAX - 1),
    branch_flags=st.sets(st.sampled_from(BRANCH_FLAGS)),
    masks=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    seed=st.integers(0, 2**32),
)
def test_parse_decodes_every_combination_of_fields(sample_type, read_format, branch_flags, masks, seed):
    """Whatever an attr asks for, each value comes out where it went in."""
    attr = perf_event_attr(
        sample_type=sample_type,
        read_format=read_format,
        branch_sample_type=sum(branch_flags) | b.PERF_SAMPLE_BRANCH_ANY,
        sample_regs_user=masks[0],
        sample_regs_intr=masks[1],
    )
    round_trip(attr, seed)


def test_parse_decodes_each_field_alone_and_every_pair():
    """All 25 bits of sample_type by themselves, and any two of them."""
    for bits in itertools.combinations_with_replacement(SAMPLE_BITS, 2):
        attr = perf_event_attr(sample_type=bits[0] | bits[1], sample_regs_user=0b1011, sample_regs_intr=1 << 63)
        round_trip(attr, seed=sum(bits))


@pytest.mark.parametrize("read_format", range(b.PERF_FORMAT_MAX))
def test_counts_reads_all_32_formats(read_format):
    """PERF_SAMPLE_READ between other fields, alone and as a group."""
    kind = b.PERF_SAMPLE_READ | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CALLCHAIN
    for seed in range(5):
        round_trip(perf_event_attr(sample_type=kind, read_format=read_format), seed)


def test_parse_takes_all_fields_at_once_in_the_order_of_perf_output_sample():
    """CGROUP and the page sizes come before AUX, which the header's comment has elsewhere."""
    attr = perf_event_attr(
        sample_type=ALL_SAMPLE_BITS,
        read_format=b.PERF_FORMAT_MAX - 1,
        branch_sample_type=sum(BRANCH_FLAGS),
        sample_regs_user=0xFF,
        sample_regs_intr=0xF0,
    )
    for seed in range(50):
        round_trip(attr, seed)


def test_no_branch_stack_at_all_leaves_hw_idx_out():
    """Where the CPU recorded nothing, the kernel writes nr = 0 and no hw_idx; what follows is not taken for it."""
    attr = perf_event_attr(
        sample_type=b.PERF_SAMPLE_BRANCH_STACK
        | b.PERF_SAMPLE_REGS_USER
        | b.PERF_SAMPLE_STACK_USER
        | b.PERF_SAMPLE_WEIGHT
        | b.PERF_SAMPLE_DATA_SRC,
        branch_sample_type=b.PERF_SAMPLE_BRANCH_HW_INDEX,
        sample_regs_user=0b11,
    )
    # nr, REGS_USER without registers, STACK_USER with 16 bytes all filled, weight, data_src
    body = u64(0, b.PERF_SAMPLE_REGS_ABI_NONE, 16, 101, 102, 16, 7, 8)
    [sample] = records.parse(record(b.PERF_RECORD_SAMPLE, body), attr)
    assert (sample.branch_count, sample.branch_hw_idx) == (0, 0)
    assert (sample.user_regs_abi, sample.user_regs_count, sample.user_regs_offset) == (0, 0, 0)
    assert bytes(records.user_stack(record(b.PERF_RECORD_SAMPLE, body), sample)) == u64(101, 102)
    assert (sample.weight, sample.data_src) == (7, 8)
    # no registers and no stack: nothing of the wrong reading stays behind
    attr = perf_event_attr(
        sample_type=b.PERF_SAMPLE_BRANCH_STACK | b.PERF_SAMPLE_STACK_USER | b.PERF_SAMPLE_DATA_SRC,
        branch_sample_type=b.PERF_SAMPLE_BRANCH_HW_INDEX,
    )
    [sample] = records.parse(record(b.PERF_RECORD_SAMPLE, u64(0, 0, 8)), attr)
    assert (sample.user_stack_count, sample.user_stack_offset, sample.data_src) == (0, 0, 8)


def test_a_mapping_routes_each_sample_to_its_own_attr():
    """Two events whose samples have different fields share a buffer; the id selects."""
    attrs = {
        7: perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_TIME),
        2**64 - 1: perf_event_attr(
            sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_READ | b.PERF_SAMPLE_REGS_USER,
            read_format=b.PERF_FORMAT_LOST,
            sample_regs_user=0b101,
        ),
        5: perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_RAW),
    }
    rng = random.Random(1)
    order = [rng.choice(list(attrs)) for _ in range(50)]
    values = [random_values(rng, attrs[one]) | {"id": one} for one in order]
    buffer = b"".join(encode_sample(attrs[one["id"]], one) for one in values)
    samples = records.parse(buffer, attrs)
    assert [sample.id for sample in samples] == order
    for sample, one in zip(samples, values, strict=True):
        check_sample(buffer, sample, attrs[one["id"]], one)


@pytest.mark.parametrize("before", [0, b.PERF_SAMPLE_IP, b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_ADDR])
def test_a_mapping_works_with_sample_id_at_one_place(before):
    """PERF_SAMPLE_ID serves as PERF_SAMPLE_IDENTIFIER does, where all events have the same fields before it."""
    attrs = {
        1: perf_event_attr(sample_type=before | b.PERF_SAMPLE_ID),
        2: perf_event_attr(sample_type=before | b.PERF_SAMPLE_ID | b.PERF_SAMPLE_CPU),
    }
    values = [random_values(random.Random(one), attrs[one]) | {"id": one} for one in (2, 1, 2)]
    buffer = b"".join(encode_sample(attrs[one["id"]], one) for one in values)
    for sample, one in zip(records.parse(buffer, attrs), values, strict=True):
        check_sample(buffer, sample, attrs[one["id"]], one)


@pytest.mark.parametrize(
    "others",
    [b.PERF_SAMPLE_IP | b.PERF_SAMPLE_ID, b.PERF_SAMPLE_IP],
    ids=["elsewhere", "nowhere"],
)
def test_ids_at_different_places_are_a_value_error(others):
    """Before the id is read, nothing tells whose sample it is: each must have it where the others do."""
    attrs = {1: perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER), 2: perf_event_attr(sample_type=others)}
    with pytest.raises(ValueError, match="PERF_SAMPLE_IDENTIFIER") as caught:
        records.parse(record(b.PERF_RECORD_SAMPLE, u64(1)), attrs)
    assert not isinstance(caught.value, records.CorruptRecord)


@pytest.mark.parametrize("ids", [(7,), (1, 2), (0, 2)], ids=str)
def test_events_without_any_id_cannot_be_told_apart(ids):
    """A mapping asks for ids: without them, of one event or of several, nothing is decoded, no trailer either."""
    attrs = dict.fromkeys(ids, perf_event_attr(sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_CPU, sample_id_all=1))
    with pytest.raises(ValueError, match="PERF_SAMPLE_IDENTIFIER"):
        records.parse(record(b.PERF_RECORD_SAMPLE, u64(7, 7)), attrs)
    [lost] = records.iterate(record(b.PERF_RECORD_LOST, u64(1, 2, 7)))
    with pytest.raises(ValueError, match="PERF_SAMPLE_IDENTIFIER"):
        records.sample_id(lost, attrs)


def test_the_id_0_is_an_id_among_several():
    """With several events, 0 is an id like any other: records that perf synthesises have it."""
    kinds = b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_TIME, b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_ADDR
    attrs = dict(zip((0, 5), (perf_event_attr(sample_type=kind) for kind in kinds), strict=True))
    samples = records.parse(record(b.PERF_RECORD_SAMPLE, u64(5, 9)) + record(b.PERF_RECORD_SAMPLE, u64(0, 8)), attrs)
    assert [(one.id, one.time, one.addr) for one in samples] == [(5, 0, 9), (0, 8, 0)]


def test_no_event_at_all_is_refused_in_c_too():
    """-1 and EINVAL, for samples, for all records, and for trailers; nothing is done or consumed."""
    out = ffi.new("struct perf_sample[]", 1)
    for parse in (lib.records_parse, lib.records_parse_all):
        done, consumed = ffi.new("size_t *", 7), ffi.new("size_t *", 7)
        assert parse(GOOD, len(GOOD), ffi.NULL, 0, out, 1, consumed, done) == -1
        assert (ffi.errno, done[0], consumed[0]) == (errno.EINVAL, 0, 0)
    assert lib.records_sample_id(GOOD, len(GOOD), ffi.NULL, 0, out) == -1
    assert ffi.errno == errno.EINVAL


def test_a_trailer_that_is_cut_off_is_refused_in_c_too():
    """-1 and EBADMSG, wherever the record ends; a whole one has offset 0, as if it stood alone."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_TIME, sample_id_all=1)
    event, out = ffi.new("struct records_event[]", [(5, attr)]), ffi.new("struct perf_sample *")
    whole = record(b.PERF_RECORD_SWITCH, u64(9, 5))
    assert lib.records_sample_id(whole, len(whole), event, 1, out) == 0
    assert (out.offset, out.time, out.id) == (0, 9, 5)
    ffi.errno = 0
    for size in range(len(whole)):
        assert lib.records_sample_id(whole, size, event, 1, out) == -1
        assert ffi.errno == errno.EBADMSG
    for words in ((), (5,)):
        short = record(b.PERF_RECORD_SWITCH, u64(*words))
        assert lib.records_sample_id(short, len(short), event, 1, out) == -1
        assert ffi.errno == errno.EBADMSG


def test_an_unknown_id_is_a_value_error_that_says_where():
    """A sample of an event that the mapping lacks is named by its offset; the record itself is sound."""
    attrs = {1: perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER)}
    buffer = record(b.PERF_RECORD_SAMPLE, u64(1)) + record(b.PERF_RECORD_SAMPLE, u64(3))
    with pytest.raises(ValueError, match="offset 16 has an id") as caught:
        records.parse(buffer, attrs)
    assert not isinstance(caught.value, records.CorruptRecord)


def test_no_attr_at_all_is_a_value_error():
    """An empty mapping of attrs is a ValueError."""
    with pytest.raises(ValueError, match="no attr"):
        records.parse(GOOD, {})


@pytest.mark.parametrize(
    ("field", "bit"), [("sample_type", 25), ("sample_type", 63), ("branch_sample_type", 20), ("read_format", 5)]
)
def test_a_bit_of_the_future_is_a_value_error_that_names_it(field, bit):
    """What a newer kernel appends cannot be skipped, so nothing is decoded."""
    attr = perf_event_attr(**{"sample_type": b.PERF_SAMPLE_IP} | {field: 1 << bit})
    with pytest.raises(ValueError, match=rf"attr\.{field} has bit {bit}\b"):
        records.parse(GOOD, attr)
    with pytest.raises(ValueError, match=rf"attr\.{field} has bit {bit}\b"):
        records.parse_into(GOOD, attr, ffi.new("struct perf_sample[]", 1))

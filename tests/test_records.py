"""Records: structs, samples in the kernel's order, views, and bytes that are no records."""

import contextlib
import itertools
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import (
    BEFORE_READ,
    BEHIND_INTR,
    BEHIND_STACK,
    ONE_WORD,
    TIMES,
    encode_read,
    encode_sample,
    encode_trailer,
    record,
    u64,
)

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, lib, perf_event_attr, records

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=300)
SAMPLE_BITS = [1 << bit for bit in range(b.PERF_SAMPLE_MAX.bit_length() - 1)]
ALL_SAMPLE_BITS = (b.PERF_SAMPLE_MAX - 1) & ~b.PERF_SAMPLE_WEIGHT  # the kernel takes one of the two weights
BRANCH_FLAGS = (0, b.PERF_SAMPLE_BRANCH_HW_INDEX, b.PERF_SAMPLE_BRANCH_COUNTERS)
GOOD = record(b.PERF_RECORD_SAMPLE, u64(1))  # of PLAIN
NAMED = (b.PERF_RECORD_MMAP, b.PERF_RECORD_MMAP2, b.PERF_RECORD_COMM, b.PERF_RECORD_KSYMBOL, b.PERF_RECORD_CGROUP)
PLAIN = perf_event_attr(sample_type=b.PERF_SAMPLE_IP)


def random_values(rng, attr):
    """Make up the content of one sample of *attr*, each word with all of its 64 bits."""

    def words(n):
        return [rng.getrandbits(64) for _ in range(n)]

    values = {"id": rng.getrandbits(64)}
    for _, name in ONE_WORD:
        for part in name if isinstance(name, tuple) else (name,):
            values.setdefault(part, rng.getrandbits(32 if isinstance(name, tuple) else 64))
    members = rng.randrange(5) if attr.read_format & b.PERF_FORMAT_GROUP else 1
    times = {name: rng.getrandbits(64) for _, name in TIMES}
    values["read"] = [times | {name: rng.getrandbits(64) for name in ("value", "id", "lost")} for _ in range(members)]
    values["callchain"] = words(rng.randrange(6))
    values["raw"] = rng.randbytes(rng.randrange(40))
    values["branch"] = [words(3) for _ in range(rng.randrange(4))]
    values["branch_hw_idx"] = rng.getrandbits(64)
    values["branch_counters"] = words(len(values["branch"]))
    for regs, mask in ("user_regs", attr.sample_regs_user), ("intr_regs", attr.sample_regs_intr):
        abi = rng.choice([b.PERF_SAMPLE_REGS_ABI_NONE, b.PERF_SAMPLE_REGS_ABI_32, b.PERF_SAMPLE_REGS_ABI_64])
        values[f"{regs}_abi"], values[regs] = abi, words(mask.bit_count()) if abi else []
    values["user_stack_room"] = room = 8 * rng.randrange(6)
    values["user_stack"] = rng.randbytes(rng.randrange(room + 1))
    values["aux"] = rng.randbytes(rng.randrange(40))
    return values


def check_sample(buffer, sample, attr, values):
    """Compare everything a sample and its views say with what was encoded; 0 or nothing where the attr does not ask."""
    kind = attr.sample_type
    for bits, name in BEFORE_READ + BEHIND_STACK + BEHIND_INTR:
        for part in name if isinstance(name, tuple) else (name,):
            if part and part != "id":
                assert getattr(sample, part) == (values[part] if kind & bits else 0), part
    has_id = kind & (b.PERF_SAMPLE_ID | b.PERF_SAMPLE_IDENTIFIER)
    assert sample.id == (values["id"] if has_id else 0)
    wanted = values["read"] if kind & b.PERF_SAMPLE_READ else []
    for counts, member in itertools.zip_longest(records.counts(buffer, sample), wanted):
        assert counts.value == member["value"]
        for name, bit in {
            "time_enabled": b.PERF_FORMAT_TOTAL_TIME_ENABLED,
            "time_running": b.PERF_FORMAT_TOTAL_TIME_RUNNING,
            "id": b.PERF_FORMAT_ID,
            "lost": b.PERF_FORMAT_LOST,
        }.items():
            assert getattr(counts, name) == (member[name] if attr.read_format & bit else 0), name
    assert list(records.callchain(buffer, sample)) == (values["callchain"] if kind & b.PERF_SAMPLE_CALLCHAIN else [])
    assert bytes(records.raw(buffer, sample)) == (values["raw"] if kind & b.PERF_SAMPLE_RAW else b"")
    branches = values["branch"] if kind & b.PERF_SAMPLE_BRANCH_STACK else []
    found = records.branches(buffer, sample)
    assert bytes(ffi.buffer(found)) == u64(*itertools.chain(*branches))
    assert [(entry.to, entry.mispred) for entry in found] == [(entry[1], entry[2] & 1) for entry in branches]
    hw_index = kind & b.PERF_SAMPLE_BRANCH_STACK and attr.branch_sample_type & b.PERF_SAMPLE_BRANCH_HW_INDEX
    assert sample.branch_hw_idx == (values["branch_hw_idx"] if hw_index else 0)
    if branches and attr.branch_sample_type & b.PERF_SAMPLE_BRANCH_COUNTERS:
        at = sample.branch_counters_offset
        assert buffer[at : at + 8 * len(branches)] == u64(*values["branch_counters"])
    for regs, bit in ("user_regs", b.PERF_SAMPLE_REGS_USER), ("intr_regs", b.PERF_SAMPLE_REGS_INTR):
        assert getattr(sample, f"{regs}_abi") == (values[f"{regs}_abi"] if kind & bit else 0)
        assert list(getattr(records, regs)(buffer, sample)) == (values[regs] if kind & bit else [])
    stack = values["user_stack"] if kind & b.PERF_SAMPLE_STACK_USER else b""
    assert bytes(records.user_stack(buffer, sample)) == stack
    assert bytes(records.aux(buffer, sample)) == (values["aux"] if kind & b.PERF_SAMPLE_AUX else b"")


def round_trip(attr, seed, n=2):
    """Encode *n* samples among other records, decode them, compare."""
    rng = random.Random(seed)
    all_values = [random_values(rng, attr) for _ in range(n)]
    miscs = [rng.getrandbits(16) for _ in range(n)]
    encoded = [encode_sample(attr, values, misc) for values, misc in zip(all_values, miscs, strict=True)]
    between = record(b.PERF_RECORD_LOST, u64(1, 2, rng.getrandbits(64)))
    buffer = between.join([b"", *encoded, b""])
    samples = records.parse(buffer, attr)
    assert len(samples) == n
    offset = 0
    for sample, values, misc, data in zip(samples, all_values, miscs, encoded, strict=True):
        offset += len(between)
        assert (sample.offset, sample.size, sample.misc) == (offset, len(data), misc)
        check_sample(buffer, sample, attr, values)
        offset += len(data)


# --- Samples, synthesized --------------------------------------------------------------------------------------------


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


# --- Several events in one ring --------------------------------------------------------------------------------------


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


def test_an_unknown_id_is_a_value_error_that_says_where():
    """A sample of an event that the mapping lacks is named by its offset; the record itself is sound."""
    attrs = {1: perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER)}
    buffer = record(b.PERF_RECORD_SAMPLE, u64(1)) + record(b.PERF_RECORD_SAMPLE, u64(3))
    with pytest.raises(ValueError, match="offset 16 has an id") as caught:
        records.parse(buffer, attrs)
    assert not isinstance(caught.value, records.CorruptRecord)


def test_no_attr_at_all_is_a_value_error():
    """An empty mapping decodes nothing."""
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
        records.parse_into(GOOD, attr, ffi.new("struct perf_sample[1]"))


# --- Samples, parse_into ---------------------------------------------------------------------------------------------


def ips(n):
    """Return *n* samples of PLAIN, with the ips from 0 up."""
    return b"".join(record(b.PERF_RECORD_SAMPLE, u64(i)) for i in range(n))


def test_samples_is_a_sequence():
    """Length, index from both ends, slices, iteration."""
    samples = records.parse(ips(5), PLAIN)
    assert len(samples) == 5
    assert repr(samples) == "<5 samples>"
    assert [sample.ip for sample in samples] == [0, 1, 2, 3, 4]
    assert (samples[0].ip, samples[-1].ip, samples[-5].ip) == (0, 4, 0)
    assert isinstance(samples[1:3], records.Samples)
    assert [sample.ip for sample in samples[1:3]] == [1, 2]
    assert [sample.ip for sample in samples[3:1]] == []
    assert [sample.ip for sample in samples[-2:]] == [3, 4]
    assert [sample.ip for sample in samples[::-2]] == [4, 2, 0]
    assert [sample.ip for sample in samples[1:4][1:]] == [2, 3]
    assert (len(samples.cdata), samples.cdata[3].ip) == (5, 3)
    for index in (5, -6):
        with pytest.raises(IndexError):
            samples[index]


def test_an_element_outlives_its_samples():
    """A sample, or a slice, keeps the array it is in; later arrays do not land on it."""
    kept = [records.parse(ips(1000), PLAIN)[999] for _ in range(20)]
    tail = records.parse(ips(1000), PLAIN)[998:]
    assert [records.parse(record(b.PERF_RECORD_SAMPLE, u64(2**64 - 1)) * 1000, PLAIN)[999].ip for _ in range(20)]
    assert [sample.ip for sample in kept] == [999] * 20
    assert [sample.ip for sample in tail] == [998, 999]


def test_a_buffer_without_samples_gives_none():
    """An empty buffer, and one with other records only."""
    for buffer in (b"", bytearray(), record(b.PERF_RECORD_SWITCH)):
        assert len(records.parse(buffer, PLAIN)) == 0


def test_parse_into_continues_where_out_was_full():
    """What is consumed ends before the sample that found no room, and the next call begins there."""
    buffer = record(b.PERF_RECORD_SWITCH).join([b"", *[ips(3)] * 5])
    out = ffi.new("struct perf_sample[4]")
    found, at = [], 0
    while at < len(buffer):
        n, consumed = records.parse_into(memoryview(buffer)[at:], PLAIN, out)
        found += [(out[i].ip, at + out[i].offset) for i in range(n)]
        assert n == 4 or at + consumed == len(buffer)
        at += consumed
    assert [ip for ip, _ in found] == [0, 1, 2] * 5
    assert all(buffer[at : at + 8] == GOOD[:8] for _, at in found)


def test_parse_into_passes_over_other_records_behind_a_full_out():
    """The whole buffer is consumed where only other records follow the last sample that fits."""
    buffer = ips(2) + record(b.PERF_RECORD_SWITCH) * 3
    assert records.parse_into(buffer, PLAIN, ffi.new("struct perf_sample[2]")) == (2, len(buffer))


def test_parse_reads_anything_with_the_buffer_protocol():
    """bytes, bytearray, a slice, an array of words, cffi's own."""
    words = memoryview(ips(4)).cast("Q")
    owned = ffi.new("char[]", ips(4))
    for buffer in (ips(4), bytearray(ips(4)), memoryview(b"x" + ips(4))[1:], words, ffi.buffer(owned, 64)):
        assert [sample.ip for sample in records.parse(buffer, PLAIN)] == [0, 1, 2, 3]
        assert [record.header.size for record in records.iterate(buffer)] == [16] * 4


def test_a_buffer_with_gaps_is_refused():
    """A non-contiguous view is a clear error, not a copy."""
    with pytest.raises(BufferError, match="contiguous"):
        records.parse(memoryview(ips(4))[::2], PLAIN)
    with pytest.raises(TypeError, match="contiguous"):
        next(records.iterate(memoryview(ips(4))[::2]))


# --- Bad input -------------------------------------------------------------------------------------------------------

SAMPLE = b.PERF_RECORD_SAMPLE
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
    assert caught.value.n_samples == len(caught.value.samples) == 2
    expected = [bytes(ffi.buffer(sample)) for sample in records.parse(good, attr)]
    assert [bytes(ffi.buffer(sample)) for sample in caught.value.samples] == expected
    out = ffi.new("struct perf_sample[5]")
    with pytest.raises(records.CorruptRecord) as caught:
        records.parse_into(buffer, attr, out)
    assert (caught.value.offset, caught.value.n_samples) == (len(good), 2)
    assert [bytes(ffi.buffer(out + i)) for i in range(2)] == expected


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
    size = ffi.sizeof(f"struct perf_record_{name}")
    [whole] = records.iterate(record(kind, bytes(size - 8)))
    assert ffi.typeof(whole) is ffi.typeof(f"struct perf_record_{name} *")
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
    out = ffi.new("struct perf_sample[7]")
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

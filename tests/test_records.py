"""Records: structs, samples in the kernel's order, views, and bytes that are no records."""

import contextlib
import ctypes
import gc
import itertools
import mmap
import os
import platform
import random
import select
import struct
import sys
import threading
import time

import pytest
from conftest import needs_root
from hypothesis import given, settings
from hypothesis import strategies as st
from support import (
    BEFORE_READ,
    BEHIND_INTR,
    BEHIND_STACK,
    CPUS,
    DUMMY,
    ONE_WORD,
    PAGE_FAULTS,
    PAGE_SIZE,
    TIMES,
    TRAILER,
    WORD,
    child,
    encode_sample,
    encode_trailer,
    fault,
    record,
    touch,
    u64,
)

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, ioctls, perf_event_attr, records, ring

REPEATABLE = settings(deadline=None, derandomize=True, database=None, max_examples=300)
SAMPLE_BITS = [1 << bit for bit in range(b.PERF_SAMPLE_MAX.bit_length() - 1)]
ALL_SAMPLE_BITS = (b.PERF_SAMPLE_MAX - 1) & ~b.PERF_SAMPLE_WEIGHT  # the kernel takes one of the two weights
PAIRS = (b.PERF_SAMPLE_TID, b.PERF_SAMPLE_CPU)
BRANCH_FLAGS = (0, b.PERF_SAMPLE_BRANCH_HW_INDEX, b.PERF_SAMPLE_BRANCH_COUNTERS)
SAMPLE = b.PERF_RECORD_SAMPLE
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
    first_bit = 0 if sys.byteorder == "little" else 63
    mispredicted = [(entry[1], entry[2] >> first_bit & 1) for entry in branches]
    assert [(entry.to, entry.mispred) for entry in found] == mispredicted
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
    others = [records.parse(record(SAMPLE, u64(7)) * 1000, PLAIN) for _ in range(60)]  # in the place of freed ones
    assert [sample.ip for sample in kept] == [999] * 20
    assert [sample.ip for sample in tail] == [998, 999]
    assert others[59][999].ip == 7
    memory = bytearray(ffi.sizeof("struct perf_sample[3]"))
    one = records.Samples(ffi.from_buffer("struct perf_sample[]", memory))[1]
    with pytest.raises(BufferError):  # it is held
        memory.clear()
    assert one.ip == 0


@pytest.mark.parametrize("depths", [[8, 0, 0, 0, 0], [0, 8, 8], [0], [3, 3, 3]], ids=str)
def test_parse_finds_all_samples_whatever_the_size_of_the_first(depths):
    """A first record larger or smaller than the others, of another type, or none: every sample is there once."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_CALLCHAIN)
    chains = b"".join(record(SAMPLE, u64(depth, *range(depth))) for depth in depths)
    for first in (b"", record(b.PERF_RECORD_SWITCH), record(b.PERF_RECORD_LOST, bytes(200))):
        samples = records.parse(first + chains, attr)
        assert [sample.callchain_count for sample in samples] == depths
        assert len(samples.cdata) == len(depths)
        with pytest.raises(records.CorruptRecord) as caught:
            records.parse(first + chains + b"1234", attr)
        assert [sample.callchain_count for sample in caught.value.samples] == depths
        assert caught.value.offset == len(first + chains)


def test_what_points_into_a_buffer_may_be_in_a_cycle():
    """Python's collector frees cycles of records, samples and views, and of the error that carries samples."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_CALLCHAIN)
    buffer = bytearray(record(SAMPLE, u64(2, 7, 8)))
    samples = records.parse(buffer, attr)
    for made in (samples, samples[0], samples[:1], records.callchain(buffer, samples[0]), *records.iterate(buffer)):
        cycle = [made]
        cycle.append(cycle)
    with pytest.raises(records.CorruptRecord) as caught:
        records.parse(buffer + b"1234", attr)
    cycle.append(caught)
    caught.value.cycle = cycle
    del samples, made, cycle, caught
    gc.collect()
    buffer.clear()  # nothing holds it any more


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
    with pytest.raises(BufferError, match="contiguous"):
        next(records.iterate(memoryview(ips(4))[::2]))


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
    size = (ffi.sizeof(f"struct perf_record_{name}") + 7) // 8 * 8
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


WHO = struct.pack("=II", 11, 12)
# Type -> (body, misc, what its struct says); the numbers are in the man page's order of the fields.
BODIES = {
    "mmap": (WHO + u64(1, 2, 3) + b"/bin/a\0\0", 0, {"pid": 11, "tid": 12, "addr": 1, "len": 2, "pgoff": 3}),
    "lost": (u64(1, 2), 0, {"id": 1, "lost": 2}),
    "comm": (WHO + b"a name\0\0", b.PERF_RECORD_MISC_COMM_EXEC, {"pid": 11, "tid": 12}),
    "exit": (struct.pack("=IIIIQ", 1, 2, 3, 4, 5), 0, {"pid": 1, "ppid": 2, "tid": 3, "ptid": 4, "time": 5}),
    "throttle": (u64(1, 2, 3), 0, {"time": 1, "id": 2, "stream_id": 3}),
    "unthrottle": (u64(1, 2, 3), 0, {"time": 1, "id": 2, "stream_id": 3}),
    "fork": (struct.pack("=IIIIQ", 1, 2, 3, 4, 5), 0, {"pid": 1, "ppid": 2, "tid": 3, "ptid": 4, "time": 5}),
    "read": (WHO + u64(5), 0, {"pid": 11, "tid": 12}),
    "sample": (u64(5), 0, {}),
    "mmap2": (
        WHO + u64(1, 2, 3) + struct.pack("=IIQQII", 4, 5, 6, 7, 8, 9) + b"/bin/a\0\0",
        0,
        {"pid": 11, "tid": 12, "addr": 1, "len": 2, "pgoff": 3, "maj": 4, "min": 5}
        | {"ino": 6, "ino_generation": 7, "prot": 8, "flags": 9},
    ),
    "aux": (u64(1, 2, 3), 0, {"aux_offset": 1, "aux_size": 2, "flags": 3}),
    "itrace_start": (WHO, 0, {"pid": 11, "tid": 12}),
    "lost_samples": (u64(9), 0, {"lost": 9}),
    "switch": (b"", b.PERF_RECORD_MISC_SWITCH_OUT | b.PERF_RECORD_MISC_SWITCH_OUT_PREEMPT, {}),
    "switch_cpu_wide": (WHO, b.PERF_RECORD_MISC_SWITCH_OUT, {"next_prev_pid": 11, "next_prev_tid": 12}),
    "namespaces": (WHO + u64(2, 1, 2, 3, 4), 0, {"pid": 11, "tid": 12, "nr_namespaces": 2}),
    "ksymbol": (
        u64(1) + struct.pack("=IHH", 2, 3, 4) + b"a_symbol" + bytes(8),
        0,
        {"addr": 1, "len": 2, "ksym_type": 3, "flags": 4},
    ),
    "bpf_event": (struct.pack("=HHI8s", 1, 2, 3, b"01234567"), 0, {"type": 1, "flags": 2, "id": 3}),
    "cgroup": (u64(1) + b"/a/group", 0, {"id": 1}),
    "text_poke": (u64(1) + struct.pack("=HH", 2, 3) + b"oonnn" + bytes(7), 0, {"addr": 1, "old_len": 2, "new_len": 3}),
    "aux_output_hw_id": (u64(1), 0, {"hw_id": 1}),
    "callchain_deferred": (u64(1, 2, 3, 4), 0, {"cookie": 1, "nr": 2}),
}


def kind_of(tag):
    """Return the number of a record type."""
    return getattr(b, f"PERF_RECORD_{tag.upper()}")


def test_every_record_type_of_the_header_has_a_struct():
    """Each enumerator of perf_event_type, and so each of the next header's, is in the tests below."""
    names = set(ffi.typeof("enum perf_event_type").elements.values()) - {"PERF_RECORD_MAX"}
    assert names == {f"PERF_RECORD_{tag.upper()}" for tag in BODIES}
    assert len(names) == 22


@pytest.mark.parametrize("tag", BODIES)
def test_iterate_gives_each_type_its_struct(tag):
    """All fields of every record type are where the kernel writes them."""
    body, misc, fields = BODIES[tag]
    [found] = records.iterate(record(kind_of(tag), body, misc))
    assert ffi.typeof(found) is ffi.typeof(f"struct perf_record_{tag} *")
    assert (found.header.type, found.header.misc, found.header.size) == (kind_of(tag), misc, 8 + len(body))
    assert {name: getattr(found, name) for name in fields} == fields


def test_what_ends_a_record_is_reached_through_its_struct():
    """Arrays at the end have the length that the record's own fields say."""
    found = {}
    for one in records.iterate(b"".join(record(kind_of(tag), body) for tag, (body, _, _) in BODIES.items())):
        found[ffi.typeof(one).cname] = one
    assert found["struct perf_record_read *"].values[0] == 5
    link = found["struct perf_record_namespaces *"].link_info
    assert [(link[i].dev, link[i].ino) for i in range(2)] == [(1, 2), (3, 4)]
    assert bytes(found["struct perf_record_bpf_event *"].tag) == b"01234567"
    assert list(found["struct perf_record_callchain_deferred *"].ips[0:2]) == [3, 4]
    assert bytes(found["struct perf_record_text_poke *"].bytes[0:5]) == b"oonnn"


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("mmap", b"/bin/a"), ("mmap2", b"/bin/a"), ("comm", b"a name"), ("ksymbol", b"a_symbol"), ("cgroup", b"/a/group")],
)
def test_name_is_the_bytes_up_to_the_nul_or_the_records_end(tag, expected):
    """Names come as bytes; one without a NUL ends with its record, not in the next."""
    buffer = record(kind_of(tag), BODIES[tag][0])
    found = next(records.iterate(buffer + record(b.PERF_RECORD_LOST, b"x" * 16)))
    assert records.name(found) == expected


def test_name_may_be_missing_altogether():
    """A record that ends with its struct has an empty name."""
    [found] = records.iterate(record(b.PERF_RECORD_COMM, WHO))
    assert records.name(found) == b""


def test_name_of_a_record_without_one_is_a_type_error():
    """The message says which struct carries no name."""
    [found] = records.iterate(record(b.PERF_RECORD_SWITCH))
    with pytest.raises(TypeError, match="perf_record_switch"):
        records.name(found)


def test_mmap2_carries_a_build_id_where_misc_says_so():
    """The same 24 bytes, by PERF_RECORD_MISC_MMAP_BUILD_ID."""
    body = WHO + u64(1, 2, 3) + struct.pack("=BBH20sII", 20, 0, 0, bytes(range(20)), 8, 9) + b"/bin/a\0\0"
    [found] = records.iterate(record(b.PERF_RECORD_MMAP2, body, b.PERF_RECORD_MISC_MMAP_BUILD_ID))
    assert bytes(found.build_id[0 : found.build_id_size]) == bytes(range(20))
    assert (found.prot, found.flags, records.name(found)) == (8, 9, b"/bin/a")
    device = body[:32] + b"\xff" + body[33:]  # a device number, whatever its first byte
    [found] = records.iterate(record(b.PERF_RECORD_MMAP2, device))
    assert (found.build_id_size, found.ino, found.ino_generation) == (255, *struct.unpack("=2Q", body[40:56]))


@pytest.mark.parametrize("kind", [0, b.PERF_RECORD_MAX, 64, 2**32 - 1])
def test_an_unknown_type_is_data(kind):
    """A type of the future, or of a tool's own, comes as its header; the body is behind it."""
    [found, behind] = records.iterate(record(kind, u64(7)) + record(b.PERF_RECORD_SWITCH))
    assert ffi.typeof(found) is ffi.typeof("struct perf_event_header *")
    assert (found.type, found.size) == (kind, 16)
    assert ffi.cast("uint64_t *", found + 1)[0] == 7
    assert behind.header.type == b.PERF_RECORD_SWITCH


def test_a_record_keeps_its_buffer_alive():
    """The pointers are all that is left, and what they point at is still there."""
    kept = list(records.iterate(bytearray(record(b.PERF_RECORD_LOST, u64(1, 2)) * 5000)))
    assert bytearray(len(kept) * 24)  # would take the place of a freed one
    assert {(one.id, one.lost) for one in kept} == {(1, 2)}
    buffer = bytearray(record(b.PERF_RECORD_LOST, u64(1, 2)))
    [one] = records.iterate(buffer)
    with pytest.raises(BufferError):
        buffer.clear()
    assert one.lost == 2


@pytest.mark.parametrize("tag", [tag for tag in BODIES if tag != "sample"])
def test_sample_id_reads_the_trailer_behind_any_record(tag):
    """All 64 combinations of TID, TIME, ID, STREAM_ID, CPU, IDENTIFIER, the last being last."""
    values = {"pid": 1, "tid": 2, "time": 2**64 - 3, "id": 4, "stream_id": 5, "cpu": 6}
    for n in range(7):
        for wanted in itertools.combinations([bit for bit, _ in TRAILER], n):
            attr = perf_event_attr(
                sample_type=sum(wanted) | b.PERF_SAMPLE_CALLCHAIN | b.PERF_SAMPLE_IP, sample_id_all=1
            )
            [found] = records.iterate(record(kind_of(tag), BODIES[tag][0] + encode_trailer(attr, values)))
            trailer = records.sample_id(found, attr)
            assert ffi.typeof(trailer) is ffi.typeof("struct perf_sample *")
            asked = {part for bit, name in TRAILER if bit in wanted for part in (name if bit in PAIRS else (name,))}
            for name, value in values.items():
                assert getattr(trailer, name) == (value if name in asked else 0), name
            assert (trailer.ip, trailer.size) == (0, found.header.size)


def test_sample_id_selects_among_several_events():
    """The trailer's own id says whose fields it has; it is found from the record's end."""
    attrs = {
        1: perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_TIME, sample_id_all=1),
        2: perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_CPU, sample_id_all=1),
    }
    buffer = b"".join(
        record(b.PERF_RECORD_LOST, u64(0, 0) + encode_trailer(attrs[one], {"id": one, "time": 77, "cpu": 5}))
        for one in (2, 1)
    )
    trailers = [records.sample_id(one, attrs) for one in records.iterate(buffer)]
    assert [(one.id, one.time, one.cpu) for one in trailers] == [(2, 0, 5), (1, 77, 0)]
    stranger = record(b.PERF_RECORD_LOST, u64(0, 0, 77, 3))
    with pytest.raises(ValueError, match="none of the given"):
        records.sample_id(next(records.iterate(stranger)), attrs)
    attrs = {
        1: perf_event_attr(sample_type=b.PERF_SAMPLE_ID, sample_id_all=1),
        2: perf_event_attr(sample_type=b.PERF_SAMPLE_ID | b.PERF_SAMPLE_CPU, sample_id_all=1),
    }
    with pytest.raises(ValueError, match="PERF_SAMPLE_IDENTIFIER"):
        records.sample_id(next(records.iterate(stranger)), attrs)


@pytest.mark.parametrize("tag", [tag for tag in BODIES if tag != "sample"])
def test_a_record_without_room_for_the_trailer_is_corrupt(tag):
    """The trailer may not reach back into the record's own fields."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_IDENTIFIER, sample_id_all=1)
    fixed = (ffi.sizeof(f"struct perf_record_{tag}") + 7) // 8 * 8
    body = BODIES[tag][0][: fixed - 8]
    if tag in ("namespaces", "callchain_deferred"):  # whose count would reach beyond
        body = body[:8].ljust(16, b"\0")
    [found] = records.iterate(record(kind_of(tag), body + u64(7)))
    with pytest.raises(records.CorruptRecord):
        records.sample_id(found, attr)


def test_a_record_without_sample_id_all_has_no_trailer():
    """What would be read is the record's own fields."""
    [found] = records.iterate(record(b.PERF_RECORD_LOST, u64(1, 2)))
    with pytest.raises(ValueError, match="sample_id_all"):
        records.sample_id(found, perf_event_attr(sample_type=b.PERF_SAMPLE_TIME))


def test_a_sample_has_no_trailer():
    """Its id is in front; parse reads it."""
    [found] = records.iterate(GOOD)
    with pytest.raises(ValueError, match="use parse"):
        records.sample_id(found, perf_event_attr(sample_type=b.PERF_SAMPLE_TIME, sample_id_all=1))


def structs():
    """Return every struct and union of the module, by its C name."""
    typedefs, tags, unions = ffi.list_types()
    return typedefs + [f"struct {tag}" for tag in tags] + [f"union {tag}" for tag in unions]


@pytest.mark.parametrize("ctype", structs())
def test_dtype_has_the_fields_of_c(ctype):
    """Each field that is no bit and no flexible array is there, at C's offset, with C's size; nothing else is."""
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    found = records.dtype(ctype)
    kind = ffi.typeof(ctype)
    assert found.itemsize == ffi.sizeof(kind)
    plain = {
        name: (info.offset, ffi.sizeof(info.type))
        for name, info in kind.fields
        if info.bitsize < 0 and not (info.type.kind == "array" and info.type.length is None)
    }
    assert {name: (at, sub.itemsize) for name, (sub, at) in found.fields.items() if name in plain} == plain
    bits = {info.offset for _, info in kind.fields if info.bitsize >= 0}
    extra = found.fields.keys() - plain.keys()
    assert extra == ({"flags"} if bits - {at for at, _ in plain.values()} else set())
    memory = bytes(range(1, 1 + found.itemsize)) if found.itemsize < 255 else bytes(found.itemsize)
    [row] = numpy.frombuffer(memory, found)
    pointer = ffi.from_buffer(f"{ctype} *", memory)
    for name, info in kind.fields:
        if name in plain and info.type.kind == "primitive":
            assert int(row[name]) == int(getattr(pointer, name)), name


def test_dtype_takes_a_ctype_and_names_bitfields_flags():
    """The word of bits of a branch entry; of an attr, too."""
    pytest.importorskip("numpy", reason="needs NumPy")
    assert records.dtype(ffi.typeof("struct perf_branch_entry")).names == ("from", "to", "flags")
    assert records.dtype("struct perf_event_attr").fields["flags"][1] == 40


def test_to_numpy_shares_the_memory_of_the_samples():
    """A column reads what C wrote, a write is seen through both, and the array keeps the memory."""
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    samples = records.parse(ips(1000), PLAIN)
    array = records.to_numpy(samples)
    assert numpy.array_equal(array["ip"], numpy.arange(1000))
    assert array["offset"][-1] == 999 * 16
    samples[5].ip = 77
    assert array[5]["ip"] == 77
    assert array.ctypes.data == int(ffi.cast("uintptr_t", samples.cdata))
    del samples
    assert len(records.parse(ips(1000) * 20, PLAIN)) == 20000
    assert array["ip"].sum() == 999 * 500 - 5 + 77
    assert len(records.to_numpy(records.parse(b"", PLAIN))) == 0
    assert list(records.to_numpy(records.parse(ips(9), PLAIN)[3:6])["ip"]) == [3, 4, 5]


def test_to_numpy_takes_the_callers_array():
    """A perf_sample[] that parse_into filled is seen as it is."""
    pytest.importorskip("numpy", reason="needs NumPy")
    out = ffi.new("struct perf_sample[4]")
    records.parse_into(ips(3), PLAIN, out)
    array = records.to_numpy(out)
    del out
    assert array["ip"].tolist() == [0, 1, 2, 0]
    assert array["size"].tolist() == [16, 16, 16, 0]


ALL_SIX = sum({bit for bit, _ in TRAILER})
SIDE_BAND = {**DUMMY, "sample_type": ALL_SIX, "sample_id_all": 1}


def records_of(rings):
    """Return all records in the rings, as cdata."""
    return [one for page in rings for one in records.iterate(ring.read(page))]


def of_type(found, tag):
    """Return those of one type."""
    return [one for one in found if ffi.typeof(one).cname == f"struct perf_record_{tag} *"]


@pytest.fixture
def rings(event):
    """Open an event on each CPU, for *pid*, and map a ring of each: {page: fd}; unmapped at the end."""
    mapped = {}

    def open_rings(*, pid, data_pages=8, **fields):
        for cpu in CPUS:
            fd = event(pid=pid, cpu=cpu, **fields)
            mapped[ring.map(fd, data_pages)] = fd
        return mapped

    yield open_rings
    for page in mapped:
        ffi.release(page)


def test_real_trailers_have_all_six_fields(event):
    """A COMM record of this thread says who, when, which event and where, as the system says it."""
    attr = perf_event_attr(**SIDE_BAND, comm=1)
    fd = event(**SIDE_BAND, comm=1)
    name = f"/proc/self/task/{threading.get_native_id()}/comm"
    with open(name) as file:
        before = file.read().rstrip()
    with ring.map(fd, 1) as page:
        try:
            with open(name, "w") as file:
                file.write("renamed")
        finally:
            with open(name, "w") as file:
                file.write(before)
        found = list(records.iterate(ring.read(page)))
    assert [records.name(one) for one in found] == [b"renamed", before.encode()]
    trailers = [records.sample_id(one, attr) for one in found]
    for one, trailer in zip(found, trailers, strict=True):
        assert (one.pid, one.tid) == (trailer.pid, trailer.tid) == (os.getpid(), threading.get_native_id())
        assert trailer.id == ioctls.id(fd)
        assert trailer.stream_id == trailer.id
        assert trailer.cpu in CPUS
        assert not one.header.misc & b.PERF_RECORD_MISC_COMM_EXEC
    assert 0 < trailers[0].time < trailers[1].time
    by_id = records.sample_id(found[0], {ioctls.id(fd): attr})
    assert by_id.time == trailers[0].time


FORK_AND_EXEC = """
child = os.fork()
if child == 0:
    os.execv("/bin/true", ["true"])
os.waitpid(child, 0)
print(child, flush=True)
"""


def test_a_child_leaves_fork_comm_mmap_namespaces_and_exit(rings):
    """The life of a process that forks one that execs: who is whose child, what it is called, what it maps."""
    fields = {"task": 1, "comm": 1, "comm_exec": 1, "mmap": 1, "mmap_data": 1, "inherit": 1}
    fields["namespaces"] = int(os.geteuid() == 0)  # the kernel keeps them from ordinary users
    with child(FORK_AND_EXEC) as (process, go):
        pages = rings(pid=process.pid, **SIDE_BAND, **fields)
        go()
        grandchild = int(process.stdout.read())
    found = records_of(pages)
    [fork] = of_type(found, "fork")
    assert (fork.pid, fork.tid, fork.ppid, fork.ptid) == (grandchild, grandchild, process.pid, process.pid)
    assert {(one.pid, one.tid) for one in of_type(found, "exit")} == {(one, one) for one in (grandchild, process.pid)}
    [comm] = of_type(found, "comm")
    assert (comm.pid, records.name(comm)) == (grandchild, b"true")
    assert comm.header.misc & b.PERF_RECORD_MISC_COMM_EXEC
    mapped = {records.name(one): one for one in of_type(found, "mmap") if one.pid == grandchild}
    true = os.path.realpath("/bin/true").encode()
    assert mapped[true].len % PAGE_SIZE == 0
    assert b"[vdso]" in mapped
    spaces = of_type(found, "namespaces")
    assert {one.pid for one in spaces} == ({grandchild} if fields["namespaces"] else set())
    for one in spaces:
        inodes = {one.link_info[i].ino for i in range(one.nr_namespaces)}
        assert os.stat("/proc/self/ns/pid").st_ino in inodes
    trailer = records.sample_id(fork, perf_event_attr(**SIDE_BAND))
    assert (trailer.pid, trailer.tid) == (process.pid, process.pid)
    assert 0 < fork.time < of_type(found, "exit")[-1].time


@pytest.mark.parametrize("build_id", [0, 1])
def test_mmap2_of_an_executable_names_its_file(rings, build_id):
    """The inode of /bin/true, or with attr.build_id the build id that its ELF notes hold."""
    with child(FORK_AND_EXEC) as (process, go):
        try:
            pages = rings(pid=process.pid, **SIDE_BAND, mmap=1, mmap2=1, build_id=build_id, inherit=1)
        except OSError as error:
            pytest.skip(f"this kernel has no attr.build_id: {error}")
        go()
    path = os.path.realpath("/bin/true")
    [found] = [one for one in of_type(records_of(pages), "mmap2") if records.name(one) == path.encode()]
    assert found.prot & mmap.PROT_EXEC
    if build_id:
        assert found.header.misc & b.PERF_RECORD_MISC_MMAP_BUILD_ID
        with open(path, "rb") as file:
            assert bytes(found.build_id[0 : found.build_id_size]) in file.read()
    else:
        info = os.stat(path)
        assert found.ino == info.st_ino
        assert not found.header.misc & b.PERF_RECORD_MISC_MMAP_BUILD_ID


def test_switch_says_in_misc_whether_out_or_in(event):
    """A thread that waits goes out and comes back, in turns."""
    with ring.map(event(**SIDE_BAND, context_switch=1), 8) as page:
        for _ in range(5):
            select.select([], [], [], 0.001)
        found = list(records.iterate(ring.read(page)))
    assert {ffi.typeof(one).cname for one in found} == {"struct perf_record_switch *"}
    out = [bool(one.header.misc & b.PERF_RECORD_MISC_SWITCH_OUT) for one in found]
    assert sum(out) >= 5
    assert all(before != after for before, after in itertools.pairwise(out))


@needs_root
def test_switch_cpu_wide_names_the_other_task(rings):
    """On a CPU, who comes after this thread is who goes before it the next time."""
    attr = perf_event_attr(**SIDE_BAND)
    me = threading.get_native_id()
    pages = rings(pid=-1, **SIDE_BAND, context_switch=1, data_pages=128)
    for _ in range(5):
        select.select([], [], [], 0.001)
    for fd in pages.values():
        ioctls.disable(fd)
    found = of_type(records_of(pages), "switch_cpu_wide")
    left = [one for one in found if one.header.misc & b.PERF_RECORD_MISC_SWITCH_OUT and one.next_prev_tid != me]
    trailers = [records.sample_id(one, attr).tid for one in left]
    assert trailers.count(me) >= 5


@pytest.mark.parametrize("group", [0, b.PERF_FORMAT_GROUP])
def test_read_comes_from_a_child_that_inherited_the_counter(rings, group):
    """With inherit_stat, an exiting task leaves its own count, in the event's read_format."""
    script = "child = os.fork()\nif child == 0:\n    fault(300)\n    os._exit(0)\nos.waitpid(child, 0)\nprint(child)"
    read_format = b.PERF_FORMAT_ID | b.PERF_FORMAT_TOTAL_TIME_ENABLED | group
    fields = {"read_format": read_format, "inherit": 1, "inherit_stat": 1, "sample_period": 0}
    with child(script) as (process, go):
        try:
            pages = rings(pid=process.pid, **SIDE_BAND | PAGE_FAULTS | fields)
        except OSError as error:
            pytest.skip(f"this kernel inherits no groups: {error}")
        go()
        family = (process.pid, int(process.stdout.read()))
    found = of_type(records_of(pages), "read")
    if not found:
        pytest.skip("this kernel leaves no PERF_RECORD_READ of an exiting task")
    total = 0
    for one in found:
        assert one.pid in family  # the kernel may have swapped the contexts of the two
        words = list(one.values[0 : 4 if group else 3])
        nr, enabled, value, event_id = words if group else (1, words[1], words[0], words[2])
        assert nr == 1
        assert event_id in [ioctls.id(fd) for fd in pages.values()]
        assert value == 0 or enabled > 0
        total += value
    assert total > 0


@needs_root
def test_throttle_when_too_many_samples_come_in_a_tick(event, tracefs):
    """An event that overflows hundreds of times at once is stopped for the rest of the tick, and started again."""
    path = os.path.join(tracefs, "events", "sched", "sched_stat_runtime", "id")
    if not os.path.exists(path):
        pytest.skip("the kernel has no tracepoint sched:sched_stat_runtime, which counts nanoseconds")
    with open(path) as file:
        attr = {"type": b.PERF_TYPE_TRACEPOINT, "config": int(file.read()), "sample_period": 1000}
    fd = event(**attr, sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_STREAM_ID, disabled=1)
    found = []
    with ring.map(fd, 64) as page:
        ioctls.enable(fd)
        until = time.thread_time() + 0.5
        while time.thread_time() < until and not of_type(found, "unthrottle"):
            found += records.iterate(ring.read(page))
    throttles, freed = of_type(found, "throttle"), of_type(found, "unthrottle")
    if not throttles:
        pytest.skip("the kernel throttled nothing")
    assert {(one.id, one.stream_id) for one in throttles + freed} == {(ioctls.id(fd), ioctls.id(fd))}
    assert 0 < throttles[0].time < freed[0].time


@pytest.fixture
def cgroup():
    """A function that makes a cgroup where perf hears of it; removed at the end."""
    made = []

    def make(name):
        with open("/proc/mounts") as mounts:
            lines = [line.split() for line in mounts]
        roots = [where for _, where, kind, options, *_ in lines if kind == "cgroup2" or "perf_event" in options]
        if os.geteuid() != 0 or not roots:
            pytest.skip("needs root, and a cgroup file system with perf_event")
        made.append(os.path.join(roots[0], name))
        os.mkdir(made[-1])
        return made[-1]

    yield make
    for path in made:
        os.rmdir(path)


def test_cgroup_records_tell_a_new_group(rings, cgroup):
    """Its id is the inode of its directory, its name the path."""
    name = f"perf_event_open_sys.{os.getpid()}"
    cgroup(f"{name}.before")
    pages = rings(pid=-1, **SIDE_BAND, cgroup=1, task=1)
    path = cgroup(name)
    found = [one for one in of_type(records_of(pages), "cgroup") if records.name(one).endswith(name.encode())]
    if not found:
        pytest.skip(f"the cgroup file system of {path} is not perf_event's")
    assert {one.id % 2**WORD for one in found} == {os.stat(path).st_ino}


def load_bpf():
    """Load `r0 = 0; exit` as a socket filter and return its file descriptor."""
    numbers = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
    if platform.machine() not in numbers:
        pytest.skip(f"the number of bpf(2) on {platform.machine()} is not known here")
    code = u64(0xB7, 0x95)
    licence = b"GPL\0"
    code_at, licence_at = ffi.from_buffer(code), ffi.from_buffer(licence)
    where = [int(ffi.cast("uintptr_t", at)) for at in (code_at, licence_at)]
    attr = struct.pack("=IIQQIIQII16s", 1, 2, *where, 0, 0, 0, 0, 0, b"peos_test")
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(numbers[platform.machine()], 5, attr, len(attr))
    if fd < 0:
        pytest.skip(f"bpf(2) refuses to load a program: {os.strerror(ctypes.get_errno())}")
    return fd


@needs_root
def test_bpf_programs_come_as_bpf_event_and_ksymbol(rings):
    """Loading and unloading a program: its id, its tag, and where its code is."""
    pages = rings(pid=-1, **SIDE_BAND, bpf_event=1, ksymbol=1, data_pages=32)
    program = load_bpf()
    with open(f"/proc/self/fdinfo/{program}") as file:
        info = dict(line.rstrip().split(":\t") for line in file if ":\t" in line)
    os.close(program)
    poll = select.poll()
    for fd in pages.values():
        poll.register(fd, select.POLLIN)
    found, tries = [], 0
    while sum(one.id == int(info["prog_id"]) for one in of_type(found, "bpf_event")) < 2 and tries < 1000:
        found += records_of(pages)  # the program is freed after a grace period
        poll.poll(10)
        tries += 1
    events = [one for one in of_type(found, "bpf_event") if one.id == int(info["prog_id"])]
    # Each CPU has its ring: the two may come in either order.
    assert sorted(one.type for one in events) == [b.PERF_BPF_EVENT_PROG_LOAD, b.PERF_BPF_EVENT_PROG_UNLOAD]
    assert {bytes(one.tag).hex() for one in events} == {info["prog_tag"]}
    name = f"bpf_prog_{info['prog_tag']}_peos_test".encode()
    symbols = [one for one in of_type(found, "ksymbol") if records.name(one) == name]
    assert 0 in [one.flags for one in symbols]
    assert {one.ksym_type for one in symbols} == {b.PERF_RECORD_KSYMBOL_TYPE_BPF}
    assert symbols[0].addr > 2 ** (WORD - 1)
    assert symbols[0].len > 0


@needs_root
def test_text_poke_has_the_old_and_the_new_code(rings, tracefs, event):
    """Enabling a tracepoint patches the kernel; disabling it patches it back."""
    pages = rings(pid=-1, **SIDE_BAND, text_poke=1, data_pages=64)
    point = os.path.join(tracefs, "events", "sched", "sched_process_hang", "id")
    if not os.path.exists(point):
        pytest.skip("the kernel has no tracepoint sched:sched_process_hang")
    with open(point) as file:
        event(type=b.PERF_TYPE_TRACEPOINT, config=int(file.read()), cpu=CPUS[0], pid=-1)
    found = of_type(records_of(pages), "text_poke")
    if not found:
        pytest.skip("this kernel reports no patches of its code")
    for one in found:
        assert one.addr > 2 ** (WORD - 1)
        assert one.old_len + one.new_len > 0
        code = bytes(one.bytes[0 : one.old_len + one.new_len])
        assert code[: one.old_len] != code[one.old_len :]


def test_real_samples_have_what_the_system_says(event):
    """Page faults with most fields that a software event can fill."""
    absent = b.PERF_SAMPLE_RAW | b.PERF_SAMPLE_BRANCH_STACK | b.PERF_SAMPLE_AUX | b.PERF_SAMPLE_PHYS_ADDR
    kind = ALL_SAMPLE_BITS & ~absent & ~b.PERF_SAMPLE_WEIGHT_STRUCT
    fields = {
        "sample_type": kind,
        "read_format": b.PERF_FORMAT_MAX - 1,
        "sample_regs_user": 0b11_1100,
        "sample_regs_intr": 0b1_1100_0000,
        "sample_stack_user": 256,
        "exclude_callchain_kernel": 1,
        "exclude_kernel": 1,
        "disabled": 1,
    }
    fd = event(**PAGE_FAULTS, **fields)
    with ring.map(fd, 16) as page, mmap.mmap(-1, 20 * PAGE_SIZE) as area:
        ioctls.enable(fd)
        touch(area, 20)
        ioctls.disable(fd)
        buffer = ring.read(page)
        where = ffi.from_buffer(area)
        begin = int(ffi.cast("uintptr_t", where))
        ffi.release(where)
    end = begin + 20 * PAGE_SIZE
    samples = [sample for sample in records.parse(buffer, perf_event_attr(**fields)) if begin <= sample.addr < end]
    assert [sample.addr for sample in samples] == [begin + i * PAGE_SIZE for i in range(20)]
    for sample, after in itertools.pairwise(samples):
        assert sample.time < after.time
    for sample in samples:
        assert sample.id == sample.stream_id == ioctls.id(fd)
        assert (sample.pid, sample.tid) == (os.getpid(), threading.get_native_id())
        assert (sample.cpu in CPUS, sample.period) == (True, 1)
        assert sample.misc & b.PERF_RECORD_MISC_CPUMODE_MASK == b.PERF_RECORD_MISC_USER
        chain = records.callchain(buffer, sample)
        if len(chain) > 1 or platform.machine() != "s390x":  # where old kernels do not walk the user's stack
            assert list(chain[0:2]) == [b.PERF_CONTEXT_USER, sample.ip]
        assert sample.user_regs_abi == (b.PERF_SAMPLE_REGS_ABI_64 if WORD == 64 else b.PERF_SAMPLE_REGS_ABI_32)
        assert len(records.user_regs(buffer, sample)) == 4
        assert len(records.intr_regs(buffer, sample)) == 3
        assert len(records.user_stack(buffer, sample)) == 256
        [counts] = records.counts(buffer, sample)
        assert (counts.id, counts.lost) == (sample.id, 0)
        assert counts.time_enabled >= counts.time_running > 0
    values = [records.counts(buffer, sample)[0].value for sample in samples]
    assert values == list(range(values[0], values[0] + 20))


def test_two_tracepoints_in_one_ring_are_routed_by_id(event, tracefs):
    """Different sample_type, read_format and registers; each sample comes with its own event's fields."""

    def config(name):
        with open(os.path.join(tracefs, "events", *name.split(":"), "id")) as file:
            return int(file.read())

    first = {
        "type": b.PERF_TYPE_TRACEPOINT,
        "config": config("raw_syscalls:sys_enter"),
        "sample_period": 1,
        "sample_type": b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_RAW | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_REGS_USER,
        "sample_regs_user": 0b1_1000_0000,
    }
    second = {
        "type": b.PERF_TYPE_TRACEPOINT,
        "config": config("sched:sched_switch"),
        "sample_period": 1,
        "sample_type": b.PERF_SAMPLE_IDENTIFIER
        | b.PERF_SAMPLE_READ
        | b.PERF_SAMPLE_TID
        | b.PERF_SAMPLE_RAW
        | b.PERF_SAMPLE_REGS_USER
        | b.PERF_SAMPLE_CALLCHAIN,
        "read_format": b.PERF_FORMAT_ID | b.PERF_FORMAT_LOST | b.PERF_FORMAT_TOTAL_TIME_ENABLED,
        "sample_regs_user": 0b111,
    }
    fds = [event(**fields, disabled=1) for fields in (first, second)]
    with ring.map(fds[0], 32) as page:
        ioctls.set_output(fds[1], fds[0])
        for fd in fds:
            ioctls.enable(fd)
        for _ in range(10):
            os.getppid()
            select.select([], [], [], 0.001)
        for fd in fds:
            ioctls.disable(fd)
        buffer = ring.read(page)
    ids = [ioctls.id(fd) for fd in fds]
    samples = records.parse(buffer, dict(zip(ids, (perf_event_attr(**first), perf_event_attr(**second)), strict=True)))
    calls, switches = ([sample for sample in samples if sample.id == one] for one in ids)
    assert len(calls) >= 20
    assert len(switches) >= 10
    assert len(calls) + len(switches) == len(samples)
    for sample in calls:
        assert (sample.time > 0, sample.tid, sample.read_count, sample.callchain_count) == (True, 0, 0, 0)
        assert len(records.user_regs(buffer, sample)) == 2
        assert struct.unpack_from("=H", records.raw(buffer, sample))[0] == first["config"]
    for n, sample in enumerate(switches, 1):
        assert (sample.time, sample.tid) == (0, threading.get_native_id())
        assert len(records.user_regs(buffer, sample)) == 3
        assert struct.unpack_from("=H", records.raw(buffer, sample))[0] == second["config"]
        assert b.PERF_CONTEXT_KERNEL in records.callchain(buffer, sample)
        [counts] = records.counts(buffer, sample)
        assert (counts.id, counts.value, counts.lost) == (ids[1], n, 0)


def test_user_callchains_may_come_later(event):
    """With attr.defer_callchain a sample holds a cookie, and a record of its own the frames."""
    kind = b.PERF_SAMPLE_CALLCHAIN | b.PERF_SAMPLE_IDENTIFIER
    attr = {**PAGE_FAULTS, "sample_type": kind, "defer_callchain": 1, "defer_output": 1, "sample_id_all": 1}
    try:
        fd = event(**attr)
    except OSError as error:
        pytest.skip(f"this kernel defers no callchains: {os.strerror(error.errno)}")
    with ring.map(fd, 8) as page:
        fault(1)
        buffer = ring.read(page)
    deferred = {one.cookie: list(one.ips[0 : one.nr]) for one in of_type(records.iterate(buffer), "callchain_deferred")}
    chains = [list(records.callchain(buffer, one)) for one in records.parse(buffer, perf_event_attr(**attr))]
    cookies = [chain[chain.index(b.PERF_CONTEXT_USER_DEFERRED) + 1] for chain in chains]
    assert all(deferred[cookie] for cookie in cookies)

"""Records: structs, samples in the kernel's order, views, and bytes that are no records."""

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

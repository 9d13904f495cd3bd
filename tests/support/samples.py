"""Samples made up, encoded, decoded and compared field by field."""

import itertools
import random
import sys

from hypothesis import settings

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_event_attr, records

from .encode import BEFORE_READ, BEHIND_INTR, BEHIND_STACK, ONE_WORD, TIMES, encode_sample, record, u64

REPEATABLE = settings(max_examples=300)
SAMPLE_BITS = [1 << bit for bit in range(b.PERF_SAMPLE_MAX.bit_length() - 1)]
ALL_SAMPLE_BITS = (b.PERF_SAMPLE_MAX - 1) & ~b.PERF_SAMPLE_WEIGHT  # the kernel takes one of the two weights
BRANCH_FLAGS = (0, b.PERF_SAMPLE_BRANCH_HW_INDEX, b.PERF_SAMPLE_BRANCH_COUNTERS)
SAMPLE = b.PERF_RECORD_SAMPLE
GOOD = record(b.PERF_RECORD_SAMPLE, u64(1))  # of PLAIN
PLAIN = perf_event_attr(sample_type=b.PERF_SAMPLE_IP)


def random_values(rng, attr):
    """Make up the content of one sample of *attr*, each word with all of its 64 bits."""

    def words(n):
        return [rng.getrandbits(64) for _ in range(n)]

    values = {"id": rng.getrandbits(64)}
    for _, name in ONE_WORD:
        for part in name if isinstance(name, tuple) else (name,):
            values.setdefault(part, rng.getrandbits(32 if isinstance(name, tuple) else 64))  # type: ignore[arg-type]
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
    """Compare all fields and views of a sample with what was encoded; what the attr does not ask for is 0 or empty."""
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


def ips(n):
    """Return *n* samples of PLAIN, with the ips from 0 up."""
    return b"".join(record(b.PERF_RECORD_SAMPLE, u64(i)) for i in range(n))

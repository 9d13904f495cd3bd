"""What parse and parse_into hand out: sequences, lifetimes, buffers of every kind."""

import gc

import pytest
from support.encode import record, u64
from support.samples import GOOD, PLAIN, SAMPLE, ips

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_event_attr, records


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
    memory = bytearray(ffi.sizeof("struct perf_sample[3]"))  # type: ignore[arg-type]
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
    caught.value.cycle = cycle  # type: ignore[attr-defined]
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
    out = ffi.new("struct perf_sample[]", 4)
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
    assert records.parse_into(buffer, PLAIN, ffi.new("struct perf_sample[]", 2)) == (2, len(buffer))


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

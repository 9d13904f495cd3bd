"""Buffers that a caller gives: what is kept alive by what was found in them."""

import gc

import pytest
from support.encode import record, u64
from support.processes import in_child

from perf_event_open_sys import bindings as b
from perf_event_open_sys import perf_event_attr, records


def parse_to_corrupt(view):
    """Return the exception, whose traceback refers to the frames that hold *view*."""
    with pytest.raises(records.CorruptRecord) as caught:
        records.parse(view, perf_event_attr())
    return caught.value


IN_A_CYCLE = {
    "at": lambda view: records.at(view, 0),
    "iterate": lambda view: next(records.iterate(view)),
    "parse": parse_to_corrupt,
}


@pytest.mark.parametrize("use", IN_A_CYCLE.values(), ids=IN_A_CYCLE)
@pytest.mark.parametrize("make", [bytes, bytearray])
def test_a_memoryview_in_a_cycle_is_collected(make, use):
    """What keeps the records' memory alive is not the memoryview: CPython before 3.11.9 crashes at the end of one in use."""

    def collect():
        cycle: list[object] = []
        view = memoryview(make(bytes(64) + record(b.PERF_RECORD_LOST, u64(1, 2)) + bytes(8)))[64:]
        cycle += [view, use(view), cycle]
        del cycle, view
        return gc.collect()

    assert in_child(collect) > 0


def test_the_object_behind_a_memoryview_is_kept():
    """A record of a part of a bytearray forbids to resize it, as one of the whole does, until the record is gone."""
    memory = bytearray(bytes(8) + record(b.PERF_RECORD_LOST, u64(1, 2)))
    with memoryview(memory)[8:] as view:
        found = records.at(view, 0)
    with pytest.raises(BufferError):
        memory.clear()
    assert found.lost == 2  # type: ignore[attr-defined]
    del found
    memory.clear()


def test_an_array_in_a_buffer_keeps_the_buffer():
    """A callchain of a bytearray forbids to resize it, until it is gone."""
    memory = bytearray(record(b.PERF_RECORD_SAMPLE, u64(2, 11, 12)))
    [sample] = records.parse(memory, perf_event_attr(sample_type=b.PERF_SAMPLE_CALLCHAIN))
    chain = records.callchain(memory, sample)
    with pytest.raises(BufferError):
        memory.clear()
    assert list(chain) == [11, 12]
    del chain
    memory.clear()


def test_a_contiguous_part_of_memory_that_is_not_contiguous():
    """Its memoryview is used as it is."""
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    rows = numpy.frombuffer(record(b.PERF_RECORD_LOST, u64(1, 2)) * 4, "u1").reshape(4, -1)[::2]
    assert [one.lost for one in records.iterate(memoryview(rows)[1:])] == [2]  # type: ignore[attr-defined]

"""Streams of made-up bytes, as perf writes them to a pipe: what they tell of events and features, and when."""

import os
import threading

import pytest
from support.encode import record, u64
from support.perf_bytes import (
    ATTR,
    STREAM,
    Pipe,
    attr,
    event_desc,
    everything,
    header_attr,
    header_feature,
    read,
    sample,
    samples,
    stream,
)

from perf_event_open_sys import bindings as b
from perf_event_open_sys import perf_data, records

ROUND = record(perf_data.PERF_RECORD_FINISHED_ROUND)
TRACING = record(perf_data.PERF_RECORD_HEADER_TRACING_DATA, b"\x05\0\0\0") + b"abcde\0\0\0"  # 5 bytes, padded to 8


@pytest.mark.parametrize("step", [1, 7, 100, 1 << 16])
def test_stream_has_events_and_features_at_once(step):
    """What the records at its beginning tell; these, and all others, are in the chunks, in order."""
    told = [*STREAM, TRACING]
    described = header_feature(12, event_desc((ATTR, (1,), "cycles")))
    data = stream(*told, described, samples(5), ROUND, samples(2))
    with perf_data.open(Pipe(data, step)) as reader:
        features = reader.features
        assert (features["hostname"], features["tracing_data"]) == ("here", b"abcde\0\0\0")
        assert [(one.ids, one.name) for one in reader.events] == [((1,), "cycles")]
        found, error = everything(reader)
    assert (found, error) == (b"".join([*STREAM, TRACING[:12], described, samples(5), ROUND, samples(2)]), "")


def test_stored_stream_can_be_read_again(tmp_path):
    """What perf wrote to a pipe, in a file: events are not found twice."""
    path = tmp_path / "perf.pipe"
    path.write_bytes(stream(*STREAM, TRACING, samples(5)))
    expected = b"".join([*STREAM, TRACING[:12], samples(5)]), ""
    with perf_data.open(path) as reader:
        assert everything(reader) == everything(reader) == expected
        assert len(reader.events) == 1
        assert reader.features["hostname"] == "here"


def test_stream_is_read_once():
    """A second call of chunks() goes on where the first one stopped."""
    with perf_data.open(Pipe(stream(*STREAM, samples(400)), 1000)) as reader:
        first = bytes(next(reader.chunks()))
        rest, error = everything(reader)
        assert (first + rest, error) == (b"".join(STREAM) + samples(400), "")
        assert list(reader.chunks()) == []


def test_later_records_of_a_stream_tell_of_more():
    """Another event, the name of one, and build ids: all are there when the records have been read."""
    name = record(perf_data.PERF_RECORD_EVENT_UPDATE, u64(2, 1) + b"faults\0\0")
    unit = record(perf_data.PERF_RECORD_EVENT_UPDATE, u64(0, 1) + b"MiB\0\0\0\0\0")
    build = record(67, b"\xff\xff\xff\xff" + bytes(range(20)) + b"\0\0\0\0[kernel]\0\0\0\0\0\0\0\0", misc=1)
    data = stream(*STREAM, samples(1), header_attr(attr(config=9), (8,)), name, unit, build, samples(1))
    with perf_data.open(Pipe(data, 64)) as reader:
        assert [one.ids for one in reader.events] == [(1,)]
        assert everything(reader)[1] == ""
        assert [(one.attr.config, one.ids, one.name) for one in reader.events] == [(0, (1,), "faults"), (9, (8,), "")]
        assert isinstance(reader.attr, dict)
        assert set(reader.attr) == {1, 8}
        [found] = reader.features["build_id"]
        assert (found.pid, found.build_id, found.filename) == (-1, bytes(range(20)), "[kernel]")


def test_later_records_of_a_stored_stream_tell_of_more():
    """Where they are far behind the beginning, which is all that is looked at when the file is opened."""
    build = record(67, b"\xff\xff\xff\xff" + bytes(range(20)) + b"\0\0\0\0[kernel]\0\0\0\0\0\0\0\0", misc=1)
    others = header_feature(2, build) + build + header_attr(attr(config=9), (8,))
    with read(stream(*STREAM, samples(1), record(b.PERF_RECORD_LOST, bytes(32_000)) * 40, others)) as reader:
        assert [one.ids for one in reader.events] == [(1,)]
        assert everything(reader)[1] == ""
        assert [one.ids for one in reader.events] == [(1,), (8,)]
        assert [one.filename for one in reader.features["build_id"]] == ["[kernel]"] * 2


class Writes(Pipe):
    """What another program writes, of which each read gets one write; counts the reads."""

    n_reads = 0

    def __init__(self, *writes):
        super().__init__(b"".join(writes))
        self._sizes = [len(one) for one in writes]

    def readinto(self, buffer):
        """Read what was written at once, or as much of it as there is room for."""
        self.n_reads += 1
        if not self._sizes:
            return 0
        size = super().readinto(memoryview(buffer)[: self._sizes[0]])
        self._sizes[0] -= size
        self._sizes = self._sizes if self._sizes[0] else self._sizes[1:]
        return size


def test_no_more_is_read_than_what_comes_next():
    """A record in two parts is handed on with the second: a read more would wait for what may never come."""
    file = Writes(stream(*STREAM, samples(1)), sample(1)[:20], sample(1)[20:], sample(2) + sample(3)[:4], sample(3)[4:])
    size = len(sample(1))
    with perf_data.open(file) as reader:
        seen = [(len(chunk), file.n_reads) for chunk in reader.chunks()]
    assert seen == [(len(b"".join(STREAM)) + size, 1), (size, 3), (size, 4), (size, 5)]


def test_stream_is_handed_on_as_it_comes():
    """The records of a program that still runs are not held back until more come; memory stays bounded."""
    outlet, inlet = os.pipe()
    got, lock = [], threading.Semaphore(0)

    def write():
        with open(inlet, "wb", buffering=0) as file:
            file.write(stream(*STREAM, samples(1)))
            for n in range(1, 5):
                lock.acquire()
                file.write(sample(n))

    writer = threading.Thread(target=write)
    writer.start()
    with open(outlet, "rb") as file, perf_data.open(file) as reader:
        for chunk in reader.chunks():
            got += [one.tid for one in records.parse(chunk, reader.attr)]
            lock.release()
    writer.join()
    assert got == [0, 1, 2, 3, 4]


def test_fifo_by_its_path(tmp_path):
    """It is opened, read and closed."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=[stream(*STREAM, samples(5))])
    writer.start()
    with perf_data.open(path) as reader:
        assert everything(reader) == (b"".join(STREAM) + samples(5), "")
    writer.join()

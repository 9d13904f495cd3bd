"""perf.data files of made-up bytes: their events and records."""

import io
import mmap
import os

import pytest
from support.encode import encode_trailer, record, u64
from support.perf_bytes import (
    ATTR,
    MAGIC,
    SAMPLE_TYPE,
    STREAM,
    Pipe,
    attr,
    attr_bytes,
    auxtrace,
    event_desc,
    everything,
    perf_file,
    read,
    sample,
    samples,
    stream,
    string,
)

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_data, records
from perf_event_open_sys.perf_data import _layout
from perf_event_open_sys.perf_data._source import Mapped
from perf_event_open_sys.perf_data._stream import pieces

ROUND = record(perf_data.PERF_RECORD_FINISHED_ROUND)


def test_perfs_own_record_types_follow_one_another_above_the_kernels():
    """As perf's enumeration does: from 64 on, none left out, none twice."""
    names = [name for name in perf_data.__all__ if name.startswith("PERF_RECORD_")]
    values = {getattr(perf_data, name) for name in names}
    assert values == set(range(perf_data.PERF_RECORD_USER_TYPE_START, perf_data.PERF_RECORD_SCHEDSTAT_DOMAIN + 1))
    assert len(values) == len(names) - 1  # PERF_RECORD_USER_TYPE_START is the first one's number
    assert min(values) > b.PERF_RECORD_MAX


@pytest.mark.parametrize(
    ("number", "name"), [(1, "tracing_data"), (12, "event_desc"), (22, "mem_topology"), (31, "pmu_caps")]
)
def test_features_have_perfs_numbers(number, name):
    """Some of them, taken from perf's list."""
    assert _layout.FEATURES[number] == name
    assert _layout.FEATURE_NUMBERS[name] == number


def test_one_event_with_its_samples():
    """Its attr is that of the file, whatever the ids; the samples are decoded from the chunk as from a ring."""
    with read(perf_file(samples(3) + ROUND)) as reader:
        [event] = reader.events
        assert attr_bytes(event.attr) == attr_bytes(ATTR)
        assert (event.ids, event.name) == ((1,), "")
        assert reader.attr is event.attr
        [chunk] = reader.chunks()
        assert bytes(chunk) == samples(3) + ROUND
        found = records.parse(chunk, reader.attr)
        assert [(one.id, one.ip, one.tid, one.time) for one in found] == [(1, 0x1000 + n, n, 100 * n) for n in range(3)]
        assert [one.header.type for one in records.iterate(chunk)] == [b.PERF_RECORD_SAMPLE] * 3 + [68]


def test_several_events_are_told_apart_by_their_ids():
    """The attr is a mapping of all ids, which parse takes; names are those of the feature event_desc."""
    other = attr(config=3)
    events = [(ATTR, (1, 2)), (other, (7,))]
    features = {12: event_desc((ATTR, (1, 2), "cycles:u"), (other, (7,), "sched:sched_switch"))}
    data = b"".join(sample(n, identity=identity) for n, identity in enumerate((7, 2, 1)))
    with read(perf_file(data, events, features)) as reader:
        assert [(one.ids, one.name) for one in reader.events] == [((1, 2), "cycles:u"), ((7,), "sched:sched_switch")]
        assert {identity: one.config for identity, one in reader.attr.items()} == {1: 0, 2: 0, 7: 3}
        [chunk] = reader.chunks()
        assert [one.id for one in records.parse(chunk, reader.attr)] == [7, 2, 1]


def test_several_events_without_ids_have_the_first_ones_attr():
    """As perf reads such a file."""
    with read(perf_file(samples(1), [(ATTR, ()), (attr(config=5), ())])) as reader:
        assert len(reader.events) == 2
        assert reader.attr is reader.events[0].attr


def test_file_without_an_event():
    """It has records, but no attr."""
    with read(perf_file(ROUND, events=())) as reader:
        assert everything(reader) == (ROUND, "")
        with pytest.raises(ValueError, match="no event"):
            _ = reader.attr


@pytest.mark.parametrize("size", [64, 96, 144, 152])
def test_attr_of_another_size(size):
    """An older perf's is shorter, its missing fields 0; a later one's is longer, and may have zeros in them."""
    old = attr(size=size, wakeup_events=5)
    with read(perf_file(samples(2), [(old, (1,))])) as reader:
        assert (reader.attr.wakeup_events, reader.attr.size) == (5, min(size, ffi.sizeof("struct perf_event_attr")))
        assert everything(reader)[0] == samples(2)


def test_records_of_all_kinds_and_rows():
    """Those that perf makes itself have an id of 0; perf's own types have no trailer: both are rows of parse."""
    comm = record(b.PERF_RECORD_COMM, b"\1\0\0\0\1\0\0\0python\0\0" + encode_trailer(ATTR, {"id": 0, "time": 5}))
    with read(perf_file(comm + samples(1) + ROUND)) as reader:
        [chunk] = reader.chunks()
        rows = records.parse(chunk, reader.attr, all_records=True)
        assert [(row.type, row.id, row.time) for row in rows] == [(3, 0, 5), (9, 1, 0), (68, 0, 0)]


def test_chunks_can_be_had_again():
    """A file is read from the beginning by each call; views of it stay valid when the reader is closed."""
    data = perf_file(samples(4))
    with read(data) as reader:
        first, second = list(reader.chunks()), list(reader.chunks())
    assert [bytes(one) for one in first] == [bytes(one) for one in second] == [samples(4)]


def test_mapped_file_is_not_copied(tmp_path):
    """A chunk is a read-only view of the mapping, which is there until the last view goes."""
    path = tmp_path / "perf.data"
    path.write_bytes(perf_file(samples(4)))
    with perf_data.open(path) as reader:
        [chunk] = reader.chunks()
        assert chunk.readonly
        assert type(chunk.obj).__name__ == "mmap"
        fds = set(os.listdir("/proc/self/fd"))
    assert bytes(chunk) == samples(4)
    del chunk
    assert len(os.listdir("/proc/self/fd")) < len(fds)


@pytest.mark.parametrize("buffering", [-1, 0])
def test_file_object_is_read_from_its_position_on(tmp_path, buffering):
    """It stays the caller's, open."""
    path = tmp_path / "perf.data"
    path.write_bytes(b"something else" + perf_file(samples(4)))
    with path.open("rb", buffering=buffering) as file:
        file.read(14)
        with perf_data.open(file) as reader:
            assert everything(reader) == (samples(4), "")
            assert [type(chunk.obj) for chunk in reader.chunks()] == [mmap.mmap]  # it is not copied
        assert not file.closed


def test_file_of_text_is_refused(tmp_path):
    """It is opened in the wrong mode."""
    with (tmp_path / "x").open("w+") as file, pytest.raises(TypeError, match="binary mode"):
        perf_data.open(file)


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_file_that_comes_through_a_pipe_is_read_whole(step):
    """Its tables are behind its records; then all is as if it were a file."""
    data = perf_file(samples(4), features={3: string("here")})
    with perf_data.open(Pipe(data, step)) as reader:
        assert reader.features == {"hostname": "here"}
        assert everything(reader) == everything(reader) == (samples(4), "")


def test_aux_data_is_between_chunks_and_in_auxtrace():
    """A chunk ends behind an AUXTRACE record, and the next begins behind its data."""
    body = samples(2) + auxtrace(b"x" * 40) + samples(1, 2) + auxtrace(b"", offset=47) + samples(1, 3)
    for data, kept in ((perf_file(body), b""), (stream(*STREAM, body), b"".join(STREAM))):
        with read(data) as reader:
            chunks = [bytes(chunk) for chunk in reader.chunks()]
            expected = [kept + samples(2) + auxtrace(b"x" * 40)[:48], samples(1, 2) + auxtrace(b"", offset=47)]
            assert chunks == [*expected, samples(1, 3)]
            assert [bytes(one.data) for one in reader.auxtrace()] == [b"x" * 40, b""]
            [first, second] = reader.auxtrace()
            assert first._replace(data=None) == (7, 0x99, 3, 44, 1, None)
            assert second.offset == 47


def test_aux_data_of_a_stream():
    """It is read when it is asked for; the other records are passed over."""
    data = stream(*STREAM, samples(2), auxtrace(b"x" * 4000), samples(1), auxtrace(b"y" * 8))
    with perf_data.open(Pipe(data, 1000)) as reader:
        assert [(bytes(one.data), one.tid) for one in reader.auxtrace()] == [(b"x" * 4000, 44), (b"y" * 8, 44)]
    with perf_data.open(Pipe(data, 1000)) as reader:  # and where nobody asks, it is passed over
        kept = samples(2) + auxtrace(b"x" * 4000)[:48] + samples(1) + auxtrace(b"y" * 8)[:48]
        assert everything(reader) == (b"".join(STREAM) + kept, "")


def test_file_that_was_not_closed_is_read_up_to_its_last_whole_record():
    """Its header says that there are no records, and that there are features, which there are not."""
    whole = perf_file(samples(3), features={3: b""}, closed=False)
    for cut in (0, 1, 8, 30):
        with read(whole[: len(whole) - cut]) as reader:
            assert everything(reader) == (samples(3 if not cut else 2), "")
            assert reader.features == {}
    # Neither nothing, nor a record with an address of the kernel, is a table of features.
    for data in b"", record(b.PERF_RECORD_SAMPLE, u64(2**64 - 2**31)):
        with read(perf_file(data, features={3: b""}, closed=False)) as reader:
            assert everything(reader) == (data, "")
            assert reader.features == {}


def test_closed_file_without_records():
    """Its size of records is 0, too, but its features are there."""
    with read(perf_file(features={3: string("here"), 19: b""})) as reader:
        assert everything(reader) == (b"", "")
        assert reader.features == {"hostname": "here", "stat": True}


def test_directory_of_perf_record_threads(tmp_path):
    """The records of the threads, one file after the other in the order of their numbers, follow those of the main file."""
    (tmp_path / "data").write_bytes(perf_file(samples(1)))
    for number in (10, 2, 0):
        (tmp_path / f"data.{number}").write_bytes(samples(2, number))
    (tmp_path / "data.1").write_bytes(b"")
    for name in ("data.old", "notes1"):
        (tmp_path / name).write_bytes(b"not perf's")
    expected = samples(1) + samples(2) + samples(2, 2) + samples(2, 10)
    with perf_data.open(tmp_path) as reader:
        assert everything(reader) == (expected, "")
    (tmp_path / "data.10").write_bytes(samples(3, 10)[:-1])
    with perf_data.open(tmp_path) as reader:
        assert everything(reader)[0] == expected
        assert f"at byte {len(samples(3)) - 1}: the file ends" in everything(reader)[1]
    (tmp_path / "data").write_bytes(perf_file(samples(1), closed=False))
    with perf_data.open(tmp_path) as reader:  # perf was killed: any file may end early
        assert everything(reader) == (expected, "")


def test_directory_that_is_not_perfs(tmp_path):
    """It is refused as a directory."""
    with pytest.raises(IsADirectoryError, match=f"{tmp_path}.*perf record --threads"):
        perf_data.open(tmp_path)


def test_closed_reader_is_a_plain_error():
    """Whatever is asked of it; an iterator that was begun ends the same way."""
    reader = read(perf_file(samples(2) + auxtrace(b"12345678") + samples(2)))
    begun = reader.chunks()
    next(begun)
    reader.close()
    reader.close()
    asked = [lambda: reader.events, lambda: reader.attr, lambda: reader.features, reader.chunks, reader.auxtrace]
    for ask in [*asked, lambda: next(begun)]:
        with pytest.raises(ValueError, match="closed"):
            ask()


@pytest.mark.parametrize("file", [io.BytesIO, Pipe])
def test_columns_of_a_chunk(file):
    """They are the numbers that were encoded."""
    pytest.importorskip("numpy")
    with perf_data.open(file(stream(*STREAM, samples(100)))) as reader:
        [chunk] = reader.chunks()
        found = records.columns(chunk, reader.attr, ["ip", "tid", "time"])
    assert found["tid"].tolist() == list(range(100))
    assert found["time"].tolist() == list(range(0, 10_000, 100))


@pytest.mark.parametrize("window", [1, 7, 8, 39, 40, 41, 100, 1000])
def test_large_file_is_read_in_windows(window):
    """A record that begins in one and ends in the next is in the chunk that begins with it: none is cut, none is twice."""
    data = samples(9) + auxtrace(b"x" * 50) + samples(9, 9) + record(68, b"123") + samples(3)
    source = Mapped(memoryview(data), 1000, window=window)
    found = [bytes(piece.data) for piece in pieces(source) if not piece.auxtrace]
    assert b"".join(found) == data.replace(b"x" * 50, b"")
    assert len(found) > 1
    assert max(map(len, found)) <= max(window, 48) + 48
    assert source.offset == 1000 + len(data)


@pytest.mark.parametrize("step", [100, 3000, 1 << 20])
def test_columns_of_a_file(step):
    """All chunks' columns in one array each, be there one or two or many; of no samples, empty ones."""
    pytest.importorskip("numpy")
    with perf_data.open(Pipe(stream(*STREAM, samples(100)), step)) as reader:
        found = reader.columns(name for name in ("tid", "time"))
    assert found["tid"].tolist() == list(range(100))
    assert found["time"].tolist() == list(range(0, 10_000, 100))
    with read(perf_file()) as reader:
        assert [len(found) for found in reader.columns(["tid", "time"]).values()] == [0, 0]
        with pytest.raises(ValueError, match="no field 'tim'"):
            reader.columns(["tim"])
        with pytest.raises(TypeError, match="names, not a string"):
            reader.columns("tid")


def test_layout_is_what_these_tests_write():
    """The sizes of the fixed parts, of which reader and writer have one description."""
    sizes = _layout.HEADER.size, _layout.PIPE_HEADER.size, _layout.SECTION.size, _layout.RECORD_HEADER.size
    assert sizes == (104, 16, 16, 8)
    assert _layout.MAGIC == MAGIC
    assert SAMPLE_TYPE & b.PERF_SAMPLE_IDENTIFIER

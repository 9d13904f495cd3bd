"""perf.data files that are no such, or damaged: what comes before the damage is read, then an error names the place."""

import gc
import io
import os
import resource
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.encode import record, u64
from support.perf_bytes import (
    ATTR,
    HEADER_SIZE,
    MAGIC,
    Pipe,
    attr,
    auxtrace,
    event_desc,
    everything,
    header_attr,
    header_feature,
    perf_file,
    read,
    samples,
    stream,
    string,
)

from perf_event_open_sys import perf_data, records

SAMPLE_SIZE = len(samples(1))


def refusal(data):
    """Return the message with which a file is refused when it is opened, in memory and through a pipe alike."""
    with pytest.raises(ValueError, match=r"perf\.data, at byte \d+: ") as in_memory:
        read(data)
    with pytest.raises(ValueError, match=r"perf\.data, at byte \d+: ") as through_a_pipe:
        perf_data.open(Pipe(data))
    assert str(in_memory.value) == str(through_a_pipe.value)
    return str(in_memory.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0: this is no perf.data file: it begins with b'', not with"),
        (b"\x7fELF" + bytes(200), "0: this is no perf.data file: it begins with b'\\x7fELF"),
        (MAGIC[:7], "0: this is no perf.data file"),
        (MAGIC[::-1] + bytes(200), "0: it was written on a machine that is not"),
        (b"PERFFILE" + bytes(200), "0: the file is of the format before Linux 2.6.33"),
        (MAGIC + b"\x10", "9: the file ends in the middle of its header"),
        (MAGIC + u64(104) + bytes(80), "0: the header is cut short"),
        (MAGIC + u64(103) + bytes(88), "8: a header of 103 bytes"),
    ],
)
def test_what_is_no_perf_data_file_is_refused(data, why):
    """Another file, one of the other byte order, the first version of the format, a part of a header."""
    assert refusal(data).startswith(f"perf.data, at byte {why}")


def test_empty_file_is_refused(tmp_path):
    """It cannot be mapped, and is no perf.data file."""
    (tmp_path / "perf.data").touch()
    with pytest.raises(ValueError, match=r"no perf\.data file"):
        perf_data.open(tmp_path / "perf.data")
    with pytest.raises(FileNotFoundError):
        perf_data.open(tmp_path / "absent")


def test_device_without_an_end_is_refused():
    """It is read as a stream, and not whole."""
    with pytest.raises(ValueError, match=r"no perf\.data file"):
        perf_data.open("/dev/zero")


def changed(data, at, value):
    """Return the file with another 64-bit number at a place."""
    return data[:at] + u64(value) + data[at + 8 :]


WHOLE = perf_file(samples(4), [(ATTR, (1, 2))], {3: string("here")})
AT = {"stride": 16, "attrs": 24, "attrs size": 32, "records": 40, "size of records": 48}
ATTR_AT = HEADER_SIZE + 16  # behind two ids


@pytest.mark.parametrize("stride", [0, 7, 16, 79, 2**31, 2**63])
def test_table_of_attrs_with_an_impossible_stride(stride):
    """There is no attr of so many bytes; the place is that of the number, or of the attr."""
    message = refusal(changed(WHOLE, AT["stride"], stride))
    assert message.startswith(("perf.data, at byte 16: a table of attrs", f"perf.data, at byte {ATTR_AT}: an attr of"))


@pytest.mark.parametrize("size", [1, 7, 63, 129, 2**31, 2**32 - 1])
def test_attr_with_an_impossible_size(size):
    """In a table, and in a stream: an attr has 64 bytes at least, and not more than there are."""
    data = WHOLE[: ATTR_AT + 4] + struct.pack("=I", size) + WHOLE[ATTR_AT + 8 :]
    assert f"byte {ATTR_AT}: an attr of {size} bytes" in refusal(data)
    told = stream(header_attr(ids=()))
    told = told[:28] + struct.pack("=I", size) + told[32:]
    assert f"byte 24: an attr of {size} bytes" in refusal(told)
    at = ATTR_AT + 144  # of the second
    two = perf_file(events=[(ATTR, (1,)), (ATTR, (2,))])
    assert f"byte {at}: an attr of {size} bytes" in refusal(two[: at + 4] + struct.pack("=I", size) + two[at + 8 :])


def test_attr_of_size_0_is_the_first_published_one():
    """As for the kernel: it has 64 bytes."""
    old = attr(size=64)
    data = perf_file(samples(2), [(old, (1,))])
    data = data[: HEADER_SIZE + 12] + bytes(4) + data[HEADER_SIZE + 16 :]
    with read(data) as reader:
        assert everything(reader) == (samples(2), "")


def test_attr_with_fields_that_these_headers_do_not_know():
    """They may say how the records look."""
    new = perf_file(samples(2), [(attr(size=160), (1,))])
    at = HEADER_SIZE + 8
    assert f"byte {at}: there is more than zeros" in refusal(new[: at + 150] + b"\1" + new[at + 151 :])


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        ("attrs", 2**40, "the table of attrs should be here"),
        ("attrs", 2**64 - 1, "the table of attrs should be here"),
        ("attrs size", 2**63, "table of attrs"),
        ("attrs size", 145, "a table of attrs with 145 bytes, 144 for each"),
        ("records", 2**63, "the records should begin here"),
        ("records", len(WHOLE) + 1, "the records should begin here"),
    ],
)
def test_section_outside_of_the_file(place, value, why):
    """The message says what should be there."""
    assert why in refusal(changed(WHOLE, AT[place], value))


@pytest.mark.parametrize("size", [7, 2**32 * 8, 2**64 - 8])
def test_ids_outside_of_the_file(size):
    """Whatever count of them the file claims, no memory is taken for it."""
    assert "ids" in refusal(changed(WHOLE, ATTR_AT + 136, size))


def test_ids_that_events_have_in_common():
    """A record could be of either."""
    assert "two events have the id 5" in refusal(perf_file(events=[(ATTR, (4, 5)), (ATTR, (5, 6))]))
    assert "two events have the id 5" in refusal(stream(header_attr(ids=(5,)), header_attr(ids=(5,))))


def test_large_counts_take_no_memory():
    """A thousand attrs that all claim the same million ids are refused at the second one."""
    one = WHOLE[ATTR_AT : ATTR_AT + 128] + u64(HEADER_SIZE, 8_000_000)
    header = MAGIC + u64(HEADER_SIZE, 144, HEADER_SIZE, 144 * 1000, HEADER_SIZE, 8) + bytes(48)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = header + one * 1000
    data += b"".join(u64(*range(n, n + 1000)) for n in range(0, 1_000_000, 1000))
    assert "two events have the id" in refusal(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000


@pytest.mark.parametrize("cut", [1, 8, SAMPLE_SIZE - 8, SAMPLE_SIZE - 1, SAMPLE_SIZE, SAMPLE_SIZE + 1, 3 * SAMPLE_SIZE])
def test_truncated_file_gives_what_is_before_the_end(cut):
    """The records that are whole, then an error with the end's place; the features were behind them."""
    whole = perf_file(samples(4), features={3: string("here")})
    begin = struct.unpack_from("=Q", whole, 40)[0]
    size = begin + 4 * SAMPLE_SIZE - cut
    with read(whole[:size]) as reader:
        found, error = everything(reader)
        assert found == samples((4 * SAMPLE_SIZE - cut) // SAMPLE_SIZE)
        what = f"the record at byte {begin + len(found)}" if cut % SAMPLE_SIZE else f"its records, {cut} bytes before"
        assert f"at byte {size}: the file ends in the middle of {what}" in error
        with pytest.raises(ValueError, match="the table of features should be here"):
            _ = reader.features


def test_truncated_features():
    """The records are all there; the feature is not."""
    with read(WHOLE[:-1]) as reader:
        assert everything(reader) == (samples(4), "")
        with pytest.raises(ValueError, match="the feature 3 should be here"):
            _ = reader.features


@pytest.mark.parametrize("size", [0, 7, 12])
def test_record_that_cannot_be_one(size):
    """Those before it are delivered, in files and in streams; so are those before it in the same chunk of a pipe."""
    bad = record(9, bytes(32), size=size)
    body = samples(3) + bad + samples(3)
    for data, before in ((perf_file(body), b""), (stream(header_attr(), body), header_attr())):
        at = data.index(bad)
        for file in (io.BytesIO(data), Pipe(data, 100)):
            with perf_data.open(file) as reader:
                found, error = everything(reader)
            assert found == before + samples(3)
            assert f"at byte {at}: no record can be here" in error


def test_foreign_text_at_the_end_of_a_stream():
    """As where perf's messages went into the same file: an error, behind all the records."""
    data = stream(header_attr(), samples(3)) + b"[ perf record: Woken up 1 times to write data ]\n"
    for file in (io.BytesIO(data), Pipe(data, 100)):
        with perf_data.open(file) as reader:
            found, error = everything(reader)
        assert found == header_attr() + samples(3)
        assert "at byte" in error


@pytest.mark.parametrize("cut", [1, 5, SAMPLE_SIZE - 1])
def test_fifo_that_ends_early(tmp_path, cut):
    """The writer died: the whole records, then an error, and nothing hangs."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = stream(header_attr(), samples(3))[:-cut]
    writer = threading.Thread(target=path.write_bytes, args=[data])
    writer.start()
    with perf_data.open(path) as reader:
        found, error = everything(reader)
    writer.join()
    assert found == header_attr() + samples(2)
    assert f"at byte {len(data)}: the file ends in the middle of the record" in error


def test_stream_that_ends_before_its_first_record():
    """In its header, it is refused; behind it, there is no event."""
    assert "the middle of its header" in refusal(stream()[:12])
    assert "the middle of the record at byte 16" in refusal(stream(header_attr())[:50])
    with perf_data.open(Pipe(stream())) as reader:
        assert reader.events == []
        assert list(reader.chunks()) == []
        assert reader.features == {}


def test_pipe_that_does_not_wait():
    """A file in non-blocking mode is refused when there is nothing to read: it would seem to be at its end."""
    outlet, inlet = os.pipe()
    os.set_blocking(outlet, False)
    with open(outlet, "rb", buffering=0) as file, open(inlet, "wb"), pytest.raises(ValueError, match="blocking mode"):
        perf_data.open(file)


@pytest.mark.parametrize("size", [2**40, 2**64 - 1, 41])
def test_data_that_should_follow_a_record_and_does_not(size):
    """AUX data that is cut short: the records before are delivered, the data is not."""
    body = samples(2) + auxtrace(b"x" * 40, size=size)
    for data, kept in ((perf_file(body), b""), (stream(header_attr(), body), header_attr())):
        for file in (io.BytesIO(data), Pipe(data, 100)):
            with perf_data.open(file) as reader:
                found, error = everything(reader)
            assert found == kept + body[:-40]
            end, at = len(data), data.index(body[-40 - 48 : -40])
            assert (
                error == f"perf.data, at byte {end}: the file ends in the middle of the data of the record at byte {at}"
            )
            message = f"at byte {end}: the file ends in the middle of {size} bytes that should follow a record"
            with perf_data.open(type(file)(data)) as reader, pytest.raises(ValueError, match=message):
                list(reader.auxtrace())


@pytest.mark.parametrize("kind", [66, 71])
def test_record_with_data_that_does_not_say_how_much(kind):
    """It is too short."""
    with read(perf_file(samples(1) + record(kind) + samples(1))) as reader:
        found, error = everything(reader)
    assert found == samples(1) + record(kind)
    assert f"at byte {HEADER_SIZE + 8 + 144 + SAMPLE_SIZE}: a record of type {kind} and 8 bytes" in error


@pytest.mark.parametrize("kind", [64, 67, 78, 80])
@pytest.mark.parametrize("size", [8, 20, 30])
def test_record_of_a_stream_that_is_too_short_to_tell_what_it_should(kind, size):
    """It is a plain error; behind the first samples, these are delivered."""
    bad = record(kind, bytes(size - 8))
    with perf_data.open(Pipe(stream(header_attr(), samples(2)) + bad, 1 << 20)) as reader:
        found, error = everything(reader)
        assert found.startswith(header_attr() + samples(2))
        assert (error == "") == ((kind, size) in ((78, 30), (80, 20), (80, 30)))
        what = {64: "an attr of", 67: "a build id's record of"}.get(kind, f"a record of type {kind} is cut short")
        assert error == "" or f": {what}" in error


def test_error_that_is_kept_holds_no_memoryview_that_is_in_use():
    """CPython before 3.11.9 and 3.12.3 crashes when its garbage collector meets one."""
    bad = record(perf_data.PERF_RECORD_HEADER_ATTR, bytes(8))
    for file in (io.BytesIO(stream(bad)), Pipe(stream(bad)), Pipe(stream(header_attr(), samples(1), bad), 50)):
        with pytest.raises(ValueError, match="at byte") as refused, perf_data.open(file) as reader:
            list(reader.chunks())
        frames = [entry.frame for entry in refused.traceback]
        views = [value for frame in frames for value in frame.f_locals.values() if isinstance(value, memoryview)]
        assert views
        for view in views:
            view.release()  # a BufferError if it is in use


def test_damaged_file_does_not_stay_open(tmp_path):
    """Once the error is gone its mapping is, without a garbage collection."""
    (tmp_path / "perf.data").write_bytes(WHOLE[:-200])
    gc.disable()
    try:
        before = os.listdir("/proc/self/fd")
        with perf_data.open(tmp_path / "perf.data") as reader:
            assert "the file ends in the middle of" in everything(reader)[1]
        assert os.listdir("/proc/self/fd") == before
    finally:
        gc.enable()


def consume(data):
    """Read all that can be read from a file; whatever its bytes, nothing but a ValueError may come of it."""
    for make in (io.BytesIO, Pipe):
        try:
            reader = perf_data.open(make(data))
        except ValueError:
            continue
        with reader:
            asked = [
                lambda reader: reader.features,
                lambda reader: [records.parse(chunk, reader.attr, all_records=True) for chunk in reader.chunks()],
                lambda reader: [list(records.iterate(chunk)) for chunk in reader.chunks()],
                lambda reader: [bytes(one.data) for one in reader.auxtrace()],
                lambda reader: [event.name.encode(errors="surrogateescape") for event in reader.events],
            ]
            for ask in asked:
                try:
                    ask(reader)
                except ValueError as error:
                    assert str(error)  # noqa: PT017 - that there is none is fine


FEATURES = {3: string("here"), 7: struct.pack("=II", 2, 2), 12: event_desc((ATTR, (1,), "a"), (ATTR, (2,), "b"))}
EVENTS = [(ATTR, (1,)), (ATTR, (2,))]
SEEDS = [
    perf_file(samples(3) + auxtrace(b"x" * 16) + record(68), EVENTS, FEATURES),
    perf_file(samples(3), EVENTS, FEATURES, closed=False),
    stream(header_attr(), *(header_feature(*one) for one in FEATURES.items()), samples(3), auxtrace(b"x" * 16)),
]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=8)), max_size=6))
def test_changed_bytes_are_a_value_error_or_nothing(seed, changes):
    """Wherever they are in a file or a stream."""
    data = bytearray(seed)
    for at, new in changes:
        at %= len(data)
        data[at : at + len(new)] = new
    consume(bytes(data))


@given(st.sampled_from(SEEDS), st.integers(0, 2000), st.integers(0, 2000), st.binary(max_size=20))
def test_bytes_that_are_missing_or_added_are_a_value_error_or_nothing(seed, at, behind, new):
    """A part of the file is replaced by another of any length."""
    consume(seed[:at] + new + seed[behind:])

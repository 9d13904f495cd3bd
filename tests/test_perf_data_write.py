"""perf.data files that are written: what stands in them, whole at any time; perf itself reads them in tests/oracle."""

import errno
import os
import re
import resource
import struct
import sys
from typing import Any

import pytest
from support.encode import record, u64
from support.perf_files import read_file
from support.processes import in_child
from support.samples import ips

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_data, perf_event_attr, records
from perf_event_open_sys.perf_data import _layout

FEATURES = _layout.FEATURE_NUMBERS
PLAIN = perf_event_attr(type=b.PERF_TYPE_SOFTWARE, config=2, sample_period=1, sample_type=b.PERF_SAMPLE_IP)
WITH_TRAILER = perf_event_attr(
    sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME, sample_id_all=1, sample_period=1
)
BARE = dict.fromkeys(FEATURES)  # no features


def write(path, *buffers, attr=PLAIN, **options):
    """Write a file of one event; return its sections."""
    with perf_data.create(path, [(attr, [7], "one")], **options) as writer:
        for buffer in buffers:
            writer.write(buffer)
    return read_file(path)


def test_records_are_in_the_file_as_they_were_given(tmp_path):
    """In their order; the writer counts samples, lost records and bytes."""
    lost = record(b.PERF_RECORD_LOST, u64(7, 30))
    with perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")]) as writer:
        writer.write(ips(2000))
        writer.finished_round()
        writer.write(lost + ips(3) + lost)
        assert (writer.n_samples, writer.lost, writer.size) == (2003, 60, 2003 * 16 + 2 * 24 + 8)
    file = read_file(tmp_path / "data")
    assert file.data == ips(2000) + record(perf_data.PERF_RECORD_FINISHED_ROUND, b"") + lost + ips(3) + lost
    assert bytes(ffi.buffer(file.by_id[7], 64)) == bytes(ffi.buffer(PLAIN, 64)).replace(b"\x90", b"\x40", 1)


@pytest.mark.parametrize(
    ("field", "value", "size"),
    [
        ("config", 1, 64),
        ("bp_len", 1, 72),
        ("bp_len", 2**64 - 1, 72),
        ("sample_max_stack", 1, 112),
        ("sig_data", 2**64 - 1, 128),
        ("config4", 1, 144),
    ],
)
def test_attrs_are_as_short_as_their_fields_allow(field, value, size, tmp_path):
    """In the smallest published size, which the attr itself names; all attrs of a file have that of the largest."""
    large = perf_event_attr(**{field: value})
    with perf_data.create(tmp_path / "data", [(PLAIN, [1, 2], "a"), (large, [3], "b")]):
        pass
    file = read_file(tmp_path / "data")
    assert file.attr_size == size
    assert [(identity, attr.size) for identity, attr in file.by_id.items()] == [(1, size), (2, size), (3, size)]
    assert getattr(file.by_id[3], field) == value


def test_features_are_said_without_being_asked(tmp_path):
    """What perf shows as a header, and the names of the events."""
    file = write(tmp_path / "data")
    uname = os.uname()
    for name, text in ("hostname", uname.nodename), ("osrelease", uname.release), ("arch", uname.machine):
        content = file.features[FEATURES[name]]
        assert struct.unpack_from("=I", content) == (len(content) - 4,)
        assert content[4:].rstrip(b"\0").decode() == text
    assert struct.unpack_from("=I", file.features[FEATURES["cmdline"]]) == (len(sys.orig_argv),)
    described = file.features[FEATURES["event_desc"]]
    assert struct.unpack_from("=II", described) == (1, 64)
    assert described[8 + 64 :] == struct.pack("=II64sQ", 1, 64, b"one", 7)


def test_features_that_are_given_replace_those_that_are_known(tmp_path):
    """None leaves one out, bytes are taken as they are."""
    own = {"hostname": "elsewhere", "arch": None, "cpu_topology": b"as it is", "nrcpus": (8, 4)}
    features = write(tmp_path / "data", features=own).features
    assert features[FEATURES["hostname"]][4:14] == b"elsewhere\0"
    assert FEATURES["arch"] not in features
    assert features[FEATURES["cpu_topology"]] == b"as it is"
    assert features[FEATURES["nrcpus"]] == struct.pack("=II", 8, 4)
    assert write(tmp_path / "data", features=BARE).features == {}
    places = [write(tmp_path / "data", features=BARE | {"arch": bytes(size)}).begin for size in range(9)]
    assert [place % 8 for place in places] == [0] * 9  # of the records, which follow the features


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"hostnam": "a"}, "no feature 'hostnam'; did you mean hostname or stat?"),
        ({"cpu_topology": [1]}, "give the feature 'cpu_topology' as the bytes of its section, not as list"),
        ({"nrcpus": 3}, "no value of the feature 'nrcpus': 3 "),
        ({255: "text"}, "give the feature 255 as the bytes of its section, not as str"),
        ({256: b""}, "no feature 256"),
        ({"total_mem": -1}, "no value of the feature 'total_mem': -1 "),
    ],
)
def test_features_that_cannot_be_are_refused(features, message, tmp_path):
    """By name, and no file is made."""
    with pytest.raises(ValueError, match=re.escape(message)):
        perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")], features=features)
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_read_back(tmp_path):
    """The reader finds events, features and records; written again by what it gave, they make the same file."""
    event = perf_data.Event(WITH_TRAILER, (7, 9), "mine:u")
    features: dict[Any, Any] = {
        "group_desc": [("{a}", 0, 2), ("{b}", 2, 3)],
        "sample_time": (3, 4),
        "cpuid": "a,b",
        "clockid": 1,
        "hostname": "h",
    }
    features |= {200: b"of a later perf", "build_id": [(-1, bytes(range(20)), "/bin/a b")], "cmdline": ["a", "\udcff"]}
    with perf_data.create(tmp_path / "data", [event], features=features) as writer:
        writer.synthesize(os.getpid())
        writer.finished_round()
    with perf_data.open(tmp_path / "data") as reader:
        assert [(one.ids, one.name) for one in reader.events] == [((7, 9), "mine:u")]
        found = {name: reader.features[name] for name in features}
        assert found == features | {"cmdline": ("a", "\udcff")}
        with perf_data.create(tmp_path / "copy", reader.events, features=reader.features) as copy:
            for chunk in reader.chunks():
                copy.write(chunk)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "data").read_bytes()


def test_a_process_that_is_killed_leaves_all_that_it_wrote(tmp_path):
    """The header tells of the records of every call that has returned; there are no features."""

    def die():
        writer = perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")])
        writer.write(ips(100))
        writer.write(ips(5))
        os.kill(os.getpid(), 9)

    with pytest.raises(ChildProcessError, match="SIGKILL"):
        in_child(die)
    file = read_file(tmp_path / "data")
    assert (file.data, file.features) == (ips(100) + ips(5), {})


@pytest.mark.parametrize("step", [1, 7, 1000, 10_000])
@pytest.mark.parametrize("room", range(40_000, 40_016, 5))
def test_a_full_disk_leaves_whole_records_and_the_features(room, step, tmp_path):
    """Where the file may grow no more: what fits is kept, up to the last whole record, and leaves room for the features."""

    def fill():
        writer = perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")])
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        code = 0
        while not code:
            try:
                writer.write(ips(step))
            except OSError as error:
                code = error.errno or 0
        assert code == errno.EFBIG
        writer.close()
        return writer.n_samples

    n_samples = in_child(fill)
    file = read_file(tmp_path / "data")
    assert file.data == ips(step) * (n_samples // step) + ips(n_samples % step)
    assert FEATURES["event_desc"] in file.features
    assert room - 5000 < (tmp_path / "data").stat().st_size <= room


def test_a_disk_too_full_for_the_features_leaves_the_records(tmp_path):
    """Closing raises; what was recorded is there to read."""

    def fill():
        writer = perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")])
        writer.write(ips(1000))
        size = os.path.getsize(tmp_path / "data") + 8
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        writer.close()

    with pytest.raises(OSError, match="File too large"):
        in_child(fill)
    file = read_file(tmp_path / "data")
    assert (file.data, file.features) == (ips(1000), {})
    assert (tmp_path / "data").stat().st_size == file.begin + len(file.data)


@pytest.mark.parametrize("step", [0, 2000])
def test_a_full_disk_may_take_earlier_writes_too(step, tmp_path):
    """Where the last ones were too short to make room for the features: as many as it takes, up to the first."""

    def fill():
        writer = perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")])
        writer.write(ips(step))
        writer.finished_round()
        writer.write(ips(1))
        limit(tmp_path / "data", 20)
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            writer.write(ips(100))
        assert (writer.n_samples, writer.lost, writer.size) == (0, 0, 0)
        limit(tmp_path / "data", 500)
        writer.close()

    in_child(fill)
    file = read_file(tmp_path / "data")
    assert file.data == b""
    assert FEATURES["event_desc"] in file.features


def test_a_disk_that_is_full_twice_leaves_whole_records(tmp_path):
    """What is written after the first time begins and ends at other places than what was given up then."""
    lost = record(b.PERF_RECORD_LOST, u64(7, 1))

    def fill():
        writer = perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")])
        for one, count in (ips(1), 200), (lost, 65):
            for _ in range(count):
                writer.write(one)
            limit(tmp_path / "data", 8)
            with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
                writer.write(one)
            limit(tmp_path / "data", 1 << 20)
        writer.close()
        return writer.n_samples, writer.lost

    n_samples, n_lost = in_child(fill)
    assert 100 < n_samples < 200
    assert 0 < n_lost < 65
    assert read_file(tmp_path / "data").data == ips(1) * n_samples + lost * n_lost


def limit(path, room):
    """Let files grow to the size of this one and *room* bytes more."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, most))


def test_a_write_that_takes_a_part_is_followed_by_another(monkeypatch, tmp_path):
    """As one of more than 2 GiB does, and one that a signal interrupts."""
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, place: pwrite(fd, data[:1000], place))
    assert write(tmp_path / "data", ips(200)).data == ips(200)


def test_a_file_is_its_owners_and_has_nothing_of_an_earlier_one(tmp_path):
    """Whatever the umask; what an earlier file had is gone before there are records, by which it would be taken for some."""
    before = os.umask(0)
    try:
        with perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")]):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o600
    (tmp_path / "data").write_bytes(ips(10_000))
    with perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")]), perf_data.open(tmp_path / "data") as reader:
        assert list(reader.chunks()) == []


def test_a_file_that_cannot_be_begun_is_removed(tmp_path):
    """No empty file is left."""

    def begin():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")])

    with pytest.raises(OSError, match="File too large"):
        in_child(begin)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (".", errno.EISDIR, ""),
        ("/dev/full", errno.ENOSPC, ""),
        ("absent/data", errno.ENOENT, ""),
        ("fifo", errno.ESPIPE, " (a perf.data file is not written in order: it cannot be a pipe)"),
    ],
)
def test_what_cannot_be_written_is_an_error(path, code, message, tmp_path):
    """A directory, a full device, a directory that is not there, a pipe: and nothing is removed."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        perf_data.create(tmp_path / path, [(PLAIN, [7], "one")])
    assert caught.value.errno == code
    assert not message or str(caught.value).endswith(f"perf_data.create: {os.strerror(code)}{message}")
    assert os.path.exists("/dev/full")
    assert os.listdir(tmp_path) == ["fifo"]


def test_the_null_device_takes_everything():
    """To measure, or to try."""
    with perf_data.create("/dev/null", [(PLAIN, [7], "one")]) as writer:
        writer.write(ips(10))
    assert writer.n_samples == 10


def test_many_records_are_counted_one_by_one(tmp_path):
    """Whether there are many samples between other records, or other records among them."""
    lost = record(b.PERF_RECORD_LOST, u64(7, 30))
    with perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")]) as writer:
        writer.write(ips(1) * 40_000 + lost + ips(1) * 20_000 + lost)
    assert (writer.n_samples, writer.lost) == (60_000, 60)


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("corrupt", [b"1234567", ips(1)[:-8], struct.pack("=IHH", 9, 0, 7), bytes(8)])
def test_a_buffer_that_is_no_records_is_not_written(corrupt, before, tmp_path):
    """Nor the records before the place, which the error names."""
    with perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")]) as writer:
        writer.write(ips(2))
        with pytest.raises(records.CorruptRecord) as caught:
            writer.write(ips(before) + corrupt)
        assert (caught.value.offset, caught.value.n_samples) == (before * 16, before)
        assert (writer.n_samples, writer.size) == (2, 32)
    assert read_file(tmp_path / "data").data == ips(2)


def test_a_closed_writer_refuses(tmp_path):
    """Closing twice is nothing; a writer that nobody closed warns."""
    writer = perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")])
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="is closed"):
        writer.write(ips(1))
    with pytest.raises(ValueError, match="events is empty"):
        perf_data.create(tmp_path / "other", [])
    with pytest.warns(ResourceWarning, match="was not closed"):
        perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")]).__del__()

"""perf.data files that are written: what stands in them, whole at any time; perf itself reads them in tests/oracle."""

import errno
import mmap
import os
import re
import resource
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.encode import record, u64
from support.marks import needs_root
from support.perf_files import read_file
from support.processes import in_child
from support.samples import ips

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_data, perf_event_attr, records
from perf_event_open_sys.perf_data import _layout, _synthesize

FEATURES = _layout.FEATURE_NUMBERS
PLAIN = perf_event_attr(type=b.PERF_TYPE_SOFTWARE, config=2, sample_period=1, sample_type=b.PERF_SAMPLE_IP)
WITH_TRAILER = perf_event_attr(
    sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME, sample_id_all=1, sample_period=1
)
BARE = dict.fromkeys(FEATURES)  # no features


def all_records(data):
    """Return each record as a pointer to its struct."""
    return list(records.iterate(data))


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
    ("field", "size"), [("config", 64), ("bp_len", 72), ("sample_max_stack", 112), ("sig_data", 128), ("config4", 144)]
)
def test_attrs_are_as_short_as_their_fields_allow(field, size, tmp_path):
    """In the smallest published size, which the attr itself names; all attrs of a file have that of the largest."""
    large = perf_event_attr(**{field: 1})
    with perf_data.create(tmp_path / "data", [(PLAIN, [1, 2], "a"), (large, [3], "b")]):
        pass
    file = read_file(tmp_path / "data")
    assert file.attr_size == size
    assert [(identity, attr.size) for identity, attr in file.by_id.items()] == [(1, size), (2, size), (3, size)]
    assert getattr(file.by_id[3], field) == 1


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


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"hostnam": "a"}, "no feature 'hostnam'; did you mean hostname"),
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
        "group_desc": [("{a}", 0, 2)],
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


def test_a_file_that_cannot_be_begun_is_removed(tmp_path):
    """No empty file is left."""

    def begin():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")])

    with pytest.raises(OSError, match="File too large"):
        in_child(begin)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [(".", errno.EISDIR), ("/dev/full", errno.ENOSPC), ("absent/data", errno.ENOENT), ("fifo", errno.ESPIPE)],
)
def test_what_cannot_be_written_is_an_error(path, code, tmp_path):
    """A directory, a full device, a directory that is not there, a pipe: and nothing is removed."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        perf_data.create(tmp_path / path, [(PLAIN, [7], "one")])
    assert caught.value.errno == code
    assert os.path.exists("/dev/full")
    assert os.listdir(tmp_path) == ["fifo"]


def test_the_null_device_takes_everything():
    """To measure, or to try."""
    with perf_data.create("/dev/null", [(PLAIN, [7], "one")]) as writer:
        writer.write(ips(10))
    assert writer.n_samples == 10


@pytest.mark.parametrize("corrupt", [b"1234567", ips(1)[:-8], struct.pack("=IHH", 9, 0, 7), ips(3) + bytes(8)])
def test_a_buffer_that_is_no_records_is_not_written(corrupt, tmp_path):
    """Nor the records before the place."""
    with perf_data.create(tmp_path / "data", [(PLAIN, [7], "one")]) as writer:
        writer.write(ips(2))
        with pytest.raises(records.CorruptRecord):
            writer.write(ips(2) + corrupt)
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


def expected_map(addresses, flags, offset, _device, inode, name="//anon"):
    """Return what the record of a line of /proc/PID/maps must say."""
    protection = sum(1 << "rwx".index(letter) for letter in flags[:3] if letter != "-")
    sharing = {"s": mmap.MAP_SHARED, "p": mmap.MAP_PRIVATE}[flags[3]]
    return addresses, protection, sharing, int(offset, 16), int(inode), name.replace("\\012", "\n").encode()


def test_a_process_that_runs_is_synthesized(tmp_path):
    """FORK and COMM of each thread, MMAP2 of what is executable, as /proc has them, with pid and tid in the trailers."""
    strange = tmp_path / "a b\nc"
    strange.write_bytes(bytes(8192))
    go, comms = threading.Event(), {}

    def run():
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(") R 1 (")
        comms[threading.get_native_id()] = b") R 1 ("
        ready.set()
        go.wait()

    ready = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    with open(strange, "rb") as file, mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC):
        with perf_data.create(tmp_path / "data", [(WITH_TRAILER, [], "")]) as writer:
            writer.synthesize(os.getpid())
        lines = [line.split(None, 5) for line in Path("/proc/self/maps").read_text().split("\n")[:-1]]
    go.set()
    thread.join()
    data = read_file(tmp_path / "data").data
    mine = [one for one in all_records(data) if one.header.type != b.PERF_RECORD_MMAP]
    rows = [row for row in records.parse(data, WITH_TRAILER, all_records=True) if row.type != b.PERF_RECORD_MMAP]
    assert {(row.pid, row.time) for row in rows} == {(os.getpid(), 0)}
    comms[os.getpid()] = Path("/proc/self/comm").read_bytes()[:-1]
    found = {one.tid: records.name(one) for one in mine if one.header.type == b.PERF_RECORD_COMM}
    assert found.items() >= comms.items()
    parents = {one.tid: one.ptid for one in mine if one.header.type == b.PERF_RECORD_FORK}
    assert parents.keys() == found.keys()
    forks = {one.tid: one.header.misc for one in mine if one.header.type == b.PERF_RECORD_FORK}
    assert forks.pop(os.getpid()) == b.PERF_RECORD_MISC_FORK_EXEC  # perf is not to copy the maps of the parent
    assert set(forks.values()) == {0}
    assert parents[os.getpid()] == os.getppid()
    assert parents[thread.native_id] == os.getpid()
    maps = [
        (f"{one.addr:08x}-{one.addr + one.len:08x}", one.prot, one.flags, one.pgoff, one.ino, records.name(one))
        for one in mine
        if one.header.type == b.PERF_RECORD_MMAP2
    ]
    assert maps == [expected_map(*line) for line in lines if "x" in line[1]]
    assert os.fsencode(strange) in [one[-1] for one in maps]


def test_a_process_that_is_gone_is_passed_over(tmp_path):
    """It may end at any time."""
    pid = os.fork() or os._exit(0)
    os.waitpid(pid, 0)
    with perf_data.create(tmp_path / "data", [(WITH_TRAILER, [], "")]) as writer:
        writer.synthesize_kernel()
        before = writer.size
        writer.synthesize(pid)
        assert writer.size == before


@needs_root
def test_the_kernels_code_is_a_map_of_no_process(tmp_path):
    """Once in a file, from _text to _etext, under the name that perf gives it."""
    with perf_data.create(tmp_path / "data", [(WITH_TRAILER, [], "")]) as writer:
        writer.synthesize()
        writer.synthesize_kernel()
    data = read_file(tmp_path / "data").data
    (kernel,) = [one for one in all_records(data) if is_kernel(one)]
    lines = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    symbols = {name: address for address, _, name, *_ in lines}
    assert kernel.addr == kernel.pgoff == int(symbols["_text"], 16)
    assert abs(kernel.addr + kernel.len - int(symbols["_etext"], 16)) < 1 << 21
    assert (kernel.pid, kernel.tid) == (2**32 - 1, 0)
    assert kernel.header.misc == b.PERF_RECORD_MISC_KERNEL
    with perf_data.open(tmp_path / "data") as reader:
        assert "[kernel.kallsyms]" in [one.filename for one in reader.features["build_id"]]
    pids = {one.pid for one in all_records(data) if one.header.type == b.PERF_RECORD_COMM}
    assert {1, os.getpid()} <= pids


def is_kernel(one):
    """Tell whether a record is the map of the kernel's code."""
    return one.header.type == b.PERF_RECORD_MMAP and records.name(one) == b"[kernel.kallsyms]_text"


@needs_root
def test_the_kernels_code_and_modules_on_other_machines(monkeypatch, tmp_path):
    """Where /proc/iomem does not tell the size, _etext does; a module has its installed file's name, if there is one."""
    release = f"/lib/modules/{os.uname().release}"
    files = {
        "/proc/modules": "a_b 8192 1 c, Live 0xffffffffc0400000\nc 4096 0 - Live 0xffffffffc0300000 (OE)\nd 1 0 - Live 0x0",
        f"{release}/modules.dep": "kernel/fs/a-b.ko.xz: kernel/lib/x.ko\nkernel/lib/x.ko:",
    }
    monkeypatch.setattr(_synthesize, "contents", lambda path: files.get(path, ""))
    with perf_data.create(tmp_path / "data", [(WITH_TRAILER, [], "")]) as writer:
        writer.synthesize_kernel()
    kernel, *modules = all_records(read_file(tmp_path / "data").data)
    symbols = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    assert [f"{kernel.addr + kernel.len:x}"] == [address for address, _, name, *_ in symbols if name == "_etext"]
    assert [(one.addr, one.len, one.pgoff, records.name(one).decode()) for one in modules] == [
        (0xFFFFFFFFC0400000, 8192, 0, f"{release}/kernel/fs/a-b.ko.xz"),
        (0xFFFFFFFFC0300000, 4096, 0, "[c]"),
    ]


def test_a_kernel_that_hides_its_addresses_has_no_map(monkeypatch, tmp_path):
    """As kernel.kptr_restrict makes it; nor is there one where every event excludes the kernel."""
    with monkeypatch.context() as patch:
        patch.setattr(_synthesize, "_lines", lambda _: [b"0000000000000000 T _text\n", b"0000000000000000 T _etext\n"])
        patch.setattr(_synthesize, "contents", lambda _: "")
        with perf_data.create(tmp_path / "data", [(WITH_TRAILER, [], "")]) as writer:
            writer.synthesize_kernel()
    assert writer.size == 0
    with perf_data.create(tmp_path / "data", [(perf_event_attr(exclude_kernel=1), [], "")]) as writer:
        writer.synthesize_kernel()
    assert writer.size == 0

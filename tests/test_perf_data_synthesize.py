"""Records that a writer of perf.data files makes of what runs already: the kernel's code, processes, their maps."""

import mmap
import os
import threading
from pathlib import Path

import pytest
from support.marks import needs_root
from support.perf_files import read_file

from perf_event_open_sys import bindings as b
from perf_event_open_sys import perf_data, perf_event_attr, records
from perf_event_open_sys.perf_data import _synthesize

WITH_TRAILER = perf_event_attr(
    sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME, sample_id_all=1, sample_period=1
)


def all_records(data):
    """Return each record as a pointer to its struct."""
    return list(records.iterate(data))


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


MAPS = rb"""00400000-00401000 r-xp 00001000 103:1f 4711       /a\012b c (deleted)
00500000-00501000 r--p 00000000 103:1f 4711       /a
7f0000000000-7f0000002000 -wxs 00000000 00:00 0 """


def test_every_field_of_a_process_is_in_its_records(monkeypatch, tmp_path):
    """As the kernel would have written them: device and inode of a file, //anon for memory, no time, no other bits."""
    files = {"/proc/5/status": b"Name:\ta\nPPid:\t3\n", "/proc/5/task/5/comm": b"a\n", "/proc/5/maps": MAPS}
    monkeypatch.setattr(_synthesize, "read_file", lambda path: files.get(path, b""))
    monkeypatch.setattr(_synthesize, "listed", {"/proc/5/task": ["5", "6"]}.__getitem__)
    with perf_data.create(tmp_path / "data", [(perf_event_attr(exclude_kernel=1), [], "")]) as writer:
        writer.synthesize(5)
    first, comm, second, code, memory = all_records(read_file(tmp_path / "data").data)
    assert [(one.pid, one.tid, one.ppid, one.ptid, one.time) for one in (first, second)] == [
        (5, 5, 3, 3, 0),
        (5, 6, 5, 5, 0),
    ]
    assert (comm.header.misc, comm.pid, comm.tid, records.name(comm)) == (0, 5, 5, b"a")
    assert (code.maj, code.min, code.ino, code.ino_generation) == (0x103, 0x1F, 4711, 0)
    assert (code.addr, code.len, code.pgoff, code.prot, code.flags) == (0x400000, 4096, 4096, 5, mmap.MAP_PRIVATE)
    assert records.name(code) == b"/a\nb c (deleted)"
    assert (memory.maj, memory.min, memory.ino, memory.prot, memory.flags) == (0, 0, 0, 6, mmap.MAP_SHARED)
    assert records.name(memory) == b"//anon"


@pytest.mark.parametrize("sample_id_all", [0, 1])
@pytest.mark.parametrize(
    "fields",
    [0, b.PERF_SAMPLE_TIME, b.PERF_SAMPLE_TID, b.PERF_SAMPLE_ID | b.PERF_SAMPLE_CPU | b.PERF_SAMPLE_IDENTIFIER],
)
def test_trailers_are_those_of_the_event(fields, sample_id_all, tmp_path):
    """With the fields that it samples, and none where it does not ask for them; pid and tid have their values, others 0."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP | fields, sample_id_all=sample_id_all, exclude_kernel=1)
    with perf_data.create(tmp_path / "data", [(attr, [], "")]) as writer:
        writer.synthesize(os.getpid())
    data = read_file(tmp_path / "data").data
    sizes = {one.header.size for one in all_records(data) if one.header.type == b.PERF_RECORD_FORK}
    assert sizes == {8 + 24 + 8 * sample_id_all * fields.bit_count()}
    for row in records.parse(data, attr, all_records=True):
        assert (row.time, row.id, row.cpu) == (0, 0, 0)
        assert row.pid == (os.getpid() if sample_id_all and fields & b.PERF_SAMPLE_TID else 0)


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
    data = read_file(tmp_path / "data").data
    assert {(row.pid, row.tid, row.time) for row in records.parse(data, WITH_TRAILER, all_records=True)} == {(0, 0, 0)}
    kernel, *modules = all_records(data)
    symbols = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    assert [f"{kernel.addr + kernel.len:x}"] == [address for address, _, name, *_ in symbols if name == "_etext"]
    assert [(one.addr, one.len, one.pgoff, records.name(one).decode()) for one in modules] == [
        (0xFFFFFFFFC0400000, 8192, 0, f"{release}/kernel/fs/a-b.ko.xz"),
        (0xFFFFFFFFC0300000, 4096, 0, "[c]"),
    ]


@pytest.mark.parametrize(
    ("names", "iomem", "expected"),
    [
        ("_head _text _stext _etext", "", (0x2000, 0x2000)),
        ("_head _stext _text _etext", "", (0x2000, 0x2000)),
        ("_etext _text _etext", "", (0x2000, 0x1000)),
        (
            "_text other _etext",
            "0-fff : System RAM\n  100000-1fffff : Kernel code\n  200000-2fffff : Kernel data",
            (0x1000, 1 << 20),
        ),
        ("_text other _etext", "00000000-00000000 : Kernel code", (0x1000, 0x2000)),
        ("_text other", "", None),
    ],
)
def test_the_kernels_code_is_from_text_or_stext_to_etext(names, iomem, expected, monkeypatch, tmp_path):
    """From the first of two symbols, and as long as /proc/iomem tells, or up to a third; none where that is not there."""
    lines = [b"%x T %s\n" % (0x1000 * number, name.encode()) for number, name in enumerate(names.split(), 1)]
    monkeypatch.setattr(_synthesize, "_lines", lambda _: [*lines, b"ffff t of_a_module\t[module]\n"])
    monkeypatch.setattr(_synthesize, "contents", lambda path: iomem if path == "/proc/iomem" else "")
    with perf_data.create(tmp_path / "data", [(WITH_TRAILER, [], "")]) as writer:
        writer.synthesize_kernel()
    found = [(one.addr, one.len) for one in all_records(read_file(tmp_path / "data").data)]
    assert found == ([expected] if expected else [])


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

"""``record``: what of commands, processes, threads and CPUs gets into the file, by the options."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from support.cli import CLI, run
from support.machine import CPUS
from support.marks import needs_events, needs_events_of_users, needs_root
from support.perf_files import read_file
from support.processes import as_user, captured
from support.workloads import child, start

from perf_event_open_sys import __main__, events, ffi, perf_event_open, records, ring
from perf_event_open_sys import bindings as b
from perf_event_open_sys.perf_data import _layout

pytestmark = needs_events
FAULTS = ["-e", "page-faults:u", "-c", "1"]


def recorded(path, *arguments, status=0, **options):
    """Run ``record`` into *path*; return the file."""
    done = run("record", "-o", str(path), *arguments, **options)
    assert done.returncode == status, done.stderr
    return read_file(path)


def rows(file):
    """Return a row for each record of a file."""
    (first, *_), several = file.by_id.values(), len(file.by_id) > 1
    attr = file.by_id if several and first.sample_type & b.PERF_SAMPLE_IDENTIFIER else first
    return records.parse(file.data, attr, all_records=True)


def names(file, kind):
    """Return the names in all records of a type."""
    return [records.name(one) for one in records.iterate(file.data) if one.header.type == kind]


def test_a_command_is_sampled_with_all_that_it_starts(tmp_path):
    """From its exec on: what a child faults in is there, with the maps and names that tell whose it is."""
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "file").touch()
    script = f"import os, sys\nif os.fork() == 0:\n os.execvp('ls', ['ls', {str(tmp_path / 'only')!r}])\nos.wait()"
    done = run("record", *FAULTS, "-o", str(tmp_path / "data"), "--", sys.executable, "-c", script)
    file = read_file(tmp_path / "data")
    samples = [row for row in rows(file) if row.type == b.PERF_RECORD_SAMPLE]
    assert len({row.pid for row in samples}) == 2
    assert b"ls" in names(file, b.PERF_RECORD_COMM)
    assert any(name.endswith(b"/ls") for name in names(file, b.PERF_RECORD_MMAP2))
    assert done.stdout == "file\n"
    size = f"{len(file.data) / 1024:.1f} KiB"
    assert done.stderr == f"record: {len(samples)} samples in {size}, 0 lost: {tmp_path / 'data'}\n"
    assert os.stat(tmp_path / "data").st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (["-c", "7"], {"sample_period": 7, "freq": 0}),
        (["-F", "99"], {"sample_freq": 99, "freq": 1, "sample_type": b.PERF_SAMPLE_PERIOD}),
        ([], {"sample_freq": 4000, "freq": 1, "sample_type": b.PERF_SAMPLE_PERIOD}),
        (["-g"], {"sample_type": b.PERF_SAMPLE_PERIOD | b.PERF_SAMPLE_CALLCHAIN}),
        (["--call-graph", "fp", "-d"], {"sample_type": b.PERF_SAMPLE_CALLCHAIN | b.PERF_SAMPLE_ADDR, "mmap_data": 1}),
    ],
)
def test_options_are_fields_of_the_attr(arguments, fields, tmp_path):
    """As perf's of the same names; each sample has address, thread and time."""
    file = recorded(tmp_path / "data", "-e", "page-faults:u", *arguments, "true")
    (attr,) = {id(attr): attr for attr in file.by_id.values()}.values()
    always = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME
    expected = {"inherit": 1, "comm": 1, "mmap2": 1, "task": 1, "sample_id_all": 1} | fields
    expected["sample_type"] = always | fields.get("sample_type", 0) | (b.PERF_SAMPLE_PERIOD if attr.freq else 0)
    assert {name: getattr(attr, name) for name in expected} == expected


def test_terms_of_an_event_come_before_options(tmp_path):
    """An event that says its period itself keeps it; the samples of several events are told apart."""
    events = "page-faults:u,software/config=5,period=3/u"
    file = recorded(tmp_path / "data", "-c", "1", "-e", events, "ls", "/")
    periods = {attr.sample_period for attr in file.by_id.values()}
    assert periods == {1, 3}
    counts = dict.fromkeys(periods, 0)
    for row in rows(file):
        if row.type == b.PERF_RECORD_SAMPLE:
            counts[file.by_id[row.id].sample_period] += 1
    assert counts[3] == pytest.approx(counts[1] / 3, abs=len(CPUS) + 1)
    described = file.features[_layout.FEATURE_NUMBERS["event_desc"]]
    assert b"page-faults:u\0" in described
    assert b"software/config=5,period=3/u\0" in described


def test_each_event_option_adds_its_events(tmp_path):
    """And without any, the first of the default events is sampled that this machine has."""
    file = recorded(tmp_path / "data", "-c", "1", "-e", "page-faults:u", "-e", "minor-faults:u,dummy:u", "true")
    configs = [attr.config for attr in {id(attr): attr for attr in file.by_id.values()}.values()]
    faults = [b.PERF_COUNT_SW_PAGE_FAULTS, b.PERF_COUNT_SW_PAGE_FAULTS_MIN]
    assert configs == [*faults, b.PERF_COUNT_SW_DUMMY]
    described = recorded(tmp_path / "data", "true").features[_layout.FEATURE_NUMBERS["event_desc"]]
    assert described[:4] == struct.pack("=I", 1)  # so many events
    assert (b"cpu-clock" in described) != any(pmu.is_core for pmu in events.pmus().values())


def test_samples_of_a_groups_leader_have_all_counts(tmp_path):
    """``:S``: members are read with it, and not sampled themselves; the file says which events are a group."""
    file = recorded(tmp_path / "data", "-c", "1", "-e", "{page-faults:u,task-clock:u}:S", "ls", "/")
    leader = next(iter(file.by_id.values()))
    samples = records.parse(file.data, file.by_id)
    assert {file.by_id[sample.id].config for sample in samples} == {leader.config}
    last = records.counts(file.data, samples[-1])
    assert len(last) == 2
    assert leader.inherit == 0  # which kernels before 6.12 refuse for such samples
    assert all(counts.value for counts in last)
    assert file.features[_layout.FEATURE_NUMBERS["group_desc"]][-8:] == struct.pack("=II", 0, 2)


def test_a_process_that_runs_already(tmp_path):
    """All its threads are sampled, until it ends; what it had mapped before is in the file."""
    script = """
import threading
ready, go = threading.Barrier(3), threading.Event()
def work():
    ready.wait(); go.wait(); fault(300)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
ready.wait(); print(flush=True); sys.stdin.read(1); go.set()
for thread in threads: thread.join()
"""
    with child(script) as (process, _):
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        arguments = [*FAULTS, "-p", str(process.pid), "-o", str(tmp_path / "data")]
        # The file is there when the events are enabled; the recorder ends when the process does.
        with subprocess.Popen([*CLI, "record", *arguments]) as recorder:
            while not (tmp_path / "data").exists():
                assert recorder.poll() is None
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert recorder.wait(60) == 0
    file = read_file(tmp_path / "data")
    per_thread = {}
    for row in rows(file):
        if row.type == b.PERF_RECORD_SAMPLE:
            assert row.pid == process.pid
            per_thread[row.tid] = per_thread.get(row.tid, 0) + 1
    assert len([count for count in per_thread.values() if count >= 300]) == 2
    assert any(b"python" in name for name in names(file, b.PERF_RECORD_MMAP2))
    of_others = {row.pid for row in rows(file) if row.type == b.PERF_RECORD_COMM} - {process.pid}
    assert of_others == set()


def test_a_thread_that_runs_already(tmp_path):
    """It alone is sampled, and the recording ends when it does, though its process goes on."""
    script = """
import threading
def work():
    print(threading.get_native_id(), flush=True); sys.stdin.read(1); fault(300)
thread = threading.Thread(target=work); thread.start(); thread.join(); fault(300); sys.stdin.read(1)
"""
    with child(script) as (process, _):
        start(process)
        thread = int(process.stdout.readline())
        data = tmp_path / "data"
        with subprocess.Popen([*CLI, "record", *FAULTS, "-t", str(thread), "-o", str(data)]) as recorder:
            while not data.exists():
                assert recorder.poll() is None
            start(process)
            assert recorder.wait(60) == 0
            assert process.poll() is None
    samples = [row for row in rows(read_file(data)) if row.type == b.PERF_RECORD_SAMPLE]
    assert len(samples) >= 300
    assert {row.tid for row in samples} == {thread}


@needs_root
def test_all_cpus(tmp_path):
    """As long as the command runs, or for a time; each sample says its CPU, and every process has its name or its parent."""
    file = recorded(
        tmp_path / "data", "-a", "-e", "cpu-clock", "-F", "999", "--", "sh", "-c", "for i in 1 2 3; do ls; done"
    )
    samples = [row for row in rows(file) if row.type == b.PERF_RECORD_SAMPLE]
    assert {row.cpu for row in samples} <= set(CPUS)
    # The pid is the first field of both kinds.
    named = [one for one in records.iterate(file.data) if one.header.type in (b.PERF_RECORD_COMM, b.PERF_RECORD_FORK)]
    known = {ffi.cast("struct perf_record_comm *", one).pid for one in named}
    assert {row.pid for row in samples} <= {0} | known
    assert b"ls" in names(file, b.PERF_RECORD_COMM)
    with child(f"os.sched_setaffinity(0, {{{CPUS[-1]}}})\nwhile True: pass") as (busy, _):
        start(busy)
        timed = recorded(tmp_path / "data", "-C", str(CPUS[-1]), "-e", "cpu-clock", "--duration", "0.1")
    assert {row.cpu for row in rows(timed) if row.type == b.PERF_RECORD_SAMPLE} == {CPUS[-1]}


@needs_root
@pytest.mark.usefixtures("tracefs")
def test_a_tracepoint_is_sampled_each_time(tmp_path):
    """With its data, whose format is in the file."""
    file = recorded(
        tmp_path / "data", "-e", "sched:sched_process_exec", "--", "sh", "-c", "ls /; ls /; exit 3", status=3
    )
    (attr,) = {id(attr): attr for attr in file.by_id.values()}.values()
    samples = records.parse(file.data, attr)
    assert len(samples) == 3
    assert sum(b"/ls\0" in bytes(records.raw(file.data, sample)) for sample in samples) == 2
    assert b"sched_process_exec" in file.features[_layout.FEATURE_NUMBERS["tracing_data"]]


@needs_events_of_users
def test_an_ordinary_user_is_sampled_in_user_space(tmp_path):
    """An event of which the kernel is not theirs to see: its name says so, and the ring fits into what each may lock."""
    os.chmod(tmp_path, 0o777)
    os.chmod(tmp_path.parent, 0o755)
    path = f"/tmp/record-{os.getpid()}.data"

    def record():
        from perf_event_open_sys import perf_data  # noqa: F401 - before the files cannot be reached

        return captured(__main__.main, ["record", "-e", "page-faults", "-c", "1", "-o", path, "true"])

    level = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    try:
        done = as_user(record)
        assert done.returncode == 0, done.stderr
        file = read_file(Path(path))
    finally:
        if os.path.exists(path):
            os.unlink(path)
    if level > 1:
        assert b"page-faults:u\0" in file.features[_layout.FEATURE_NUMBERS["event_desc"]]
    assert any(row.type == b.PERF_RECORD_SAMPLE for row in rows(file))


@needs_events_of_users
def test_rings_are_smaller_where_memory_is_used_up():
    """Of what a user may lock, each CPU's ring gets an equal part; a size that was asked for is an error instead."""
    path = f"/tmp/record-{os.getpid()}.data"

    def record():
        fds = [perf_event_open(events.attr("dummy:u"), 0, -1)]
        freed, rings, pages = ring.map(fds[0], 64), [], 128
        while pages:
            fds.append(perf_event_open(events.attr("dummy:u"), 0, -1))
            try:
                rings.append(ring.map(fds[-1], pages))
            except OSError:
                pages //= 2
        ffi.release(freed)
        arguments = ["record", *FAULTS, "-o", path]
        return captured(__main__.main, [*arguments, "-m", "128", "true"]), captured(__main__.main, [*arguments, "true"])

    try:
        asked, default = as_user(record)
        assert (asked.returncode, default.returncode) == (2, 0), default.stderr
        assert "mmap of the ring: Operation not permitted (" in asked.stderr
        assert any(row.type == b.PERF_RECORD_SAMPLE for row in rows(read_file(Path(path))))
    finally:
        if os.path.exists(path):
            os.unlink(path)


def test_a_small_ring_loses_and_says_so(tmp_path):
    """-m is the size of each CPU's ring; the totals tell of what did not fit."""
    script = "import mmap\nm = mmap.mmap(-1, mmap.PAGESIZE * 20000)\nfor i in range(20000): m[i * mmap.PAGESIZE] = 1"
    done = run("record", *FAULTS, "-m", "1", "-o", str(tmp_path / "data"), sys.executable, "-c", script)
    file = read_file(tmp_path / "data")
    kept = len([row for row in rows(file) if row.type == b.PERF_RECORD_SAMPLE])
    assert done.stderr.startswith(f"record: {kept} samples in ")
    lost = int(done.stderr.split(" lost")[0].split()[-1])
    assert kept + lost > 19_000


def test_a_file_that_exists_becomes_old(tmp_path):
    """As by perf; and one that is empty does not."""
    path = tmp_path / "data"
    path.touch()
    recorded(path, *FAULTS, "true")
    assert sorted(os.listdir(tmp_path)) == ["data"]
    before = path.read_bytes()
    recorded(path, *FAULTS, "true")
    assert sorted(os.listdir(tmp_path)) == ["data", "data.old"]
    assert (tmp_path / "data.old").read_bytes() == before


def test_quiet_and_verbose(tmp_path):
    """-q prints nothing, -v the attrs; perf.data is the name unless -o says another."""
    quiet = run("record", "-q", *FAULTS, "true", cwd=tmp_path)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert os.listdir(tmp_path) == ["perf.data"]
    verbose = run("record", "-v", *FAULTS, "true", cwd=tmp_path).stderr
    assert verbose.startswith("page-faults:u:\ntype ")
    assert "sample_period            1\n" in verbose

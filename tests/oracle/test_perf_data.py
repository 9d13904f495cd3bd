"""perf as the oracle for whole files: each is recorded by perf, and read by `perf script` and by perf_data.open."""

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from typing import NamedTuple

import pytest
from support.marks import needs_root
from support.perf import perf
from support.perf_script import BYTES, FRAME, RAW, RECORD, SAMPLED

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_data, records

USER = "" if os.geteuid() == 0 else ":u"
CLOCK, FAULTS = f"cpu-clock{USER}", f"page-faults{USER}"
SHELL = ["sh", "-c", "for i in 1 2 3 4 5 6; do ls / /usr/lib >/dev/null; done"]
WAYS = {
    "one event": ["-e", FAULTS, "-c", "1"],
    "one event at a frequency": ["-e", CLOCK, "-F", "20000"],
    "several events": ["-e", f"{CLOCK},{FAULTS},task-clock{USER}", "-c", "50000"],
    "a group": ["-e", f"{{{CLOCK},{FAULTS}}}", "-c", "20000"],
    "a group that is read": ["-e", f"{{{CLOCK},{FAULTS}}}:S", "-c", "20000"],
    "callchains": ["-e", FAULTS, "-c", "1", "-g"],
    "stacks": ["-e", FAULTS, "-c", "10", "--call-graph", "dwarf,512"],
    "addresses, CPUs, weights, and what is mapped": ["-e", FAULTS, "-c", "1", "-d", "--sample-cpu", "-W"],
    "context switches": ["-e", FAULTS, "-c", "1", "--switch-events"],
    "registers": ["-e", FAULTS, "-c", "5", "--user-regs"],
    "another clock": ["-e", FAULTS, "-c", "1", "-k", "CLOCK_MONOTONIC"],
    "compressed": ["-e", f"{CLOCK},{FAULTS}", "-c", "10000", "-z"],
    "compressed best, callchains": ["-e", FAULTS, "-c", "1", "-g", "-z22"],
    "into a pipe": ["-e", f"{CLOCK},{FAULTS}", "-c", "20000", "-o", "-"],
    "one event into a pipe": ["-e", FAULTS, "-c", "1", "-g", "-o", "-"],
    "compressed into a pipe": ["-e", f"{CLOCK},{FAULTS}", "-c", "20000", "-z", "-o", "-"],
}
OF_ROOT = {
    "every CPU": ["-a", "-e", "cpu-clock", "-F", "4000"],
    "every CPU with callchains, compressed": ["-a", "-e", "cpu-clock,page-faults", "-g", "-z"],
    "a tracepoint": ["-a", "-e", "sched:sched_switch"],
    "tracepoints and a clock": ["-a", "-e", "sched:sched_switch,sched:sched_wakeup,cpu-clock"],
    "a tracepoint into a pipe": ["-a", "-e", "sched:sched_switch", "-o", "-"],
    "cgroups and namespaces": ["-a", "-e", "cpu-clock", "--all-cgroups", "--namespaces"],
    "physical addresses": ["-e", "page-faults", "-c", "1", "-d", "--phys-data", "--data-page-size"],
}


class Line(NamedTuple):
    """What `perf script -D` prints of a sample."""

    cpu: int | None
    time: int
    misc: int
    pid: int
    tid: int
    ip: int
    period: int
    addr: int
    frames: tuple[int, ...]
    stack: int


def record(arguments, cwd):
    """Record a shell that starts some programs, to the file "data"."""
    if "-o" not in arguments:
        perf("record", "-q", "-B", "-o", "data", *arguments, "--", *SHELL, cwd=cwd)
        return
    if not shutil.which("perf"):
        pytest.skip("perf is not installed")
    with (cwd / "data").open("wb") as out:
        ran = subprocess.run(
            ["perf", "record", "-q", "-B", *arguments, "--", *SHELL], stdout=out, stderr=subprocess.PIPE, cwd=cwd
        )
    if ran.returncode:
        pytest.skip(f"perf record fails here: {ran.stderr.decode().strip()}")


def dumped(text):
    """Return (offset, type, bytes) of each record, sorted, and how often each Line is there."""
    raw, lines, sample = [], [], None
    for line in text.splitlines():
        if match := RAW.match(line):
            raw.append((int(match[1], 16), int(match[3]), bytearray()))
        elif (match := BYTES.match(line)) and raw:
            raw[-1][2].extend(bytes.fromhex(match[1]))
        elif match := RECORD.match(line):
            sample = None
            if match[4] == "SAMPLE":
                misc, pid, tid, ip, period, addr = SAMPLED.match(match[5]).groups()
                numbers = int(misc, 16), int(pid), int(tid), int(ip, 16), int(period), int(addr, 16)
                cpu = int(line[: match.start(1)]) if match.start(1) else None
                lines.append(sample := Line(cpu, int(match[1]), *numbers, (), 0))
        elif sample and (match := FRAME.match(line)):
            lines[-1] = sample = sample._replace(frames=(*sample.frames, int(match[1], 16)))
        elif sample and (match := re.match(r"\.\.\. ustack: size (\d+),", line)):
            lines[-1] = sample = sample._replace(stack=int(match[1]))
    return sorted((offset, kind, bytes(data)) for offset, kind, data in raw), Counter(lines)


def signed(number):
    """Return a pid of 32 bits as perf prints it."""
    return number - (1 << 32) if number >> 31 else number


def ours(path):
    """Return the same of what we read; and (name, time, tid, ip) of each sample, counted, as perf script prints it."""
    raw, lines, named = [], Counter(), Counter()
    with perf_data.open(path) as reader:
        several = isinstance(reader.attr, dict)
        names = {identity: event.name for event in reader.events for identity in event.ids}
        for chunk in reader.chunks():
            attr = reader.attr
            for one in records.iterate(chunk):
                raw.append((one.header.type, bytes(ffi.buffer(ffi.cast("char *", one), one.header.size))))
            for sample in records.parse(chunk, attr):
                own = attr[sample.id] if several else attr
                kind = own.sample_type
                period = sample.period if kind & b.PERF_SAMPLE_PERIOD else own.sample_period
                cpu = sample.cpu if kind & b.PERF_SAMPLE_CPU else None
                frames = tuple(records.callchain(chunk, sample))
                numbers = sample.misc, signed(sample.pid), signed(sample.tid), sample.ip, period, sample.addr
                lines[Line(cpu, sample.time, *numbers, frames, sample.user_stack_count)] += 1
                named[
                    names[sample.id] if several else reader.events[0].name, sample.time, signed(sample.tid), sample.ip
                ] += 1
        return raw, lines, named, reader.features, path.read_bytes()[8] == 16


def scripted(text):
    """Return (name, time, tid, ip) of each line that is what `-F tid,time,event,ip -G --ns` asks for, counted."""
    found = Counter()
    for line in text.splitlines():
        if not (match := re.match(r" *(-?\d+) +(\d+)\.(\d{9}): +(\S+): +([0-9a-f]+)", line)):
            continue
        tid, seconds, nanoseconds, name, ip = match.groups()
        found[name, int(seconds) * 10**9 + int(nanoseconds), int(tid), int(ip, 16)] += 1
    return found


def same(found, expected):
    """Compare what was counted; pytest would take minutes to compare as much and show it."""
    assert list((found - expected).items())[:3] == list((expected - found).items())[:3] == []


def compare(arguments, cwd):
    """Record, read, and compare."""
    record(arguments, cwd)
    raw, lines, named, features, is_pipe = ours(cwd / "data")
    text = perf("script", "-D", "-F", "tid,time,event,ip", "-G", "--ns", "-i", "data", cwd=cwd)
    expected_raw, expected_lines = dumped(text)
    is_compressed = any(one.startswith("-z") for one in arguments)
    assert is_compressed == ("compressed" in features)
    expected = [(kind, data) for _, kind, data in expected_raw if kind != perf_data.PERF_RECORD_COMPRESSED]
    if is_compressed:  # perf gives all records in a COMPRESSED its offset
        raw.sort()
        expected.sort()
    same(Counter(kind for kind, _ in raw), Counter(kind for kind, _ in expected))
    assert [at for at, pair in enumerate(zip(raw, expected, strict=True)) if pair[0] != pair[1]][:5] == []
    same(lines, expected_lines)
    if ":S" not in " ".join(arguments):  # otherwise perf prints lines for the members that a sample has read
        same(named, scripted(text))
    assert sum(lines.values()) > 10
    assert is_pipe == ("-o" in arguments)
    return lines


@pytest.mark.parametrize("way", WAYS)
def test_records_and_samples_of_a_file_are_those_that_perf_sees(way, tmp_path):
    """Each record with its type and bytes, in order; each sample with its fields, its callchain, and its event's name."""
    lines = compare(WAYS[way], tmp_path)
    assert "-g" not in WAYS[way] or any(line.frames for line in lines)
    assert any(line.stack for line in lines) == ("dwarf,512" in WAYS[way])


@needs_root
@pytest.mark.usefixtures("tracefs")
@pytest.mark.parametrize("way", OF_ROOT)
def test_records_and_samples_of_the_whole_machine(way, tmp_path):
    """The same for what only root may record."""
    compare(OF_ROOT[way], tmp_path)


def test_features_are_those_that_perf_shows(tmp_path):
    """As `perf script --header-only -I` prints them."""
    record(["-e", f"{CLOCK},{FAULTS}", "-F", "999"], tmp_path)
    shown = perf("script", "--header-only", "-I", "-i", "data", cwd=tmp_path)
    told = dict(re.findall(r"^# ([a-z ]+) : (.*)$", shown, re.M))
    with perf_data.open(tmp_path / "data") as reader:
        found, events = reader.features, reader.events
    for ours, theirs in (
        ("hostname", "hostname"),
        ("osrelease", "os release"),
        ("version", "perf version"),
        ("arch", "arch"),
        ("cpudesc", "cpudesc"),
        ("cpuid", "cpuid"),
    ):
        assert found[ours] == told[theirs]
    assert " ".join(found["cmdline"]) == told["cmdline"].strip()
    assert (str(found["nrcpus"].online), str(found["nrcpus"].available)) == (
        told["nrcpus online"],
        told["nrcpus avail"],
    )
    assert f"{found['total_mem']} kB" == told["total memory"]
    mappings = ", ".join(f"{name} = {number}" for name, number in found["pmu_mappings"].items())
    assert f"# pmu mappings: {mappings}\n" in shown
    for event in events:
        ids = ", ".join(map(str, event.ids))
        assert f"# event : name = {event.name}, , id = {{ {ids} }}, type = 1," in shown
    for time, text in zip(found["sample_time"], ("first", "last"), strict=True):
        assert f"# time of {text} sample : {time // 10**9}.{time % 10**9 // 1000:06}\n" in shown
    for cache in found["cache"]:
        assert f"#  L{cache.level} {cache.type:15} {cache.size:>8} [{cache.cpus}]\n" in shown
    for number, cpu in enumerate(found["cpu_topology"].cpus):
        assert f"# CPU {number}: Core ID {cpu.core_id}, Die ID {cpu.die_id}, Socket ID {cpu.socket_id}\n" in shown
    for node in found["numa_topology"]:
        assert f"# node{node.node} meminfo  : total = {node.mem_total} kB, free = {node.mem_free} kB\n" in shown


def test_build_ids_are_those_that_perf_lists(tmp_path):
    """Of the files that samples are in, as `perf buildid-list` prints them."""
    perf("record", "-q", "-o", "data", "-e", FAULTS, "-c", "1", "--buildid-all", "--", *SHELL, cwd=tmp_path)
    listed = perf("buildid-list", "-i", "data", cwd=tmp_path).split("\n")
    with perf_data.open(tmp_path / "data") as reader:
        found = reader.features["build_id"]
    assert len(found) > 2
    assert sorted(f"{one.build_id.hex()} {one.filename}" for one in found) == sorted(filter(None, listed))


def test_file_of_a_perf_that_was_killed(tmp_path):
    """To perf it is empty; the samples that were written are there, and there is no error."""
    perf("record", "-o", "tried", "-e", CLOCK, "--", "true", cwd=tmp_path)
    loop = ["sh", "-c", "while :; do :; done"]
    command = ["perf", "record", "-q", "-o", "data", "-e", CLOCK, "-c", "20000", "--", *loop]
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True) as process:
        while not (tmp_path / "data").exists() or (tmp_path / "data").stat().st_size < 1 << 16:
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)  # perf, and the command that it has started
    with perf_data.open(tmp_path / "data") as reader:
        assert sum(len(records.parse(chunk, reader.attr)) for chunk in reader.chunks()) > 100
        assert reader.features == {}


def test_directory_that_perf_record_threads_wrote(tmp_path):
    """The records of every thread's file."""
    perf("record", "-q", "--threads", "-o", "data", "-e", FAULTS, "-c", "1", "--", *SHELL, cwd=tmp_path)
    if not (tmp_path / "data").is_dir():
        pytest.skip("this perf writes no directories")
    with perf_data.open(tmp_path / "data") as reader:
        assert reader.features["dir_format"] == 1
        assert sum(len(records.parse(chunk, reader.attr)) for chunk in reader.chunks()) > 100

"""perf as the oracle: what it shows of our recordings is what we say of them, and what it shows of its own."""

import collections
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from support.cli import CLI, counting, run
from support.compilers import compiler
from support.marks import needs_root
from support.perf import perf
from support.perf_script import compare
from support.workloads import child, start

from perf_event_open_sys import perf_data, records

pytestmark = needs_root
SPINS = {"spin_one": 1, "spin_two": 2, "spin_five": 5}
FAULTS = {"fault_300": 300, "fault_700": 700}
PROGRAM = """
#include <stddef.h>
#include <sys/mman.h>
#define FUNCTION __attribute__((noinline)) static
FUNCTION void spin_one(void) { for (unsigned long n = 40000000; n--;) __asm__ volatile(""); }
FUNCTION void spin_two(void) { for (unsigned long n = 80000000; n--;) __asm__ volatile(""); }
FUNCTION void spin_five(void) { for (unsigned long n = 200000000; n--;) __asm__ volatile(""); }
FUNCTION void fault_300(char *at) { for (int n = 300; n--; at += 65536) *(volatile char *)at = 1; }
FUNCTION void fault_700(char *at) { for (int n = 700; n--; at += 65536) *(volatile char *)at = 1; }
int main(void)
{
    char *area = mmap(NULL, 65536 * 1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(area, 65536 * 1000, MADV_NOHUGEPAGE);
    fault_300(area);
    fault_700(area + 65536 * 300);
    spin_one();
    spin_two();
    spin_five();
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A program whose functions have known shares of page faults and of time."""
    if not shutil.which("perf"):
        pytest.skip("perf is not installed")
    directory = tmp_path_factory.mktemp("program")
    (directory / "known.c").write_text(PROGRAM)
    cc = compiler("cc", directory)
    subprocess.run([cc, "-O1", "-g", "-fno-omit-frame-pointer", "-o", "known", "known.c"], check=True, cwd=directory)
    return directory / "known"


def record(directory, *arguments, status=0):
    """Run our ``record`` into perf.data in a directory."""
    done = run("record", *map(str, arguments), cwd=directory)
    assert done.returncode == status, done.stderr
    return done


def by_function(directory):
    """Return the number of samples that ``perf report`` shows for each function."""
    text = perf("report", "--stdio", "-n", "-g", "none", "--no-children", "-F", "sample,comm,sym", cwd=directory)
    rows = re.findall(r"^\s*(\d+)\s+(\S+)\s+\[[.k]\] (\S+)", text, re.M)
    return collections.Counter({symbol: int(count) for count, _, symbol in rows})


def samples(directory):
    """Return the samples of perf.data, as our reader gives them."""
    with perf_data.open(directory / "perf.data") as reader:
        return [sample for chunk in reader.chunks() for sample in records.parse(chunk, reader.attr)]


def test_functions_have_the_faults_that_they_cause(program, tmp_path):
    """Sampled one by one, perf shows the same number for each function in our file and in its own: the exact one."""
    record(tmp_path, "-e", "page-faults:u", "-c", "1", "-g", "--", program)
    ours = by_function(tmp_path)
    assert FAULTS.items() <= ours.items()
    perf("record", "-e", "page-faults:u", "-c", "1", "-g", "--", str(program), cwd=tmp_path)
    theirs = by_function(tmp_path)
    assert FAULTS.items() <= theirs.items()
    assert abs(sum(ours.values()) - sum(theirs.values())) < 20


def test_functions_have_the_time_that_they_take(program, tmp_path):
    """Sampled by the clock, each function has its share, within what chance allows, in our file as in perf's own."""
    record(tmp_path, "-e", "cpu-clock:u", "-F", "5000", "--", program)
    ours = by_function(tmp_path)
    perf("record", "-e", "cpu-clock:u", "-F", "5000", "--", str(program), cwd=tmp_path)
    theirs = by_function(tmp_path)
    for found in (ours, theirs):
        total = sum(found[name] for name in SPINS)
        assert total > 400
        for name, part in SPINS.items():
            share = part / sum(SPINS.values())
            deviation = (share * (1 - share) / total) ** 0.5
            assert found[name] / total == pytest.approx(share, abs=5 * deviation + 0.03), (name, found)


@pytest.mark.usefixtures("tracefs")
@pytest.mark.parametrize(
    "arguments",
    [
        ["-e", "page-faults", "-c", "1", "-g"],
        ["-e", "page-faults,task-clock,minor-faults"],
        ["-e", "{page-faults,minor-faults}", "-d"],
        ["-e", "sched:sched_switch,sched:sched_process_exec"],
        ["-a", "-e", "cpu-clock,sched:sched_switch", "-F", "999"],
        [],
    ],
    ids=["callchains", "several", "group", "tracepoints", "all CPUs", "default"],
)
def test_perf_prints_each_record_as_we_decode_it(arguments, tmp_path):
    """`perf script -D`: the bytes, types and times of all records, fields of samples and of the side-band."""
    record(tmp_path, *arguments, "--", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do ls / >/dev/null; done")
    seen = compare(tmp_path / "perf.data", tmp_path)
    assert seen["SAMPLE"] > 1
    assert {"FORK", "EXIT", "COMM", "MMAP2", "MMAP", "FINISHED_ROUND"} <= seen.keys()


@pytest.mark.usefixtures("tracefs")
def test_tracepoints_are_printed_with_their_fields(tmp_path):
    """Names and numbers, from the format in the file."""
    record(tmp_path, "-e", "sched:sched_process_exec,sched:sched_process_exit", "--", "ls", "/")
    text = perf("script", cwd=tmp_path)
    assert re.search(
        r"^ +ls +\d+ \[\d+\] +[\d.]+: +sched:sched_process_exec: filename=\S*/ls pid=\d+ old_pid=\d+$", text, re.M
    )
    assert re.search(r"sched:sched_process_exit: comm=ls pid=\d+ ", text)


def test_events_are_shown_as_they_were_asked_for(tmp_path):
    """`perf evlist`: names, groups, and each attr field that is set; `perf report --header-only`: the machine."""
    record(tmp_path, "-e", "{page-faults:u,minor-faults}", "-e", "cpu-clock", "-F", "777", "--", "true")
    assert perf("evlist", "-g", cwd=tmp_path).splitlines() == ["{page-faults:u,minor-faults}", "cpu-clock"]
    first, _, third = perf("evlist", "-v", cwd=tmp_path).splitlines()
    assert first.startswith("page-faults:u: type: 1, size: 64, config: 0x2, { sample_period, sample_freq }: 777, ")
    assert "exclude_kernel: 1" in first
    assert "sample_type: IP|TID|TIME|PERIOD|IDENTIFIER" in third
    header = perf("report", "--header-only", cwd=tmp_path)
    for name in ("hostname", "os release", "arch", "nrcpus avail", "cmdline", "pmu mappings", "group"):
        assert f"\n# {name} : " in header or f"\n# {name}: " in header


def test_a_process_that_runs_already_has_its_names(tmp_path):
    """Its code was mapped, and its thread was named, before: perf finds both in what we synthesized."""
    script = "open('/proc/self/comm', 'w').write('a_name')\nprint(flush=True)\nsys.stdin.read(1)\nfault(2000)"
    with child(script) as (process, _):
        start(process)
        process.stdout.readline()
        command = [*CLI, "record", "-e", "page-faults:u", "-c", "1", "-p", str(process.pid)]
        with subprocess.Popen(command, cwd=tmp_path) as recorder:
            while not (tmp_path / "perf.data").exists():  # it is there once the events are enabled
                assert recorder.poll() is None
            start(process)
    assert recorder.returncode == 0
    lines = perf("script", "-F", "comm,pid,ip,sym,dso", cwd=tmp_path).splitlines()
    assert len(lines) >= 2000
    assert {line.split()[0] for line in lines} == {"a_name"}
    assert not any("[unknown]" in line for line in lines)


def test_a_killed_recording_is_readable_by_perf(tmp_path):
    """Perf shows nothing of its own recordings that were killed; of ours, the records that were written are there."""
    endless = "import mmap\nprint(0, flush=True)\nwhile True: mmap.mmap(-1, 4096 * 50)[::4096]"
    arguments = ["-e", "page-faults:u", "-c", "1", "-m", "1"]
    command = [sys.executable, "-c", endless]
    with counting(*arguments, command=command, subcommand="record", cwd=tmp_path) as (recorder, _):
        path = tmp_path / "perf.data"
        while not path.exists() or path.stat().st_size < 100_000:
            assert recorder.poll() is None
        recorder.kill()
        pid = samples(tmp_path)[0].pid
        os.kill(pid, signal.SIGKILL)
    assert perf("script", "-F", "comm,pid,ip,sym", cwd=tmp_path).count(f" {pid} ") == len(samples(tmp_path)) > 100


def test_it_can_be_read_with_numpy(program, tmp_path):
    """Without perf: the same functions' samples, by address."""
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    record(tmp_path, "-e", "page-faults:u", "-c", "1", "--", program)
    with perf_data.open(tmp_path / "perf.data") as reader:
        columns = [records.columns(chunk, reader.attr, ["ip", "tid"]) for chunk in reader.chunks()]
    _, counts = numpy.unique(numpy.concatenate([each["ip"] for each in columns]), return_counts=True)
    assert set(FAULTS.values()) <= set(counts.tolist())

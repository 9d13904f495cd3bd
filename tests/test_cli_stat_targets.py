"""``stat`` of what is no command: processes, threads, CPUs, cgroups."""

import contextlib
import os
import re
import subprocess
import sys
import threading

import pytest
from support.cli import CLI, json_rows, run
from support.marks import needs_events, needs_root
from support.workloads import fault

from perf_event_open_sys import events
from perf_event_open_sys._cli import counter, requested
from perf_event_open_sys.targets import online_cpus

pytestmark = needs_events


@contextlib.contextmanager
def busy_process():
    """A process that waits for a byte, and then works for 50 ms in a thread; and that thread's id."""
    script = (
        "import sys, threading, time\n"
        "def work():\n"
        "    print(threading.get_native_id(), flush=True)\n"
        "    sys.stdin.read(1)\n"
        "    end = time.thread_time() + 0.05\n"
        "    while time.thread_time() < end: pass\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process, int(process.stdout.readline())
        process.kill()


@pytest.mark.parametrize("by", ["-p", "-t"])
def test_stat_of_a_process_or_thread_ends_with_it(by):
    """What runs already is counted until it exits."""
    with busy_process() as (process, thread):
        target = {"-p": process.pid, "-t": thread}[by]
        arguments = [*CLI, "stat", "-I", "20", "-e", "task-clock:u", by, str(target)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as counting:
            counting.stderr.readline()  # the header of the first interval: it counts
            process.stdin.write("x")
            process.stdin.close()
            rest = counting.stderr.read()
    milliseconds = [float(number) for number in re.findall(r"([\d.]+) msec", rest)]
    assert 25 < sum(milliseconds) < 5000
    assert counting.returncode == 0


def test_a_command_beside_a_process_says_how_long():
    """The process is counted, not the command, whose exit status is passed on."""
    done = run("stat", "-e", "task-clock:u", "-p", str(os.getpid()), "--", "sh", "-c", "echo ran; exit 3")
    assert (done.returncode, done.stdout) == (3, "ran\n")
    assert f"process {os.getpid()}" in done.stderr
    assert "seconds user" not in done.stderr


def test_a_process_that_is_not_there_is_named():
    """Be it one of several: nothing is counted then, and the status is 2. A thread is no process."""
    for text in ("4194305", f"{os.getpid()},4194305"):
        done = run("stat", "-p", text)
        assert (done.returncode, done.stderr) == (2, "stat: there is no process 4194305\n")
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        done = run("stat", "-p", str(other.native_id))
    finally:
        stop.set()
        other.join()
    message = f"stat: {other.native_id} is no process, but a thread of process {os.getpid()}\n"
    assert (done.returncode, done.stderr) == (2, message)
    done = run("stat", "-t", "4194305", "-e", "dummy:u")
    assert (done.returncode, "there is no process or thread 4194305" in done.stderr) == (2, True)


def test_several_processes_are_counted_together():
    """One row for each event, until the last has exited."""
    with busy_process() as (one, _), busy_process() as (two, _):
        arguments = [*CLI, "stat", "-I", "20", "-x,", "-e", "task-clock:u", "-p", f"{one.pid},{two.pid}"]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as counting:
            counting.stderr.readline()
            for process in (one, two):
                process.stdin.write("x")
                process.stdin.close()
            rest = counting.stderr.read().splitlines()
    assert sum(float(line.split(",")[1]) for line in rest if "not counted" not in line) > 70


@needs_root
def test_stat_of_all_cpus_counts_others_work():
    """With -a every CPU is counted while the command runs: each contributes its clock."""
    row = json_rows("-a", "-e", "cpu-clock", "--", "sleep", "0.05")["cpu-clock"]
    assert row["value"] == pytest.approx(row["time_running"] / 1e6, rel=0.2)
    assert row["time_enabled"] > 0.05e9 * len(online_cpus())


@needs_root
def test_cpus_may_be_chosen_and_told_apart():
    """-C takes the kernel's lists; with -A each CPU has a row, in order."""
    cpus = online_cpus()
    done = run("stat", "-x,", "-A", "-a", "-e", "dummy,cs", "--", "true")
    shown = [tuple(line.split(",")[index] for index in (0, 3)) for line in done.stderr.splitlines()]
    assert shown == [(f"CPU{cpu}", name) for name in ("dummy", "cs") for cpu in cpus]
    done = run("stat", "-x,", "-A", "-C", str(cpus[-1]), "-e", "dummy,77:1", "--", "true")
    assert [line.split(",")[:2] for line in done.stderr.splitlines()] == [
        [f"CPU{cpus[-1]}", "0"],
        [f"CPU{cpus[-1]}", "<not supported>"],
    ]
    done = run("stat", "-C", "65535", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("stat: CPU 65535 is not online: 0")


@needs_root
def test_an_event_of_few_cpus_is_opened_on_those():
    """An uncore PMU's cpumask names them: on the others there is nothing to count, and no row."""
    cpus = online_cpus()
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    attr = events.attr("dummy", **counter.COUNTING)
    for mask, opened in ((cpus[1:2], [False, True]), ((), [True, True])):
        one = counter.Counter(counter.Event("dummy", attr, cpumask=mask), per_cpu=True)
        one.open([(-1, cpu, 0) for cpu in cpus[:2]])
        try:
            assert [fd >= 0 for fd in one.fds] == opened
            assert [count.cpu for count in one.read()] == list(mask or cpus[:2])
        finally:
            one.close()


def test_a_cgroup_is_counted_alone(cgroup):
    """What enters it is counted, on every CPU; an event of no cgroup counts all."""
    path = cgroup()
    name = os.path.basename(path)
    assert requested.cgroup_directory(name) == path
    script = f"echo $$ > {path}/cgroup.procs; ls / > /dev/null; echo $$ > {path}/../cgroup.procs"
    for named in (name, path):
        row = json_rows("-e", "page-faults", "-G", named, "--", "sh", "-c", script)["page-faults"]
        assert (row["cgroup"], row["value"] > 10) == (named, True)
    row = json_rows("-e", "page-faults", "-G", name, "--", "ls", "/")["page-faults"]
    assert row["state"] == "not counted"
    both = json_rows("-e", "page-faults,minor-faults", "-G", name, "--", "ls", "/")
    assert {row["cgroup"] for row in both.values()} == {name}
    several = json_rows("-e", "page-faults,minor-faults,dummy", "-G", f"{name},{name}", "--", "ls", "/")
    assert [row.get("cgroup") for row in several.values()] == [name, name, None]


@needs_root
def test_a_cgroup_that_is_not_there_is_named(cgroup):
    """A cgroup that does not exist is an error with its path, and nothing is counted."""
    cgroup()  # others do exist
    done = run("stat", "-G", "no such cgroup", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such cgroup" in done.stderr


def test_each_read_of_a_counter_counts_from_the_last_one_on():
    """As the intervals of -I: what was shown once is not shown again."""
    attr = events.attr("page-faults:u", **counter.COUNTING)
    one = counter.Counter(counter.Event("page-faults:u", attr))
    one.open([(0, -1, 0)])
    try:
        shown = []
        for pages in (400, 10):
            fault(pages)
            shown += [int(count.value) for count in one.read()]  # type: ignore[arg-type]
    finally:
        one.close()
    assert shown[0] >= 400
    assert 10 <= shown[1] < 400

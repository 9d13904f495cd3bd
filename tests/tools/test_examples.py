"""Each file under examples/ runs as it stands, from an empty directory, and prints what it is about."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.compilers import TESTS, compiler
from support.machine import MACHINE
from support.marks import breakpoints_error, needs_breakpoints, needs_events, needs_root

from perf_event_open_sys import events

EXAMPLES = TESTS.parent / "examples"
EXPECTED = {
    "breakpoint": r"10 writes\n",
    "bpf": r"[1-9]\d+ context switches, counted by \d+ program\n",
    "tracepoint": r"slept 10 times\n",
    "uprobe": r"getppid of /\S+: called 1000 times\n",
}
LINES = {"flight_recorder": 60, "profile": 143, "trace": 76}  # what these took before there were functions for them


def requirements(name, request):
    """Skip where this machine or user lacks what an example needs."""
    if name == "breakpoint" and breakpoints_error():
        pytest.skip(needs_breakpoints.kwargs["reason"])
    if name != "breakpoint" and os.geteuid() != 0:
        pytest.skip("needs root")
    if name in ("bpf", "tracepoint"):
        request.getfixturevalue("tracefs")
    if name == "uprobe" and "uprobe" not in events.pmus():
        pytest.skip("needs a kernel with CONFIG_UPROBE_EVENTS")
    if name == "bpf" and MACHINE not in ("x86_64", "aarch64", "riscv64"):
        pytest.skip("needs this machine's number of bpf(2)")


def command_of(name, *arguments):
    """Return the command that runs an example."""
    return [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]


def matched(pattern, text):
    """Return the match of all of *text*, of which there must be one."""
    found = re.fullmatch(pattern, text)
    assert found, text
    return found


def run(name, *arguments, cwd, **options):
    """Run an example to its end."""
    return subprocess.run(command_of(name, *arguments), capture_output=True, text=True, cwd=cwd, **options)


@contextlib.contextmanager
def started(name, *arguments, cwd):
    """Start an example; at the end, interrupt it as from the keyboard: it ends well."""
    command, pipe = command_of(name, *arguments), subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=cwd) as process:
        try:
            yield process
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate()
            assert process.returncode == 0, errors
        finally:
            process.kill()


@needs_events
@pytest.mark.parametrize("name", EXPECTED)
def test_example_runs(name, request, tmp_path):
    """The program ends well and prints its count."""
    requirements(name, request)
    done = run(name, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(EXPECTED[name], done.stdout)


def test_every_example_is_run():
    """No file under examples/ is without its test here."""
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted([*EXPECTED, *LINES, "flamegraph"])


@pytest.mark.parametrize("name", LINES)
def test_what_users_wrote_by_hand_is_short(name):
    """A profiler, a tracer and a flight recorder take fewer lines than without the functions for them."""
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < LINES[name]


@pytest.fixture(scope="module")
def workload(tmp_path_factory):
    """The path of the program whose functions are profiled."""
    pytest.importorskip("elftools", reason="needs pyelftools")
    if MACHINE not in ("x86_64", "aarch64"):
        pytest.skip(
            "needs a machine whose kernel follows gcc's frame pointers, and code that runs where it is copied to"
        )
    directory = tmp_path_factory.mktemp("workload")
    cc = compiler("gcc", directory)
    program = directory / "workload"
    flags = ["-O1", "-fno-omit-frame-pointer", "-fno-stack-protector"]
    subprocess.run([cc, *flags, "-o", program, TESTS / "workload.c"], check=True)
    return program


def profiled(directory):
    """Return the stacks with their counts, and the titles of the flame graph, that profile.py left in *directory*."""
    lines = (directory / "profile.folded").read_text().splitlines()
    stacks = {stack: int(count) for stack, count in (line.rsplit(" ", 1) for line in lines)}
    svg = ElementTree.parse(directory / "profile.svg").getroot()
    return stacks, {title.text for title in svg.iter("{http://www.w3.org/2000/svg}title")}


@needs_events
def test_profile_finds_the_functions_of_a_command_and_of_its_children(workload, tmp_path):
    """profile.py resolves by ELF symbols and perf-PID.map; a child has its parent's mappings until its exec.

    In the order of time, what a sample's address means was told before: no innermost function is unknown.
    """
    done = run("profile", "-F", 999, "--", workload, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    began, ended = done.stdout.splitlines()
    Path(f"/tmp/perf-{began.split()[1]}.map").unlink()
    found = matched(r"(\d+) samples of [\w:-]+, 0 records lost: profile.folded, profile.svg", ended)
    stacks, titles = profiled(tmp_path)
    assert sum(stacks.values()) == int(found[1])
    for chain in (
        r"workload;.*main;outer;inner;spin",
        r"workload;.*main;call;compiled at run time",
        r"workload;.*main;in_fork;spin",
        r"exe;.*main;in_child;spin",
    ):
        count = sum(count for stack, count in stacks.items() if re.fullmatch(chain, stack))
        assert count > 20, (chain, stacks)
    assert not any(re.match("workload;.*in_child|exe;.*outer", stack) for stack in stacks)
    assert not [stack for stack in stacks if stack.startswith("?;") or stack.endswith(";[unknown]")]
    for name in ("outer", "inner", "spin", "call", "compiled at run time", "in_fork", "in_child"):
        assert any(re.fullmatch(rf"{name}: \d+ samples, \d+\.\d\d%", title) for title in titles), titles
    [everything] = [title for title in titles if title.startswith("all: ")]
    assert everything == f"all: {found[1]} samples, 100.00%"


@needs_events
def test_profile_attaches_to_a_process_and_to_the_child_it_has(workload, tmp_path):
    """What runs already is told by /proc; after the duration, both go on."""
    with subprocess.Popen([workload, "forever"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == f"running {process.pid}\n"
            done = run("profile", "-F", 999, "-d", 1, "-p", process.pid, cwd=tmp_path)
            assert process.poll() is None
        finally:
            process.kill()
            Path(f"/tmp/perf-{process.pid}.map").unlink(missing_ok=True)
    assert (done.returncode, done.stderr) == (0, "")
    stacks, _ = profiled(tmp_path)
    for chain in (r"workload;.*main;outer;inner;spin", r"workload;.*main;in_fork;spin"):
        assert any(re.fullmatch(chain, stack) for stack in stacks), (chain, stacks)


@needs_root
@needs_events
def test_profile_names_the_functions_of_the_kernel(tmp_path):
    """By /proc/kallsyms; they end in _[k], and stand above what called the kernel."""
    pytest.importorskip("elftools", reason="needs pyelftools")
    script = "import os, time\nwhile time.process_time() < 0.3:\n    os.stat('/usr/lib')"
    done = run("profile", "-F", 999, "--", sys.executable, "-c", script, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    stacks, _ = profiled(tmp_path)
    assert any(re.search(r";[\w.]*(stat|path)[\w.]*_\[k\]", stack) for stack in stacks), stacks
    assert not any("[kernel]" in stack for stack in stacks)


def test_profile_wants_a_process_or_a_command(tmp_path):
    """profile.py with neither a process nor a command prints its usage."""
    pytest.importorskip("elftools", reason="needs pyelftools")
    done = run("profile", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("profile.py: error: give -p PID or -- COMMAND\n")


def test_flame_graph_is_as_wide_as_the_samples(tmp_path):
    """Each frame has its share of the width, above its caller, and a title; markup in names is escaped."""
    done = run("flamegraph", cwd=tmp_path, input="main;a;<b> 3\nmain;c 1\nmain;a 2\nother d 2\n")
    assert (done.returncode, done.stderr) == (0, "")
    svg = "{http://www.w3.org/2000/svg}"
    frames = {}
    for group in ElementTree.fromstring(done.stdout).iter(f"{svg}g"):
        rect = group.find(f"{svg}rect")
        place = tuple(float(rect.attrib[key]) for key in ("x", "y", "width"))
        frames[group.find(f"{svg}title").text] = place
    assert frames == {
        "all: 8 samples, 100.00%": (0, 51, 1200),
        "main: 6 samples, 75.00%": (0, 34, 900),
        "a: 5 samples, 62.50%": (0, 17, 750),
        "<b>: 3 samples, 37.50%": (0, 0, 450),
        "c: 1 samples, 12.50%": (750, 17, 150),
        "other d: 2 samples, 25.00%": (900, 34, 300),
    }


@needs_root
@needs_events
def test_trace_prints_each_hit_with_its_fields(getpgid_tracepoint, tmp_path):  # noqa: ARG001 - skips without it
    """trace.py prints each hit that passes the filter, of every CPU, with the names and values of its fields."""
    me = threading.get_native_id()
    with started("trace", f"syscalls:sys_enter_getpgid if common_pid == {me} && pid != 1", cwd=tmp_path) as process:
        assert process.stderr.readline().startswith("tracing syscalls:sys_enter_getpgid if")
        for pid in (os.getpid(), 1, 0):
            os.getpgid(pid)
        lines = [process.stdout.readline() for _ in range(2)]
    for line, pid in zip(lines, (os.getpid(), 0), strict=True):
        assert re.fullmatch(rf" *{me} \[\d+\] \d+\.\d+ syscalls:sys_enter_getpgid: __syscall_nr=\d+ pid={pid}\n", line)


@needs_root
@needs_events
def test_trace_shows_texts_of_two_tracepoints(tracefs, tmp_path):  # noqa: ARG001 - skips without it
    """A char array and a dynamic string come without their NULs; each sample has the fields of its own event."""
    wanted = ("sched:sched_process_exec", 'sched:sched_process_exit if comm == "true"')
    with started("trace", *wanted, cwd=tmp_path) as process:
        assert process.stderr.readline().startswith("tracing ")
        with subprocess.Popen(["/bin/true"]) as true:
            pass
        lines = {}
        for line in process.stdout:
            if re.search(rf"\bpid={true.pid}\b", line):
                lines[line.split()[3]] = line
            if len(lines) == 2:
                break
    assert "filename=/bin/true " in lines["sched:sched_process_exec:"]
    assert "comm=true " in lines["sched:sched_process_exit:"]


@needs_root
@needs_events
def test_trace_explains_a_refused_filter(tracefs, tmp_path):  # noqa: ARG001 - skips without it
    """The unknown field is named, with those that are meant."""
    done = run("trace", "sched:sched_switch if prev_pidd == 1", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "sched:sched_switch if prev_pidd == 1: sched:sched_switch has no field 'prev_pidd'; did you mean prev_pid"
    )


def snapshot(process):
    """Read a snapshot that the flight recorder prints: its first line, and [(seconds, tasks)]."""
    first = process.stdout.readline()
    count = int(matched(r"(SIGUSR1|\d+\.\d+ ms late): the last (\d+) context switches\n", first)[2])
    lines = [process.stdout.readline() for _ in range(count)]
    found = [matched(r"  (\d+\.\d+) \[\d+\] (.*/\d+ -> .*/\d+)\n", line) for line in lines]
    return first, [(float(one[1]), one[2]) for one in found]


@needs_root
@needs_events
def test_flight_recorder_prints_what_came_before_the_signal(tracefs, tmp_path):  # noqa: ARG001 - skips without it
    """In the order of time, with the recorder's own switches; and goes on recording."""
    with started("flight_recorder", cwd=tmp_path) as process:
        assert process.stdout.readline() == f"recording: kill -USR1 {process.pid}\n"
        last = 0
        for _ in range(2):
            process.send_signal(signal.SIGUSR1)
            first, switches = snapshot(process)
            assert first.startswith("SIGUSR1: ")
            times = [time for time, _ in switches]
            assert times == sorted(times)
            assert times[-1] > last
            last = times[-1]
            assert any(f"/{process.pid}" in tasks for _, tasks in switches)


@needs_root
@needs_events
def test_flight_recorder_prints_when_it_is_late(tracefs, tmp_path):  # noqa: ARG001 - skips without it
    """Every timer is late by more than nothing: the second snapshot is there without a signal, too."""
    with started("flight_recorder", 0, cwd=tmp_path) as process:
        process.stdout.readline()
        for _ in range(2):
            first, switches = snapshot(process)
            assert first.split(" ", 1)[1].startswith("ms late: ")
            assert switches

"""examples/trace.py and flight_recorder.py: tracepoints as they are hit, and the last ones before a trigger."""

import re
import signal
import subprocess

from support.examples import matched, run, started
from support.marks import needs_events, needs_root
from support.workloads import child


@needs_root
@needs_events
def test_trace_prints_each_hit_with_its_fields(getpgid_tracepoint, tmp_path):  # noqa: ARG001 - skips without it
    """trace.py prints each hit that passes the filter, of every CPU, with the names and values of its fields."""
    with child("for pid in (os.getpid(), 1, 0): os.getpgid(pid)") as (traced, go):
        event = f"syscalls:sys_enter_getpgid if common_pid == {traced.pid} && pid != 1"
        with started("trace", event, cwd=tmp_path) as process:
            assert process.stderr.readline().startswith("tracing syscalls:sys_enter_getpgid if")
            go()
            lines = [process.stdout.readline() for _ in range(2)]
    hit = rf" *{traced.pid} \[\d+\] \d+\.\d+ syscalls:sys_enter_getpgid: __syscall_nr=\d+"
    for line, pid in zip(lines, (traced.pid, 0), strict=True):
        assert re.fullmatch(rf"{hit} pid={pid}\n", line)


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

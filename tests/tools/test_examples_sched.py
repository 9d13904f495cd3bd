"""examples/sched_latency.py: a perf.data file of tracepoints, turned into a table and a picture."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from support.examples import matched, run
from support.machine import CPUS
from support.marks import needs_events, needs_root
from support.perf_bytes import perf_file, samples

SLEEPER = """
import ctypes, os, sys, time
os.sched_setaffinity(0, [int(sys.argv[1])])
ctypes.CDLL(None).prctl(15, b"sleeper", 0, 0, 0)  # PR_SET_NAME
for _ in range(200):
    time.sleep(0.0005)
"""


@needs_root
@needs_events
@pytest.mark.usefixtures("tracefs")
def test_sched_latency_shows_how_long_a_task_waits_for_a_cpu(tmp_path):
    """A program that sleeps two hundred times is woken as often; its row in the picture has as many."""
    pytest.importorskip("numpy")
    events = "sched:sched_wakeup,sched:sched_switch"
    recorder = [sys.executable, "-m", "perf_event_open_sys", "record", "-a", "-e", events, "-o", "perf.data", "--"]
    # On some CPUs of a virtual machine neither perf nor we see the wakeups by the timer of a CPU that is idle.
    for cpu in CPUS:
        sleeper = [sys.executable, "-c", SLEEPER, str(cpu)]
        subprocess.run([*recorder, *sleeper], check=True, capture_output=True, cwd=tmp_path)
        done = run("sched_latency", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        if re.search(r"^sleeper +\d{3} ", done.stdout, re.M):
            break
    head, *lines, last = done.stdout.splitlines()
    assert head.split() == ["program", "wakeups", "median", "99", "%", "longest"]
    [line] = [line for line in lines if line.startswith("sleeper ")]
    row = matched(r"sleeper +(\d+) +([\d.]+) µs +([\d.]+) µs +([\d.]+) µs", line)
    count, median, most, longest = int(row[1]), *(float(row[at]) for at in (2, 3, 4))
    assert 150 < count < 400
    assert 0 < median <= most <= longest
    total = int(matched(r"(\d+) wakeups: latency.svg", last)[1])
    assert total >= sum(int(line[16:].split()[0]) for line in lines)
    svg = "{http://www.w3.org/2000/svg}"
    titles = [one.text for one in ElementTree.parse(tmp_path / "latency.svg").iter(f"{svg}title")]
    shown = [int(matched(r"sleeper: (\d+) of \d+ to \d+ ns", one)[1]) for one in titles if one.startswith("sleeper:")]
    assert sum(shown) == count


def test_sched_latency_names_the_tracepoint_that_a_file_lacks(tmp_path):
    """A file of other events is refused."""
    pytest.importorskip("numpy")
    (tmp_path / "perf.data").write_bytes(perf_file(samples(2)))
    done = run("sched_latency", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "the file has no sched:sched_wakeup\n")

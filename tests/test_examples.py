"""Each file under examples/ runs as it stands, and prints what it is about."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.machine import MACHINE
from support.marks import breakpoints_error, needs_breakpoints, needs_events

from perf_event_open_sys import events

EXAMPLES = Path(__file__).parent.parent / "examples"
EXPECTED = {
    "breakpoint": r"10 writes\n",
    "bpf": r"[1-9]\d+ context switches, counted by \d+ program\n",
    "tracepoint": r"slept 10 times\n",
    "uprobe": r"getppid of /\S+: called 1000 times\n",
}


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


@needs_events
@pytest.mark.parametrize("name", EXPECTED)
def test_example_runs(name, request):
    """The program ends well and prints its count."""
    requirements(name, request)
    done = subprocess.run([sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(EXPECTED[name], done.stdout)


def test_every_example_is_run():
    """No file under examples/ is without its line here."""
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(EXPECTED)

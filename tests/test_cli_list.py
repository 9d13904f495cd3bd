"""``list``: the events of this machine."""

import fnmatch
import os
import pty
import subprocess

import pytest
from support.cli import CLI, run
from support.marks import needs_events

from perf_event_open_sys import events

pytestmark = needs_events


def test_everything_that_list_prints_is_an_event():
    """Each indented name is read by the parser that stat uses."""
    done = run("list")
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert "page-faults" in names
    assert len([events.attr(name) for name in names]) == len(names) > 10
    if not any(pmu.is_core for pmu in events.pmus().values()):
        assert "cycles" not in names


def test_list_is_filtered_by_a_glob():
    """A glob matches whole names; a plain word is looked for in them; nothing found is status 1."""
    globbed = [line.split()[0] for line in run("list", "*-faults").stdout.splitlines() if line.startswith("  ")]
    assert "page-faults" in globbed
    assert [name for name in globbed if not fnmatch.fnmatch(name, "*-faults")] == []
    assert "  minor-faults\n" in run("list", "minor").stdout
    nothing = run("list", "no such event")
    assert (nothing.returncode, "no event of this machine matches" in nothing.stderr) == (1, True)


def test_list_into_a_closed_pipe_is_quiet():
    """``list | head`` ends as by SIGPIPE, and says nothing."""
    with subprocess.Popen([*CLI, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        listing.stdout.close()
        said = listing.stderr.read()
    assert not said or said.startswith("list: no tracepoints: ")
    assert listing.returncode == 141


@pytest.mark.parametrize(("no_color", "bold"), [(None, True), ("", True), ("1", False)])
def test_colour_is_for_terminals(no_color, bold):
    """Headings are bold on a terminal, unless NO_COLOR says no; and plain in a pipe."""
    assert "\x1b" not in run("list", "page-faults").stdout
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    if no_color is not None:
        environment["NO_COLOR"] = no_color
    ours, theirs = pty.openpty()
    try:
        subprocess.run([*CLI, "list", "page-faults"], stdout=theirs, check=True, env=environment)
        heading = b"\x1b[1mSoftware events\x1b[0m" if bold else b"Software events\r\n"
        assert os.read(ours, 100).startswith(heading)
    finally:
        os.close(ours)
        os.close(theirs)

"""``list``: the events of this machine."""

import fnmatch
import os
import pty
import subprocess
from types import SimpleNamespace

import pytest
from support.cli import CLI, run
from support.marks import needs_events

from perf_event_open_sys import events
from perf_event_open_sys._cli import list as module

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


@pytest.mark.parametrize(
    ("glob", "shown"),
    [
        ([], ["One", f"  {'ab':48} the note", "  b", "", "Two", "  abc"]),
        (["b"], ["One", f"  {'ab':48} the note", "  b", "", "Two", "  abc"]),
        (["*b"], ["One", f"  {'ab':48} the note", "  b"]),
        (["?"], ["One", "  b"]),
        (["[bx]"], ["One", "  b"]),
        (["bc"], ["Two", "  abc"]),
    ],
)
def test_events_stand_below_their_headings(glob, shown, monkeypatch, capsys):
    """With a note in a column; an empty line between two headings, and no heading without an event."""
    offered = [("One", [("ab", "the note"), ("b", "")]), ("Empty", []), ("Two", [("abc", "")])]
    monkeypatch.setattr(module, "_offers", lambda: offered)
    assert module.run(glob) == 0
    assert capsys.readouterr().out.splitlines() == shown


def test_what_is_offered_has_its_names_units_and_parameters(monkeypatch, capsys):
    """Other names of an event, units of a PMU's, a value for each parameter; and why there are no tracepoints."""
    pmu = SimpleNamespace(name="pmu", events={"e": "event=1", "p": "event=2,core=?,x=1,y=?"}, units={"e": "J"})

    def refused():
        raise PermissionError(1, "closed")

    monkeypatch.setattr(events, "pmus", lambda: {"pmu": pmu})
    monkeypatch.setattr(events, "tracepoints", refused)
    offered = dict(module._offers())
    assert ("page-faults", "also faults") in offered["Software events"]
    assert ("dummy", "") in offered["Software events"]
    assert offered["Events of PMU pmu"] == [("pmu/e/", "J"), ("pmu/p,core=0,y=0/", "")]
    assert "Tracepoints" not in offered
    assert capsys.readouterr().err == "list: no tracepoints: closed\n"

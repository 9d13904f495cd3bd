"""The parts of ``stat``: what its options make of events, cgroups, titles and reports. Nothing is opened here."""

import pytest

from perf_event_open_sys._cli.as_json import Json
from perf_event_open_sys._cli.count import Result
from perf_event_open_sys._cli.options import UsageError
from perf_event_open_sys._cli.output import Output
from perf_event_open_sys._cli.separated import Separated
from perf_event_open_sys._cli.stat import COMMAND, Stat, _check
from perf_event_open_sys._cli.table import Table
from perf_event_open_sys._cli.watch import Watch


def stat(*arguments):
    """Return the runs of a command line that makes sense."""
    options = COMMAND.parse(list(arguments))
    assert options
    _check(options)
    return Stat(options, Output(None, append=False), Watch())


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (["x", "-y", "z"], "'x -y z'"),
        (["-p", "1,2"], "process 1, 2"),
        (["-p", "1", "x"], "process 1"),
        (["-t", "5,6"], "thread 5, 6"),
        (["-a"], "all CPUs"),
        (["-a", "x"], "all CPUs"),
        (["-C", "0-1,3"], "CPUs 0, 1, 3"),
        (["-G", "a"], "cgroup a on all CPUs"),
        (["-G", "a,b", "-C", "1"], "cgroup a,b on CPUs 1"),
    ],
)
def test_the_title_says_what_is_counted(arguments, title):
    """The command; or the processes, threads, CPUs or cgroups, though a command runs beside."""
    report = stat(*arguments).report
    assert isinstance(report, Table)
    assert report.title == title


@pytest.mark.parametrize(
    ("arguments", "of_command", "clock", "inherit"),
    [
        (["x"], True, "task-clock", 1),
        (["-p", "1", "x"], False, "task-clock", 1),
        (["-t", "1"], False, "task-clock", 1),
        (["-a"], False, "cpu-clock", 0),
        (["-C", "0", "x"], False, "cpu-clock", 0),
        (["-G", "a"], False, "cpu-clock", 0),
    ],
)
def test_the_default_clock_is_of_what_is_counted(arguments, of_command, clock, inherit):
    """Tasks have their own, and events that their children inherit; CPUs have another, and inherit nothing."""
    one = stat(*arguments)
    assert one.of_command is of_command
    assert (one.counters[0].name, one.counters[0].event.attr.inherit) == (clock, inherit)
    assert one.on_exec is of_command
    assert stat("-D", "5", *arguments).on_exec is False


@pytest.mark.parametrize(
    ("cgroups", "expected"),
    [("a", ["a", "a", "a"]), ("a,b", ["a", "b", ""]), ("a,,b", ["a", "", "b"]), ("a,b,c", ["a", "b", "c"])],
)
def test_which_cgroup_is_whose(cgroups, expected):
    """One name is for all events, the n-th of several for the n-th event, in groups and outside; the rest have none."""
    one = stat("-G", cgroups, "-e", "{cs,page-faults}", "-e", "dummy")
    assert [counter.cgroup for counter in one.counters] == expected
    assert [len(group) for group in one.groups] == [2, 1]


def test_more_cgroups_than_events_are_refused():
    """Some would be for nothing."""
    with pytest.raises(UsageError, match=r"^-G names 2 cgroups for 1 events$"):
        stat("-G", "a,b", "-e", "cs")


@pytest.mark.parametrize(("arguments", "per_cpu"), [(["-a", "-A"], True), (["-C", "0", "-A"], True), (["-a"], False)])
def test_each_cpu_may_be_counted_for_itself(arguments, per_cpu):
    """-A, of CPUs or cgroups."""
    assert {counter.per_cpu for counter in stat(*arguments).counters} == {per_cpu}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-A", "x"], "-A needs -a, -C or -G"),
        (["-A", "-p", "1"], "-A needs -a, -C or -G"),
        (["-r", "2", "-a"], "-r needs a COMMAND, and goes without -I"),
        (["-r", "2", "-I", "9", "x"], "-r needs a COMMAND, and goes without -I"),
        (["-x,", "-j", "x"], "-x and --json exclude each other"),
        (["--append", "x"], "--append needs -o FILE"),
    ],
)
def test_what_does_not_go_together(arguments, message):
    """Each is an error that says so; without the one or the other it would be none."""
    with pytest.raises(UsageError, match=f"^{message}$"):
        stat(*arguments)
    stat("-r", "2", "x")
    stat("-I", "9", "x")
    stat("-G", "a", "-A")


def test_the_report_is_in_the_form_that_was_asked_for():
    """A table; -x: columns, with one for the spread of runs and one for cgroups; -j: JSON."""
    assert isinstance(stat("-j", "x").report, Json)
    for arguments, repeated, cgroups in (
        (["x"], False, False),
        (["-r", "2", "x"], True, False),
        (["-G", "a"], False, True),
    ):
        report = stat("-x", r"\t", *arguments).report
        assert isinstance(report, Separated)
        assert (report.separator, report.repeated, report.cgroups) == ("\t", repeated, cgroups)
    assert isinstance(stat("-r", "2", "x").report, Table)


def test_an_interval_begins_where_the_last_one_ended():
    """The first at the start."""
    one, shown = stat("-I", "9", "x"), []
    one.report.interval = shown.append
    for until in (0.5, 2.0):
        one._interval(Result([], until))
    assert [(result.started_s, result.elapsed_s) for result in shown] == [(0, 0.5), (0.5, 1.5)]

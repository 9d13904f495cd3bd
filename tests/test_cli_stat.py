"""``stat`` of a command: what it counts, how it prints it, and its exit status."""

import json
import os
import re
import signal

import pytest
from support.cli import SLEEPER, counting, json_rows, run
from support.marks import needs_events, needs_events_of_users, needs_seccomp
from support.processes import as_user, captured
from support.seccomp import deny

from perf_event_open_sys import __main__ as command_line
from perf_event_open_sys import events, ffi
from perf_event_open_sys._cli import counter, requested

pytestmark = needs_events


def test_stat_shows_a_table_with_rates():
    """Counts, units, what a reader would work out, and the times of the run."""
    shown = run("stat", "-e", "task-clock:u,page-faults:u,minor-faults:u", "--", "true").stderr
    assert "Performance counter stats for 'true':" in shown
    assert re.search(r"^ +\d+\.\d\d msec task-clock:u +# +\d\.\d{3} CPUs utilized$", shown, re.MULTILINE)
    assert re.search(r"^ +\d+ +page-faults:u +# +\d+\.\d{3} [KM ]?/sec$", shown, re.MULTILINE)
    assert re.search(r"^ +\d\.\d{9} seconds time elapsed$", shown, re.MULTILINE)
    assert re.search(r"^ +\d\.\d{9} seconds sys$", shown, re.MULTILINE)


def as_ordinary_user(*arguments):
    """Run the command line as an ordinary user, where perf_event_paranoid is 2."""
    with open("/proc/sys/kernel/perf_event_paranoid") as file:
        if int(file.read()) != 2:
            pytest.skip("needs perf_event_paranoid at 2")
    return as_user(captured, command_line.main, list(arguments))


@needs_events_of_users
def test_stat_falls_back_to_user_space_for_an_ordinary_user():
    """An event that may not count the kernel counts without it, and its name says so."""
    done = as_ordinary_user("stat", "--json", "-e", "page-faults,minor-faults:uh,cycles", "--", "true")
    counted = {row["event"]: row for row in json.loads(done.stderr)["events"]}
    assert counted["page-faults:u"]["value"] > 0
    assert list(counted)[1:] == ["minor-faults:uh", "cycles:u"]  # of a PMU or not, it was asked for without the kernel


@needs_events_of_users
@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (["-e", "page-faults,cs:k,faults:k", "--", "echo", "ran"], r"cs:k, faults:k: .*perf_event_paranoid is 2"),
        (["-a", "-e", "page-faults,cs", "--", "echo", "ran"], r"page-faults, cs: .*pid=-1\) needs 0 or less"),
        (["-e", "page-faults", "-p", "1"], r"page-faults: .*process 1 is another user's"),
    ],
)
def test_what_is_refused_is_an_error(arguments, refused):
    """The events that were refused are named, with the reason; the command is not run."""
    done = as_ordinary_user("stat", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(f"stat: {refused}", done.stderr)


@needs_seccomp
@pytest.mark.parametrize("code", [1, 38])
def test_a_filter_that_refuses_is_an_error(code):
    """A container's: EPERM, or ENOSYS, which hides that there is such a call."""
    done = run("stat", "--", "echo", "ran", preexec_fn=lambda: deny(code))
    assert (done.returncode, done.stdout) == (2, "")
    assert "seccomp filter" in done.stderr


def test_stat_gives_each_reason_once():
    """Events that cannot be counted are marked in the table; why stands below it."""
    shown = run("stat", "-e", "r1fffff:u,page-faults:u,77:1:u,77:2:u", "--", "true").stderr
    assert re.search(r"^ +<not supported> +77:1:u$", shown, re.MULTILINE)
    assert shown.count("no PMU has type 77") == 1
    assert re.search(r"^ 77:1:u, 77:2:u: perf_event_open: No such file", shown, re.MULTILINE)


def test_stat_counts_groups_together():
    """The members of a group ran for the same time; a group's modifiers are those of its members."""
    rows = json_rows("-e", "{page-faults,minor-faults:u}:u,faults:u", "--", "ls", "/")
    assert list(rows) == ["page-faults:u", "minor-faults:u", "faults:u"]
    leader, member = rows["page-faults:u"], rows["minor-faults:u"]
    assert leader["value"] >= member["value"] > 0
    assert leader["time_running"] == member["time_running"] > 0


def test_a_group_whose_leader_is_not_open_is_not_counted():
    """Members share the reason of their leader; a weak group falls apart instead."""
    rows = json_rows("-e", "{77:1,page-faults}:u,{minor-faults,77:2}:uW,{page-faults,77:3,faults}:uW", "--", "true")
    assert [name for name, row in rows.items() if row["value"] is None] == [
        "77:1:u",
        "page-faults:u",
        "77:2:uW",
        "77:3:uW",
    ]
    assert rows["page-faults:u"]["reason"] == rows["77:1:u"]["reason"]
    assert rows["faults:uW"]["value"] == rows["page-faults:uW"]["value"] > 0
    # A pinned member is what the kernel takes alone, and in no group.
    rows = json_rows("-e", "{page-faults,faults:D}:u,{page-faults,minor-faults:D}:uW", "--", "true")
    assert "only the leader of a group can be pinned" in rows["faults:Du"]["reason"]
    assert rows["minor-faults:DuW"]["value"] > 0


@pytest.mark.parametrize("clock", ["task-clock", "cpu-clock"])
def test_the_default_events_are_those_of_the_parser(clock):
    """They are made without it, for a quick start, and equal byte for byte what it would make."""
    made = requested.groups([], 0, clock, inherit=1)
    read = events.parse(",".join([clock, *requested.DEFAULT]), inherit=1, **counter.COUNTING)
    fields = [(event.name, event.scale, event.unit, bytes(ffi.buffer(event.attr))) for [event] in made]
    assert fields == [(event.name, event.scale, event.unit, bytes(ffi.buffer(event.attr))) for [event] in read]


@pytest.mark.parametrize(("option", "count"), [("-d", 12), ("-dd", 18), ("-ddd", 20)])
def test_details_are_cache_events(option, count):
    """-d, -dd and -ddd add perf's cache events, behind the events of -e if any are given."""
    assert len(json_rows(option, "--", "true")) == count
    names = [name.removesuffix(":u") for name in json_rows(option, "-e", "dummy:u", "--", "true")]
    assert names[:2] == ["dummy", "L1-dcache-loads"]


def test_stat_repeats_and_shows_the_spread():
    """The mean of the runs, and its standard error; user and system time are means, too."""
    done = run("stat", "-r", "3", "-e", "page-faults:u", "--", "sh", "-c", "echo run")
    assert done.stdout == "run\n" * 3
    assert "(3 runs)" in done.stderr
    assert re.search(r"page-faults:u .*\( \+- +\d+\.\d\d% \)$", done.stderr, re.MULTILINE)
    # The first run alone is a busy one.
    script = "i=0; [ -e $0 ] || while [ $i -lt 100000 ]; do i=$((i+1)); done; : > $0"
    path = f"/tmp/stat-repeat-{os.getpid()}"
    try:
        document = json.loads(
            run("stat", "--json", "-r", "2", "-e", "task-clock:u", "--", "sh", "-c", script, path).stderr
        )
    finally:
        os.unlink(path)
    assert document["runs"] == 2
    busy = (document["user_s"] + document["system_s"]) * 1000
    assert busy > document["events"][0]["value"] / 2  # of the last run it would be a hundredth


def test_stat_prints_intervals_until_the_command_ends():
    """With -I each line has the time since the start; together the intervals are the whole."""
    script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"
    done = run("stat", "-I", "5", "--json", "-e", "task-clock:u", "--", "sh", "-c", script)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(lines) > 1
    times = [line["elapsed_s"] for line in lines]
    assert times == sorted(times)
    running = [line["events"][0]["time_running"] for line in lines]
    assert sum(running) > max(running) > 0


def test_intervals_have_a_header():
    """-I prints the header of the table at first and after each 25 intervals, as perf does."""
    lines = run("stat", "-I", "4", "-e", "dummy:u", "--timeout", "200", "--", "sleep", "60").stderr.splitlines()
    headers = [number for number, line in enumerate(lines) if line == "#           time             counts unit events"]
    assert headers == list(range(0, len(lines), 26))


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        (["sh", "-c", "exit 7"], 7, "seconds time elapsed"),
        (["sh", "-c", "kill -9 $$"], 137, "seconds time elapsed"),
        (["/nowhere/to/be/found"], 127, "stat: /nowhere/to/be/found: No such file or directory\n"),
        ([""], 127, "stat: '': No such file or directory\n"),
        (["/etc/passwd"], 126, "stat: /etc/passwd: Permission denied\n"),
    ],
)
def test_the_commands_exit_status_is_passed_on(command, status, text):
    """As the shell has it: 128 + n for a signal, 127 for a command that is missing, 126 for one that does not run."""
    done = run("stat", "-e", "page-faults:u", "--", *command)
    assert done.returncode == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_the_commands_options_are_its_own(dashes):
    """What stands after the command is the command's, a second -- too; the first -- may be left out."""
    done = run("stat", "-o", os.devnull, "-e", "page-faults:u", *dashes, "echo", "-e", "a", "--", "-p", "b")
    assert (done.returncode, done.stdout) == (0, "a -- -p b\n")


def test_the_command_gets_its_signals_back():
    """What Python ignores (SIGPIPE) and what stat does (SIGINT) is not ignored by the command."""
    done = run("stat", "-o", os.devnull, "--", "grep", "SigIgn", "/proc/self/status")
    ignored = int(done.stdout.split()[1], 16)
    signals = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT)
    assert [number.name for number in signals if ignored >> (number - 1) & 1] == []


def test_a_command_that_cannot_be_run_leaves_the_file_as_it_is(tmp_path):
    """And so does an event that is refused: -o empties the file when there is something to write."""
    file = tmp_path / "out"
    file.write_text("before\n")
    for arguments in (["/nowhere/to/be/found"], ["-e", "nonsense", "true"], ["-p", "4194305"]):
        assert run("stat", "-o", str(file), *arguments).returncode != 0
        assert file.read_text() == "before\n"
    assert run("stat", "-o", str(tmp_path / "no" / "out"), "--", "echo", "ran").stdout == ""


def test_output_goes_to_a_file(tmp_path):
    """With -o standard error stays the command's own; --append keeps what is there."""
    file, longer = tmp_path / "out", "x" * 10000
    file.write_text(longer)
    for append in ([], ["--append"]):
        done = run("stat", "-o", str(file), *append, "-e", "page-faults:u", "--", "sh", "-c", "echo mine >&2")
        assert done.stderr == "mine\n"
    text = file.read_text()
    assert (text.count("page-faults:u"), text.count("# started on "), longer in text) == (2, 2, False)


def test_verbose_prints_raw_counts_and_attrs():
    """Each event with its value, time enabled and time running; twice: its attr."""
    shown = run("stat", "-v", "-e", "task-clock:u", "--", "true").stderr
    assert re.search(r"^task-clock:u: \d{5,} \d+ \d+$", shown, re.MULTILINE)
    assert "PERF_COUNT_SW_TASK_CLOCK" in run("stat", "-vv", "-e", "task-clock:u", "--", "true").stderr
    assert "PERF_COUNT_SW_TASK_CLOCK" not in shown


def test_delay_begins_later():
    """What the command did before is not counted; one that has ended by then was not counted at all."""
    script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo $$; exec sleep 60"
    with counting("--json", "-D", "1", "--timeout", "1000", "-e", "task-clock:u", command=SLEEPER) as (process, _):
        row = json.loads(process.stderr.read())["events"][0]
        assert process.wait() == 0
    assert row["value"] is None or row["value"] < 500
    row = json_rows("-D", "60000", "-e", "task-clock:u", "--", "sh", "-c", script.partition("echo")[0])["task-clock:u"]
    assert row["state"] == "not counted"


@pytest.mark.parametrize("interval", [[], ["-I", "20"]])
def test_timeout_ends_the_command(interval):
    """By SIGTERM, and with status 0."""
    with counting(*interval, "--timeout", "100", "-e", "task-clock:u") as (process, pid):
        assert "task-clock:u" in process.stderr.read()
        assert process.wait() == 0
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cycels", "stat: no event 'cycels'; did you mean cycles or ref-cycles or cpu-cycles?\n  cycels\n  ^\n"),
        (
            "page-faults:x",
            "stat: no modifier 'x': they are u k h I G H p pp ppp P S D W e\n  page-faults:x\n              ^\n",
        ),
        ("{page-faults", "stat: the group's closing brace is missing\n  {page-faults\n              ^\n"),
    ],
)
def test_a_wrong_event_is_shown_with_a_caret(text, message):
    """The place and the nearest names, exit status 2, and the command is not run."""
    done = run("stat", "-e", text, "--", "echo", "ran")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_an_ignored_child_signal_loses_no_exit_status():
    """Where SIGCHLD is ignored, the exit status is still the command's."""
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)}
    assert run("stat", "-e", "dummy:u", "--", "sh", "-c", "exit 9", **ignore).returncode == 9

"""The command line: check, list and stat, as an ordinary user too, and beside perf."""

import ctypes
import errno
import fnmatch
import functools
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys

import pytest
from support.marks import needs_root, needs_seccomp
from support.seccomp import deny

from perf_event_open_sys import events
from perf_event_open_sys._cli import report

CLI = [sys.executable, "-m", "perf_event_open_sys"]
needs_perf = pytest.mark.skipif(not shutil.which("perf"), reason="needs perf, the oracle")
ADDR_NO_RANDOMIZE = 0x0040000  # of <sys/personality.h>


def run(*arguments, **options):
    """Run the command line to its end."""
    return subprocess.run([*CLI, *arguments], capture_output=True, text=True, **options)


def fixed_addresses():
    """Have the programs to come lie at the same addresses each time: for ``preexec_fn``."""
    ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)


def stat(*arguments, **options):
    """The rows of ``stat --json``, by event."""
    done = run("stat", "--json", *arguments, **options)
    return {row["event"]: row for row in json.loads(done.stderr)["events"]}


@pytest.fixture
def faults(tmp_path):
    """A program that touches 1,000 pages, and that nothing but its own code puts into memory."""
    source = tmp_path / "faults.c"
    source.write_text(
        "#include <stdlib.h>\n#include <sys/mman.h>\n#include <unistd.h>\n#include <time.h>\n"
        "int main(int argc, char **argv) {\n"
        "  long pages = atol(argv[1]); struct timespec nap = {0, 1000};\n"
        "  char *p = mmap(0, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n"
        "  madvise(p, pages << 12, MADV_NOHUGEPAGE);\n"
        "  for (long i = 0; i < pages; i++) p[i << 12] = 1;\n"
        "  for (int i = 0; i < 50; i++) getppid();\n"
        "  for (int i = 0; i < 20; i++) nanosleep(&nap, 0);\n"
        "  return argc - 2; }\n"
    )
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    if subprocess.run(["cc", "-static", "-o", tmp_path / "faults", source], capture_output=True).returncode:
        pytest.skip("needs a C library to link with -static")
    return [str(tmp_path / "faults"), "1000"]


def perf_counts(event, command):
    """What perf counts of one event of a command."""
    arguments = ["perf", "stat", "-x,", "-e", event, "--", *command]
    done = subprocess.run(arguments, capture_output=True, text=True, preexec_fn=fixed_addresses)
    return [int(line.split(",")[0]) for line in done.stderr.splitlines()]


@needs_perf
def test_stat_counts_page_faults_as_perf_does(faults):
    """A program that touches 1,000 pages has as many faults here as under perf."""
    [perfs] = perf_counts("page-faults:u", faults)
    ours = stat("-e", "page-faults:u", "--", *faults, preexec_fn=fixed_addresses)["page-faults:u"]
    assert ours["value"] > 1000
    assert abs(ours["value"] - perfs) <= 1  # perf's longer environment may need a page of stack


@needs_perf
@needs_root
def test_stat_counts_context_switches_as_perf_does(faults):
    """A program that sleeps 20 times is switched away as often, and now and then by others, here and under perf."""
    [perfs] = perf_counts("context-switches", faults)
    ours = stat("-e", "context-switches", "--", *faults)["context-switches"]
    assert ours["value"] >= 20
    assert abs(ours["value"] - perfs) <= 10


@needs_perf
@needs_root
def test_stat_counts_tracepoints_as_perf_does(faults, tracefs):
    """50 calls of getppid are 50 hits, here and under perf."""
    event = "syscalls:sys_enter_getppid"
    if not os.path.exists(f"{tracefs}/events/syscalls"):
        pytest.skip("needs a kernel with CONFIG_FTRACE_SYSCALLS")
    assert perf_counts(event, faults) == [50]
    assert stat("-e", event, "--", *faults)[event]["value"] == 50


def test_stat_shows_a_table_with_rates():
    """Counts, units, what a reader would work out, and the times of the run."""
    shown = run("stat", "-e", "task-clock:u,page-faults:u,minor-faults:u", "--", "true").stderr
    assert "Performance counter stats for 'true':" in shown
    assert re.search(r"^ +\d+\.\d\d msec task-clock:u +# +\d\.\d{3} CPUs utilized$", shown, re.MULTILINE)
    assert re.search(r"^ +\d+ +page-faults:u +# +\d+\.\d{3} [KM ]?/sec$", shown, re.MULTILINE)
    assert re.search(r"^ +\d\.\d{9} seconds time elapsed$", shown, re.MULTILINE)
    assert re.search(r"^ +\d\.\d{9} seconds sys$", shown, re.MULTILINE)


def test_stat_falls_back_to_user_space_for_an_ordinary_user():
    """An event that may not count the kernel counts without it, and its name says so."""
    user = {"user": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    with open("/proc/sys/kernel/perf_event_paranoid") as file:
        if int(file.read()) != 2:
            pytest.skip("needs perf_event_paranoid at 2")
    rows = stat("-e", "page-faults,minor-faults:uh,cs:k", "--", "true", **user)
    assert rows["page-faults:u"]["value"] > 0
    assert rows["cs:k"]["state"] == "not supported"
    assert "perf_event_paranoid is" in rows["cs:k"]["reason"]


def test_stat_gives_each_reason_once():
    """Events that cannot be counted are marked in the table; why stands below it."""
    shown = run("stat", "-e", "r1fffff:u,page-faults:u,77:1:u,77:2:u", "--", "true").stderr
    assert re.search(r"^ +<not supported> +77:1:u$", shown, re.MULTILINE)
    assert shown.count("no PMU has type 77") == 1
    assert re.search(r"^ 77:1:u, 77:2:u: perf_event_open: No such file", shown, re.MULTILINE)


def test_stat_counts_groups_together():
    """The members of a group ran for the same time; a group's modifiers are those of its members."""
    rows = stat("-e", "{page-faults,minor-faults:u}:u,faults:u", "--", "ls", "/")
    assert list(rows) == ["page-faults:u", "minor-faults:u", "faults:u"]
    leader, member = rows["page-faults:u"], rows["minor-faults:u"]
    assert leader["value"] >= member["value"] > 0
    assert leader["time_running"] == member["time_running"] > 0


def test_a_group_whose_leader_is_not_open_is_not_counted():
    """Members share the reason of their leader; a weak group falls apart instead."""
    rows = stat("-e", "{77:1,page-faults}:u,{minor-faults,77:2}:uW,{page-faults,77:3,faults}:uW", "--", "true")
    assert [name for name, row in rows.items() if row["value"] is None] == [
        "77:1:u",
        "page-faults:u",
        "77:2:uW",
        "77:3:uW",
    ]
    assert rows["page-faults:u"]["reason"] == rows["77:1:u"]["reason"]
    assert rows["faults:uW"]["value"] == rows["page-faults:uW"]["value"] > 0
    # A pinned member is what the kernel takes alone, and in no group.
    rows = stat("-e", "{page-faults,faults:D}:u,{page-faults,minor-faults:D}:uW", "--", "true")
    assert "only the leader of a group can be pinned" in rows["faults:Du"]["reason"]
    assert rows["minor-faults:DuW"]["value"] > 0


def test_stat_repeats_and_shows_the_spread():
    """The mean of the runs, and its standard error."""
    done = run("stat", "-r", "3", "-e", "page-faults:u", "--", "sh", "-c", "echo run")
    assert done.stdout == "run\n" * 3
    assert "(3 runs)" in done.stderr
    assert re.search(r"page-faults:u .*\( \+- +\d+\.\d\d% \)$", done.stderr, re.MULTILINE)


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


def test_stat_of_a_process_ends_with_it():
    """With -p what runs already is counted until it exits."""
    work = "end = time.process_time() + 0.05\nwhile time.process_time() < end: pass"
    busy = f"import sys, time; print(flush=True); sys.stdin.read(1); {work}"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # it waits for its input now
        arguments = [*CLI, "stat", "-I", "20", "-e", "task-clock:u", "-p", str(process.pid)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as counting:
            counting.stderr.readline()
            process.stdin.write(b"x")
            process.stdin.close()
            rest = counting.stderr.read()
    milliseconds = [float(number) for number in re.findall(r"([\d.]+) msec", rest)]
    assert 25 < sum(milliseconds) < 5000
    assert counting.returncode == 0


@needs_root
def test_stat_of_all_cpus_counts_others_work():
    """With -a every CPU is counted while the command runs: each contributes its clock."""
    row = stat("-a", "-e", "cpu-clock", "--", "sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done")[
        "cpu-clock"
    ]
    assert row["time_enabled"] > 0
    assert row["value"] == pytest.approx(row["time_running"] / 1e6, rel=0.2)


@pytest.mark.parametrize("arguments", [["-p", "{pid}"], ["--", "sleep", "60"]])
def test_interrupt_prints_what_was_counted(arguments):
    """Ctrl-C ends the counting, not the report."""
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        arguments = [text.format(pid=sleeper.pid) for text in arguments]
        command = [*CLI, "stat", "-I", "10", "-e", "task-clock:u", *arguments]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as counting:
            assert "task-clock" in counting.stderr.readline()  # it runs
            os.killpg(counting.pid, signal.SIGINT)
            rest = counting.stderr.read()
        sleeper.kill()
    assert "task-clock" in rest
    assert "Traceback" not in rest


def test_interrupt_is_the_commands():
    """Without intervals too, Ctrl-C ends the command, and then the table comes."""
    command = [*CLI, "stat", "-e", "task-clock:u", "--", "sh", "-c", "echo; exec sleep 60"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **pipes) as counting:  # type: ignore[call-overload]
        counting.stdout.readline()  # it runs
        os.killpg(counting.pid, signal.SIGINT)
        shown = counting.stderr.read()
    assert "seconds time elapsed" in shown
    assert counting.returncode == 128 + signal.SIGINT


def test_the_spread_is_the_standard_error_of_the_mean():
    """In per cent of the mean; nothing where the mean is 0."""
    assert report.standard_error([1, 2, 3]) == pytest.approx(100 / 3**0.5 / 2)
    assert report.standard_error([0, 0]) == 0


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        (["sh", "-c", "exit 7"], 7, "seconds time elapsed"),
        (["sh", "-c", "kill -9 $$"], 137, "seconds time elapsed"),
        (["/nowhere/to/be/found"], 127, "stat: /nowhere/to/be/found: No such file or directory\n"),
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


@pytest.mark.parametrize("arguments", [["stat"], ["stat", "-r", "0", "true"], ["stat", "-p", "x"], ["nonsense"]])
def test_a_wrong_command_line_is_status_2(arguments):
    """What is wrong, and no traceback."""
    done = run(*arguments)
    assert done.returncode == 2
    assert "error: " in done.stderr


def test_a_process_that_is_not_there_is_named():
    """The pid, exit status 2, no traceback."""
    done = run("stat", "-p", "4194305")
    assert (done.returncode, done.stderr) == (2, "stat: there is no process 4194305\n")


def test_output_goes_to_a_file(tmp_path):
    """With -o standard error stays the command's own."""
    done = run("stat", "-o", str(tmp_path / "out"), "-e", "page-faults:u", "--", "sh", "-c", "echo mine >&2")
    assert done.stderr == "mine\n"
    assert "page-faults:u" in (tmp_path / "out").read_text()


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
    """``list | head`` ends without a traceback."""
    with subprocess.Popen([*CLI, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        listing.stdout.close()
        assert "Traceback" not in listing.stderr.read()


def test_colour_is_for_terminals():
    """Headings are bold on a terminal, and plain in a pipe."""
    assert "\x1b" not in run("list", "page-faults").stdout
    ours, theirs = pty.openpty()
    try:
        subprocess.run([*CLI, "list", "page-faults"], stdout=theirs, check=True)
        assert os.read(ours, 100).startswith(b"\x1b[1mSoftware events\x1b[0m")
    finally:
        os.close(ours)
        os.close(theirs)


def check(**options):
    """The report of ``check``, which ends well on every machine."""
    done = run("check", **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_check_is_what_no_argument_means():
    """The report has a live count, and ends in a verdict."""
    report = run().stdout
    assert report.startswith("Kernel ")
    assert re.search(r"^Live count +[1-9]\d* page faults while 100 pages were touched$", report, re.MULTILINE)
    assert re.search(r"^Verdict +this machine counts ", report.splitlines()[-1])
    assert re.search(r"^perf_event_attr +\d+ bytes in the kernel, \d+ here", report, re.MULTILINE)


@needs_root
def test_check_as_root_allows_whole_cpus():
    """Root counts everybody."""
    assert re.search("yes  own processes, in user space, own processes, in the kernel too, whole CPUs", check())
    assert "of everybody" in check().splitlines()[-1]


@needs_root
@pytest.mark.parametrize("level", [2, 3])
def test_check_as_an_ordinary_user_says_what_is_forbidden(paranoid, level):
    """At paranoid 2 and 3 the report shows the level, and what of it this user feels."""
    paranoid(level)
    report = check(user=65534, extra_groups=[])
    assert re.search(rf"^perf_event_paranoid +{level}: ", report, re.MULTILINE)
    assert "This user             uid 65534, no root" in report
    assert re.search(r"no   whole CPUs\n.*pid=-1\) needs 0 or less", report)
    assert "your own processes" in report.splitlines()[-1] or "nothing can be counted here" in report.splitlines()[-1]


@needs_seccomp
def test_check_under_a_seccomp_filter_says_so():
    """Where the call is denied, the verdict is that, and the reason is the filter."""
    report = check(preexec_fn=functools.partial(deny, errno.EPERM))
    assert re.search("^Verdict +nothing can be counted here: .*a seccomp filter is set", report.splitlines()[-1])

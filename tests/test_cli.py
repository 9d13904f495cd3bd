"""The command line as a whole: subcommands, options, usage, and streams that are closed or full."""

import os
import subprocess
import sys

import pytest
from support.cli import CLI, run

from perf_event_open_sys import HEADERS_VERSION, __version__
from perf_event_open_sys._cli import options, record
from perf_event_open_sys._cli.stat import COMMAND


def test_version_and_help():
    """--version and --help print to standard output, with status 0; the help names the subcommands."""
    assert run("--version").stdout == f"perf-event-open-sys {__version__} (headers of Linux {HEADERS_VERSION})\n"
    for flag in ("-h", "--help"):
        done = run(flag)
        assert (done.returncode, done.stderr) == (0, "")
        assert [name for name in ("check", "list", "record", "stat") if f"\n  {name} " not in done.stdout] == []


@pytest.mark.parametrize("subcommand", ["check", "list", "record", "stat"])
def test_each_subcommand_has_help_of_its_own(subcommand):
    """`SUBCOMMAND --help` shows each option with its flags, in lines that fit a terminal."""
    done = run(subcommand, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: python -m perf_event_open_sys {subcommand}")
    assert max(map(len, done.stdout.splitlines())) <= options.WIDTH
    if subcommand in ("record", "stat"):
        command = {"record": record.COMMAND, "stat": COMMAND}[subcommand]
        assert [flag for option in command.options for flag in option.flags if flag not in done.stdout] == []


@pytest.mark.parametrize(
    ("arguments", "subcommand", "message"),
    [
        (["nonsense"], "", "there is no subcommand 'nonsense'"),
        (["check", "x"], "check", "check takes no 'x'"),
        (["list", "a", "b"], "list", "list takes one GLOB: put it in quotes"),
        (["list", "--nonsense"], "list", "there is no option --nonsense"),
        (["stat"], "stat", "it needs a COMMAND, or one of -p, -t, -a, -C and -G"),
        (["stat", "--js", "true"], "stat", "there is no option --js"),
        (["stat", "--json=yes", "true"], "stat", "--json takes no value"),
        (["stat", "-e"], "stat", "-e needs EVENT,..."),
        (["stat", "-r", "0", "true"], "stat", "-r: not a number from 1 on: '0'"),
        (["stat", "-D", "-1", "true"], "stat", "-D: not a number from 1 on: '-1'"),
        (["stat", "-I", "9" * 5000, "true"], "stat", "-I: not a number from 1 on: '999"),
        (["stat", "-p", "x"], "stat", "-p: not a number from 1 on: 'x'"),
        (["stat", "-p", "1,"], "stat", "-p: not a number from 1 on: ''"),
        (["stat", "-C", "0-x"], "stat", "-C: no list of CPUs: '0-x'"),
        (["stat", "-C", ""], "stat", "it needs a COMMAND"),
        (["stat", "-x", "", "true"], "stat", "-x: the separator is empty"),
        (["stat", "-a", "-p", "1"], "stat", "-p and -a exclude each other"),
        (["stat", "-t", "1", "-p", "1"], "stat", "-p and -t exclude each other"),
        (["stat", "-A", "true"], "stat", "-A needs -a, -C or -G"),
        (["stat", "-r", "2", "-a"], "stat", "-r needs a COMMAND, and goes without -I"),
        (["stat", "-r", "2", "-I", "9", "true"], "stat", "-r needs a COMMAND, and goes without -I"),
        (["stat", "--json", "-x,", "true"], "stat", "-x and --json exclude each other"),
        (["stat", "--append", "true"], "stat", "--append needs -o FILE"),
        (["record"], "record", "it needs a COMMAND, or one of -p, -t, -a and -C"),
        (["record", "-a", "-t", "1"], "record", "-t and -a exclude each other"),
        (["record", "-F", "9", "-c", "9", "true"], "record", "-F and -c exclude each other"),
        (["record", "-o", "-", "true"], "record", "-o -: a perf.data file is not written in order"),
        (["record", "-m", "3", "true"], "record", "-m: not a power of two pages: '3'"),
        (["record", "-m", "3M", "true"], "record", "-m: not a power of two pages: '3M'"),
        (["record", "--duration", "-1", "true"], "record", "--duration: not a number of seconds: '-1'"),
        (["record", "--duration", ".", "true"], "record", "--duration: not a number of seconds above 0: '.'"),
        (["record", "--call-graph", "lbr", "true"], "record", "--call-graph: there is only fp, by frame pointers,"),
        (["stat", "-e", "cs", "-G", "a,b"], "stat", "-G names 2 cgroups for 1 events"),
    ],
)
def test_a_wrong_command_line_shows_the_usage_of_its_subcommand(arguments, subcommand, message):
    """The usage and what is wrong with the command line are printed, and the status is 2."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: python -m perf_event_open_sys {subcommand}")
    assert f"error: {message}" in done.stderr.splitlines()[-1]


def test_options_are_read_as_getopt_does():
    """Values behind a flag or with it, flags together; the first word that is none ends them, as does --."""
    read = COMMAND.parse
    assert read(["-ea,b", "-e", "c", "--event=d", "-aAdd", "-r3", "x", "-e", "y"]).__dict__ == {
        **read(["x"]).__dict__,
        "events": ["a,b", "c", "d"],
        "all_cpus": 1,
        "per_cpu": 1,
        "details": 2,
        "repeat": 3,
        "rest": ["x", "-e", "y"],
    }
    assert read(["--", "-e", "--", "y"]).rest == ["-e", "--", "y"]
    assert read(["-"]).rest == ["-"]
    assert read(["-x", r"\t", "x"]).separator == "\t"
    assert read(["-C", "0-1,3", "x"]).cpus == (0, 1, 3)


def test_a_start_imports_only_what_it_uses():
    """The default events need no parser; argparse, typing and enum alone would take as long as the count."""
    heavy = ("argparse", "typing", "enum", "re", "json", "perf_event_open_sys.events", "perf_event_open_sys._cli.check")
    script = (
        "import sys; from perf_event_open_sys.__main__ import main; main(['stat', '--', 'true']); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("subcommand", ["check", "list"])
def test_standard_output_that_is_closed_or_full(subcommand):
    """If standard output is closed or full, one line says so, without a traceback."""
    script = '"$@" >&-'
    done = subprocess.run(["sh", "-c", script, "sh", *CLI, subcommand], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f"{subcommand}: standard output is closed\n")
    with open("/dev/full", "w") as full:
        done = run(subcommand, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    # To an ordinary user list says besides that tracefs is closed.
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"{subcommand}: {os.strerror(28)}")
    assert len(done.stderr.splitlines()) <= 2

"""``stat`` beside ``perf stat``: the same counts, and with -x the same columns."""

import ctypes
import os
import re
import shutil
import subprocess

import pytest
from support.cli import json_rows, run
from support.marks import needs_events, needs_root

pytestmark = [pytest.mark.skipif(not shutil.which("perf"), reason="needs perf, the oracle"), needs_events]
ADDR_NO_RANDOMIZE = 0x0040000  # of <sys/personality.h>
NUMBER = re.compile(r"^\d+(\.\d+)?%?$")
RATE = re.compile("^[KMG]?/sec$")


def fixed_addresses():
    """Switch off the randomisation of addresses for the program that is executed next; for ``preexec_fn``."""
    ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)


@pytest.fixture
def faults(tmp_path):
    """Build a program that touches 1,000 pages, statically linked, so that its page faults are the same in each run."""
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


def test_stat_counts_page_faults_as_perf_does(faults):
    """A program that touches 1,000 pages has as many faults here as under perf."""
    [perfs] = perf_counts("page-faults:u", faults)
    ours = json_rows("-e", "page-faults:u", "--", *faults, preexec_fn=fixed_addresses)["page-faults:u"]
    assert ours["value"] > 1000
    assert abs(ours["value"] - perfs) <= 1  # perf's longer environment may need a page of stack


@needs_root
def test_stat_counts_context_switches_as_perf_does(faults):
    """A program that sleeps 20 times is switched away as often, and now and then by others, here and under perf."""
    [perfs] = perf_counts("context-switches", faults)
    ours = json_rows("-e", "context-switches", "--", *faults)["context-switches"]
    assert ours["value"] >= 20
    assert abs(ours["value"] - perfs) <= 10


@needs_root
def test_stat_counts_tracepoints_as_perf_does(faults, tracefs):
    """50 calls of getppid are 50 hits, here and under perf."""
    event = "syscalls:sys_enter_getppid"
    if not os.path.exists(f"{tracefs}/events/syscalls"):
        pytest.skip("needs a kernel with CONFIG_FTRACE_SYSCALLS")
    assert perf_counts(event, faults) == [50]
    assert json_rows("-e", event, "--", *faults)[event]["value"] == 50


def columns(text):
    """What -x printed: a list for each line, where any number stands as its digits behind the point; rates have no K."""
    lines = [[field.strip() for field in line.split(",")] for line in text.splitlines() if line and line[0] != "#"]
    lines = [line for line in lines if len(line) > 1]  # perf says "Events enabled"
    lines = [[RATE.sub("/sec", field) for field in line] for line in lines]
    return [
        [len(field.partition(".")[2].rstrip("%")) if NUMBER.match(field) else field for field in line] for line in lines
    ]


@needs_root
@pytest.mark.parametrize(
    "arguments",
    [
        "-e task-clock,page-faults,cycles,minor-faults:u,page-faults:k -- true",
        "-e page-faults,dummy -- true",  # no clock: no rates
        "-e cpu-clock,77:1,r1a8 -- true",
        "-r 3 -e task-clock,page-faults,cycles -- true",
        "-a -e cpu-clock,cycles -- sleep 0.01",
        "-a -A -e cpu-clock,cycles -- sleep 0.01",
        "-C 0 -A -r 2 -e dummy -- sleep 0.01",
        "-C 0 -e dummy -- sleep 0.01",
        "-a -I 60 -e cpu-clock,cycles -- sleep 0.1",
        "-a -A -I 60 -e cpu-clock,cycles -- sleep 0.1",
        "-D 300 -e task-clock,page-faults -- true",  # never counted
        "-d -- true",
        "-e cs,cycles -d -- true",
        "-e {page-faults,minor-faults} -- true",
    ],
)
def test_separated_columns_are_perfs(arguments):
    """Every column of -x equals perf's: names, units, states; a number has as many digits behind the point."""
    perf = subprocess.run(["perf", "stat", "-x,", *arguments.split()], capture_output=True, text=True)
    ours = run("stat", "-x,", *arguments.split())
    assert (ours.returncode, perf.returncode) == (0, 0)
    # How many intervals there are depends on when the two were run; each has the same rows.
    kind = set if "-I" in arguments else list
    found, expected = (kind(map(tuple, columns(text))) for text in (ours.stderr, perf.stderr))
    assert found == expected


@needs_root
@pytest.mark.parametrize(("cgroups", "events"), [("/", "cpu-clock,cs"), ("/,/", "cpu-clock,cs,page-faults")])
def test_cgroups_have_perfs_column(cgroups, events):
    """With cgroups, the column behind the event's name has the cgroup; it is empty for an event without one."""
    arguments = ["-x,", "-a", "-e", events, "-G", cgroups, "--", "sleep", "0.05"]
    perf = subprocess.run(["perf", "stat", *arguments], capture_output=True, text=True)
    if perf.returncode:
        pytest.skip(f"perf counts no cgroups here: {perf.stderr}")
    ours = run("stat", *arguments)
    assert [line.split(",")[2:4] for line in ours.stderr.splitlines()] == [
        line.split(",")[2:4] for line in perf.stderr.splitlines()
    ]

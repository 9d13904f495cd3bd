"""Each file under examples/ is on the page docs/examples.md, and has a test; the short ones print what the page shows."""

import os
import re

import pytest
from support.compilers import TESTS
from support.examples import EXAMPLES, run
from support.machine import MACHINE
from support.marks import breakpoints_error, needs_breakpoints, needs_events

from perf_event_open_sys import events

PAGE = TESTS.parent / "docs/examples.md"
EXPECTED = {
    "asyncio_reader": r"(\d+ page faults, \d+ pages\n)*true ended with status 0: [1-9]\d* page faults, [1-9]\d* pages\n",
    "benchmark": r"(bytearray\(64 << 20\) +[\w-]+:u +[\d,]+( ns)?\n)+(sum\(range\(10_000\)\) +[\w-]+:u +[\d,]+( ns)?\n)+",
    "bpf": r"[1-9]\d+ context switches, counted by \d+ program\n",
    "breakpoint": r"10 writes\n",
    "tracepoint": r"slept 10 times\n",
    "uprobe": r"getppid of /\S+: called 1000 times\n",
    "watchpoint": r"Stack .*\n  File \"\S+watchpoint.py\", line \d+ in refund\n  File \S+ line \d+ in <module>\n",
    "workers": r"(worker \d+: [1-9]\d* page faults\n){4}all, with the start of the workers: [1-9]\d+ page faults\n",
}
ARGUMENTS = {"asyncio_reader": ["true"]}
WITHOUT_PRIVILEGE = ("asyncio_reader", "benchmark", "breakpoint", "watchpoint", "workers")
LINES = {"flight_recorder": 60, "profile": 143, "trace": 76}  # what these took before there were functions for them


def requirements(name, request):
    """Skip where this machine or user lacks what an example needs."""
    if name in ("breakpoint", "watchpoint") and breakpoints_error():
        pytest.skip(needs_breakpoints.kwargs["reason"])
    if name not in WITHOUT_PRIVILEGE and os.geteuid() != 0:
        pytest.skip("needs root")
    if name in ("bpf", "tracepoint"):
        request.getfixturevalue("tracefs")
    if name == "uprobe" and "uprobe" not in events.pmus():
        pytest.skip("needs a kernel with CONFIG_UPROBE_EVENTS")
    if name == "bpf" and MACHINE not in ("x86_64", "aarch64", "riscv64"):
        pytest.skip("needs this machine's number of bpf(2)")


@needs_events
@pytest.mark.parametrize("name", EXPECTED)
def test_example_runs(name, request, tmp_path):
    """The program ends well and prints its count."""
    requirements(name, request)
    done = run(name, *ARGUMENTS.get(name, []), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(EXPECTED[name], done.stdout), done.stdout


@needs_events
def test_benchmark_knows_what_a_function_costs(tmp_path):
    """64 MiB are a page fault for each page, or for each huge page; a sum is none."""
    lines = [line.rsplit(None, 2) for line in run("benchmark", cwd=tmp_path).stdout.replace(" ns", "").splitlines()]
    faults = {text.strip(): int(value.replace(",", "")) for text, name, value in lines if name == "page-faults:u"}
    assert faults["bytearray(64 << 20)"] >= 32
    assert faults["sum(range(10_000))"] == 0


@needs_events
def test_workers_are_counted_one_by_one_and_all_together(tmp_path):
    """The parent's inherited event has the sum of the workers' own, and more."""
    *workers, everything = re.findall(r": (\d+) page faults", run("workers", cwd=tmp_path).stdout)
    assert int(everything) >= sum(map(int, workers))


@pytest.mark.skipif(not PAGE.exists(), reason="no docs/ beside tests/")
def test_every_example_is_on_the_page_and_has_a_test():
    """No file under examples/ is without its section on docs/examples.md, nor unknown to the tests."""
    names = sorted(path.name for path in EXAMPLES.iterdir() if path.is_file())
    projects = sorted(path.name for path in EXAMPLES.glob("c-adjacent/*") if (path / "pyproject.toml").exists())
    linked = re.findall(r"\]\(\.\./examples/([\w./-]+)\)", PAGE.read_text())
    assert sorted({name for name in linked if "/" not in name}) == names
    assert sorted({name.split("/")[1] for name in linked if "/" in name}) == projects
    sections = re.findall(r"^### \[(\S+)\]\(\.\./examples/(\S+)\)$", PAGE.read_text(), re.M)
    assert all(title == name for title, name in sections)
    tests = "".join(path.read_text() for path in TESTS.glob("tools/test_*.py"))
    unknown = [name for name in names if f'"{name.removesuffix(".py")}"' not in tests]
    assert unknown == []


@pytest.mark.skipif(not PAGE.exists(), reason="no docs/ beside tests/")
@pytest.mark.parametrize("name", EXPECTED)
def test_page_shows_what_the_example_prints(name):
    """The output on docs/examples.md is one that the program could have printed."""
    section = PAGE.read_text().split(f"\n### [{name}.py]", 1)[1].split("\n### ", 1)[0]
    [(arguments, shown)] = re.findall(rf"^```console\n\$ python {name}\.py(.*)\n((?:.*\n)+?)```$", section, re.M)
    assert arguments.split() == ARGUMENTS.get(name, [])
    assert re.fullmatch(EXPECTED[name], shown), shown


@pytest.mark.parametrize("name", LINES)
def test_what_users_wrote_by_hand_is_short(name):
    """A profiler, a tracer and a flight recorder take fewer lines than without the functions for them."""
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < LINES[name]


@pytest.mark.parametrize("name", ["asyncio_reader", "benchmark", "watchpoint", "workers"])
def test_small_examples_are_small(name):
    """What shows one thing is read at one look."""
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 80

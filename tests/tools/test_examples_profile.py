"""examples/profile.py and flamegraph.py: where a program spends its time, by the names of functions."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.compilers import TESTS, compiler
from support.examples import matched, run
from support.machine import MACHINE
from support.marks import needs_events, needs_root


@pytest.fixture(scope="module")
def workload(tmp_path_factory):
    """The path of the program whose functions are profiled."""
    pytest.importorskip("elftools", reason="needs pyelftools")
    if MACHINE not in ("x86_64", "aarch64"):
        pytest.skip(
            "needs a machine whose kernel follows gcc's frame pointers, and code that runs where it is copied to"
        )
    directory = tmp_path_factory.mktemp("workload")
    cc = compiler("gcc", directory)
    program = directory / "workload"
    flags = ["-O1", "-fno-omit-frame-pointer", "-fno-stack-protector"]
    subprocess.run([cc, *flags, "-o", program, TESTS / "workload.c"], check=True)
    return program


def profiled(directory):
    """Return the stacks with their counts, and the titles of the flame graph, that profile.py left in *directory*."""
    lines = (directory / "profile.folded").read_text().splitlines()
    stacks = {stack: int(count) for stack, count in (line.rsplit(" ", 1) for line in lines)}
    svg = ElementTree.parse(directory / "profile.svg").getroot()
    return stacks, {title.text for title in svg.iter("{http://www.w3.org/2000/svg}title")}


@needs_events
def test_profile_finds_the_functions_of_a_command_and_of_its_children(workload, tmp_path):
    """profile.py resolves by ELF symbols and perf-PID.map; a child has its parent's mappings until its exec.

    In the order of time, what a sample's address means was told before: no innermost function is unknown.
    """
    done = run("profile", "-F", 999, "--", workload, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    began, ended = done.stdout.splitlines()
    Path(f"/tmp/perf-{began.split()[1]}.map").unlink()
    found = matched(r"(\d+) samples of [\w:-]+, 0 records lost: profile.folded, profile.svg", ended)
    stacks, titles = profiled(tmp_path)
    assert sum(stacks.values()) == int(found[1])
    for chain in (
        r"workload;.*main;outer;inner;spin",
        r"workload;.*main;call;compiled at run time",
        r"workload;.*main;in_fork;spin",
        r"exe;.*main;in_child;spin",
    ):
        count = sum(count for stack, count in stacks.items() if re.fullmatch(chain, stack))
        assert count > 20, (chain, stacks)
    assert not any(re.match("workload;.*in_child|exe;.*outer", stack) for stack in stacks)
    assert not [stack for stack in stacks if stack.startswith("?;") or stack.endswith(";[unknown]")]
    for name in ("outer", "inner", "spin", "call", "compiled at run time", "in_fork", "in_child"):
        assert any(re.fullmatch(rf"{name}: \d+ samples, \d+\.\d\d%", title) for title in titles), titles
    [everything] = [title for title in titles if title.startswith("all: ")]
    assert everything == f"all: {found[1]} samples, 100.00%"


@needs_events
def test_profile_attaches_to_a_process_and_to_the_child_it_has(workload, tmp_path):
    """What runs already is told by /proc; after the duration, both go on."""
    with subprocess.Popen([workload, "forever"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == f"running {process.pid}\n"
            done = run("profile", "-F", 999, "-d", 1, "-p", process.pid, cwd=tmp_path)
            assert process.poll() is None
        finally:
            process.kill()
            Path(f"/tmp/perf-{process.pid}.map").unlink(missing_ok=True)
    assert (done.returncode, done.stderr) == (0, "")
    stacks, _ = profiled(tmp_path)
    for chain in (r"workload;.*main;outer;inner;spin", r"workload;.*main;in_fork;spin"):
        assert any(re.fullmatch(chain, stack) for stack in stacks), (chain, stacks)


@needs_root
@needs_events
def test_profile_names_the_functions_of_the_kernel(tmp_path):
    """By /proc/kallsyms; they end in _[k], and stand above what called the kernel."""
    pytest.importorskip("elftools", reason="needs pyelftools")
    script = "import os, time\nwhile time.process_time() < 0.3:\n    os.stat('/usr/lib')"
    done = run("profile", "-F", 999, "--", sys.executable, "-c", script, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    stacks, _ = profiled(tmp_path)
    assert any(re.search(r";[\w.]*(stat|path)[\w.]*_\[k\]", stack) for stack in stacks), stacks
    assert not any("[kernel]" in stack for stack in stacks)


def test_profile_wants_a_process_or_a_command(tmp_path):
    """profile.py with neither a process nor a command prints its usage."""
    pytest.importorskip("elftools", reason="needs pyelftools")
    done = run("profile", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("profile.py: error: give -p PID or -- COMMAND\n")


def test_flame_graph_is_as_wide_as_the_samples(tmp_path):
    """Each frame has its share of the width, above its caller, and a title; markup in names is escaped."""
    done = run("flamegraph", cwd=tmp_path, input="main;a;<b> 3\nmain;c 1\nmain;a 2\nother d 2\n")
    assert (done.returncode, done.stderr) == (0, "")
    svg = "{http://www.w3.org/2000/svg}"
    frames = {}
    for group in ElementTree.fromstring(done.stdout).iter(f"{svg}g"):
        rect = group.find(f"{svg}rect")
        place = tuple(float(rect.attrib[key]) for key in ("x", "y", "width"))
        frames[group.find(f"{svg}title").text] = place
    assert frames == {
        "all: 8 samples, 100.00%": (0, 51, 1200),
        "main: 6 samples, 75.00%": (0, 34, 900),
        "a: 5 samples, 62.50%": (0, 17, 750),
        "<b>: 3 samples, 37.50%": (0, 0, 450),
        "c: 1 samples, 12.50%": (750, 17, 150),
        "other d: 2 samples, 25.00%": (900, 34, 300),
    }

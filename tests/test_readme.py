"""The README and the docs: their Python runs as it stands, their commands are those that work."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.machine import MACHINE
from support.marks import needs_events

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.M | re.S) if README.exists() else []


def blocks_of_docs(language):
    """Return the blocks of a language in the pages of docs/."""
    pages = [page.read_text() for page in sorted(ROOT.glob("docs/**/*.md"))]
    return [text for page in pages for text in re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)]


def needs_tracefs(text, request):
    """Skip what shows a tracepoint where there is none for this user."""
    if "sched_switch" in text:
        request.getfixturevalue("tracefs")
        if os.geteuid() != 0:
            pytest.skip("needs root: a tracepoint of a whole CPU")


@needs_events
@pytest.mark.parametrize("block", blocks_of_docs("python"))
def test_block_of_the_docs_runs(block, tmp_path, request):
    """What a page shows can be pasted into a file and run."""
    needs_tracefs(block, request)
    script = tmp_path / "page.py"
    script.write_text(block)
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True, cwd="/")


@needs_events
@pytest.mark.parametrize("session", blocks_of_docs("pycon"))
def test_session_of_the_docs_prints_what_it_shows(session, tmp_path, request):
    """Interactive examples are doctests."""
    needs_tracefs(session, request)
    if "PERF_TYPE_BREAKPOINT" in session and MACHINE != "x86_64":
        pytest.skip("shows x86's breakpoints")
    page = tmp_path / "page.txt"
    page.write_text(session)
    assert doctest.testfile(str(page), module_relative=False).failed == 0


@needs_events
@pytest.mark.parametrize("block", [text for language, text in BLOCKS if language == "python"])
def test_python_block_runs(block, tmp_path):
    """What the README shows of the API can be pasted into a file and run, and prints a count."""
    script = tmp_path / "readme.py"
    script.write_text(block)
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd="/")
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[0]) > 100


def test_api_example_has_ten_lines():
    """The first example is short enough to be read at a glance."""
    first = next(text for language, text in BLOCKS if language == "python")
    assert len(first.strip().splitlines()) <= 10


@needs_events
def test_main_command_counts():
    """The command after the installation, run by this interpreter, counts a real program."""
    [main] = [text for language, text in BLOCKS if language == "sh" and "stat --" in text]
    arguments = main.strip().split("python -m ", 1)[1].split()
    result = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd="/")
    assert result.returncode == 0, result.stderr
    assert re.search(r"[1-9]\d*\s+page-faults", result.stderr)

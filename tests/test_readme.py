"""The README: its Python runs as it stands, its commands are those that work."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.marks import needs_events

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.M | re.S) if README.exists() else []


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


@needs_events
def test_what_was_recorded_is_read_with_numpy(tmp_path):
    """The command that records leaves a file in which the lines of NumPy find samples."""
    pytest.importorskip("numpy", reason="needs NumPy")
    [command] = [text for language, text in BLOCKS if language == "sh" and " record " in text]
    [script] = [text for language, text in BLOCKS if language == "py"]
    arguments = shlex.split(command.split("python -m ", 1)[1])
    recorded = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert recorded.returncode == 0, recorded.stderr
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert len(re.findall(r"^[1-9]\d* samples at 0x[0-9a-f]+$", shown.stdout, re.M)) == 5

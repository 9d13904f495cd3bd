"""What type checkers say about users' programs: nothing about right ones, something about each mistake."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent.parent / "typing"
MISTAKES = {
    number
    for number, line in enumerate((HERE / "mistakes.py").read_text().splitlines(), 1)
    if line.endswith("  # mistake")
}


def run(tool, *arguments):
    """Run a type checker; return its standard output."""
    if not importlib.util.find_spec(tool):
        pytest.skip(f"needs {tool}")
    command = [sys.executable, "-m", tool, *arguments]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout


def mypy(name, cache):
    """The lines of a program that mypy --strict reports, and its messages."""
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--no-pretty", "--hide-error-context"]
    found = re.findall(rf"(?m)^{name}:(\d+): error: (.*)", run("mypy", *options, "--python-version=3.10", name))
    return {int(line): message for line, message in found}


def pyright(name, _):
    """The lines of a program that pyright reports, and its messages."""
    text = run("pyright", "--outputjson", "--pythonversion=3.10", f"--pythonpath={sys.executable}", name)
    if not text.startswith("{"):
        pytest.skip(f"needs node, which pyright runs on ({text.strip()[:200]})")
    found = json.loads(text)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1: one["message"] for one in found if one["severity"] == "error"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where mypy keeps what it knows of the package."""
    return tmp_path_factory.mktemp("mypy")


checkers = pytest.mark.parametrize("checker", [mypy, pyright])


@checkers
def test_programs_of_users_check(checker, cache):
    """Both type checkers take them, and infer the types that they assert."""
    assert checker("programs.py", cache) == {}


@checkers
def test_each_mistake_is_reported(checker, cache):
    """Each by both type checkers, in its line; nothing else in the file is."""
    reported = checker("mistakes.py", cache)
    assert {line: reported.get(line) for line in MISTAKES if line not in reported} == {}
    assert {line: message for line, message in reported.items() if line not in MISTAKES} == {}


def test_there_are_mistakes_of_every_kind():
    """Every function of the file makes some; there are 40 at the least."""
    assert len(MISTAKES) >= 40

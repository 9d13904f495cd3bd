"""Run perf, the oracle."""

import shutil
import subprocess

import pytest


def perf(*arguments, cwd):
    """Run perf and return its output; skip if it is not installed or this user may not use it."""
    if not shutil.which("perf"):
        pytest.skip("perf is not installed")
    ran = subprocess.run(["perf", *arguments], capture_output=True, text=True, errors="replace", cwd=cwd)
    if ran.returncode:
        pytest.skip(f"perf {arguments[0]} fails here: {(ran.stderr.strip().splitlines() or [''])[-1]}")
    return ran.stdout

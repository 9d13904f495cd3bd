"""The wheels that a release has: what cibuildwheel would build for the architectures of the workflow."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "wheels.yml"
PYTHONS = ("cp310", "cp314t", "cp315t")  # cp310 is the abi3 wheel of 3.10 and later; free-threaded CPython has no abi3
LIBCS = ("manylinux", "musllinux")
ARCHITECTURES = ("x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64")


def test_a_release_has_a_wheel_for_each_python_libc_and_architecture():
    """The workflow's architectures and pyproject.toml's selection give the abi3 wheel and the free-threaded ones."""
    pytest.importorskip("cibuildwheel", reason="needs cibuildwheel")
    if not WORKFLOW.exists():
        pytest.skip("needs the repository: a source distribution has no workflows")
    in_workflow = re.findall(r"\{ arch: (\w+),", WORKFLOW.read_text())
    command = [sys.executable, "-m", "cibuildwheel", "--platform", "linux", "--archs", ",".join(in_workflow)]
    listed = subprocess.run([*command, "--print-build-identifiers", ROOT], capture_output=True, text=True, check=True)
    expected = {f"{python}-{libc}_{arch}" for python, libc, arch in itertools.product(PYTHONS, LIBCS, ARCHITECTURES)}
    assert set(listed.stdout.split()) == expected

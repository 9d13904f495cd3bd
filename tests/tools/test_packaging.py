"""What an index page shows of the project, and what a build says when something is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="no setup.py beside tests/")


def setup_py(*arguments, before="pass", **environment):
    """Run setup.py in a process of its own, after the Python statements of *before*."""
    program = f"import runpy, sys; {before}; sys.argv[0] = 'setup.py'; runpy.run_path('setup.py')"
    command = [sys.executable, "-c", program, "-q", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def build(tmp_path, **how):
    """Compile the extension into *tmp_path*."""
    return setup_py("build_ext", "--build-temp", tmp_path, "--build-lib", tmp_path, **how)


def test_description_has_no_links_to_files():
    """On an index page the README has no files beside it, so only absolute links are left."""
    described = setup_py("--long-description").stdout
    links = re.findall(r"\]\(([^)\s]+)\)", described)
    assert "## From Python" in described
    assert "`ioctls`" in described
    assert [link for link in links if "://" not in link] == []


def test_build_without_a_compiler_names_the_packages(tmp_path):
    """Who has no gcc reads which packages to install, and no traceback."""
    failed = build(tmp_path, CC="/nonexistent/cc")
    assert failed.returncode != 0
    assert "There is no C compiler: /nonexistent/cc is not found." in failed.stderr
    assert "apt install gcc python3-dev" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_build_without_python_h_names_the_packages(tmp_path):
    """Who has a compiler but no headers of Python reads the same."""
    missing = f"import sysconfig; sysconfig.get_path = lambda *_: {str(tmp_path)!r}"
    failed = build(tmp_path, before=missing, CC="false")
    assert f"Python's C headers are missing: there is no {tmp_path}/Python.h." in failed.stderr
    assert "apt install gcc python3-dev" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_build_that_fails_for_another_reason_keeps_the_compilers_words(tmp_path):
    """The packages are not named where both are there."""
    failed = build(tmp_path, CFLAGS="--no-such-option")
    assert failed.returncode != 0
    assert "no-such-option" in failed.stderr
    assert "apt install" not in failed.stderr

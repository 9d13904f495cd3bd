"""C compilers, and the C files of this package."""

import shutil
import subprocess
from pathlib import Path

import pytest

from perf_event_open_sys import get_include

TESTS = Path(__file__).parent.parent
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]


def compiler(name, tmp_path, *flags):
    """Return the path of a compiler that can do what *flags* ask; skip where there is none."""
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed")
    program = tmp_path / "empty.c"
    program.write_text("int main(void) { return 0; }\n")
    tried = subprocess.run([path, *flags, str(program), "-o", str(tmp_path / "empty")], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"{name} cannot {' '.join(flags)}: {tried.stderr.strip().splitlines()[-1]}")
    return path


def sources():
    """Return the C files; an installed wheel has the headers only."""
    found = sorted(Path(get_include()).glob("*.c"))
    if not found:
        pytest.skip("the C sources are not here: this is no source tree")
    return found

"""The C files under AddressSanitizer and UndefinedBehaviorSanitizer, and without a warning, by gcc and clang."""

import subprocess

import pytest
from support.compilers import SANITIZERS, TESTS, WARNINGS, compiler, sources

from perf_event_open_sys import get_include


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_the_c_files_compile_without_a_warning(name, tmp_path):
    """-Wall -Wextra -Wconversion -Wshadow, each file on its own, optimised, so that flow is analysed."""
    path = compiler(name, tmp_path)
    for source in sources():
        compiled = subprocess.run(
            [path, "-std=c11", "-O2", *WARNINGS, f"-I{get_include()}", "-c", str(source), "-o", str(tmp_path / "o")],
            capture_output=True,
            text=True,
        )
        assert (compiled.returncode, compiled.stderr) == (0, ""), source


@pytest.mark.parametrize("source", ["sanitize.c", "sanitize_many.c"])
@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_the_decoders_touch_nothing_but_their_buffers(name, source, tmp_path):
    """Valid, truncated and random bytes in blocks of exactly their size: no access beyond, nothing undefined."""
    path = compiler(name, tmp_path, *SANITIZERS)
    program = tmp_path / "sanitize"
    tested = [source for source in sources() if source.stem not in ("ioctls", "capi")]
    command = [path, "-std=c11", *WARNINGS, *SANITIZERS, f"-I{get_include()}", "-o", program, TESTS / source]
    built = subprocess.run([*command, *tested], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr

"""A capture loop in Cython on the function table, beside the same loop in C."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any

from measure import Row, paired, timed

from perf_event_open_sys import ffi, get_include

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "c-adjacent" / "cython" / "faults_cython.pyx"
PAGES, REPEAT = 512, 8


def compiled(name: str, *sources: Path, include: str) -> str:
    """Compile a shared library, and return its path."""
    library = os.path.join(tempfile.mkdtemp(), f"{name}.so")
    compiler = [*shlex.split(os.environ.get("CC", "cc")), "-O2", "-shared", "-fPIC", "-I", get_include(), "-I", include]
    subprocess.run([*compiler, "-o", library, *map(str, sources)], check=True)
    return library


def in_cython() -> Any:
    """Compile the example, as its own setup.py does, and import it."""
    source = Path(tempfile.mkdtemp(), "faults_cython.c")
    subprocess.run([sys.executable, "-m", "cython", "-o", str(source), str(EXAMPLE)], check=True)
    loader = ExtensionFileLoader(
        "faults_cython", compiled("faults_cython", source, include=sysconfig.get_path("include"))
    )
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("faults_cython", loader))  # type: ignore[arg-type]
    loader.exec_module(module)
    return module


def captures(rounds: int) -> Iterator[Row]:
    """Open, map, poll, drain, decode and sort page faults: in C, and in Cython where that is installed."""
    if not importlib.util.find_spec("Cython"):
        return
    sources = [Path(__file__).with_name("capture.c"), *sorted((ROOT / "cdefs").glob("*.c"))]
    c = ctypes.CDLL(compiled("capture", *sources, include="."))
    n = PAGES + 1024
    memory = [
        ctypes.create_string_buffer(n * size)
        for size in (24, ffi.sizeof("struct perf_sample"), 2 * ffi.sizeof("struct records_key"))
    ]
    samples = (PAGES, REPEAT, memory[0], n * 24, memory[1], n, memory[2])
    arguments = [ctypes.c_size_t(value) if isinstance(value, int) else value for value in samples]
    faults = in_cython().faults
    assert c.capture_many(*arguments) >= PAGES
    assert len(faults(PAGES, REPEAT)) >= PAGES
    per = PAGES * REPEAT
    in_c, subject = timed(lambda: c.capture_many(*arguments), per), timed(lambda: faults(PAGES, REPEAT), per)
    yield Row("capture loop in Cython, each page fault", "C", *paired(in_c, subject, rounds), 1.1)

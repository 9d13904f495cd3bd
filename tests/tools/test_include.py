"""The C headers of get_include(): alone, beside the kernel's, and under another extension."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perf_event_open_sys import _cdef, get_include

CC = shlex.split(os.environ.get("CC", "cc"))
CXX = shlex.split(os.environ.get("CXX", "c++"))
CDEFS = Path(get_include())

needs_cc = pytest.mark.skipif(not shutil.which(CC[0]), reason=f"needs a C compiler ({CC[0]})")
needs_cxx = pytest.mark.skipif(not shutil.which(CXX[0]), reason=f"needs a C++ compiler ({CXX[0]})")


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stderr}"
    return result.stdout


@pytest.mark.parametrize("name", sorted(str(path.relative_to(CDEFS)) for path in CDEFS.glob("**/*.h")))
@pytest.mark.parametrize(
    ("compiler", "language", "standard"),
    [pytest.param(CC, "c", "c11", marks=needs_cc), pytest.param(CXX, "c++", "c++17", marks=needs_cxx)],
    ids=["c11", "c++17"],
)
def test_each_header_compiles_alone(name, compiler, language, standard):
    """A program that includes one header of get_include(), and nothing before it, compiles without a warning."""
    flags = [f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{get_include()}"]
    run([*compiler, *flags, "-x", language, "-"], input=f'#include "{name}"\n')


@needs_cc
def test_the_header_stands_for_the_kernels():
    """After ours, ``<linux/perf_event.h>`` adds nothing; before it, the compiler says which goes first."""
    probe = subprocess.run(
        [*CC, "-E", "-x", "c", "-"], input="#include <linux/perf_event.h>\n", capture_output=True, text=True
    )
    if probe.returncode:
        pytest.skip("needs the kernel's user-space headers (linux/perf_event.h: linux-libc-dev, kernel-headers)")
    both = ['#include "kernel/perf_event.h"', "#include <linux/perf_event.h>", "#include <linux/hw_breakpoint.h>"]
    command = [*CC, "-fsyntax-only", f"-I{get_include()}", "-x", "c", "-"]
    run(command, input="\n".join(both) + "\n")
    refused = subprocess.run(command, input="\n".join(reversed(both)) + "\n", capture_output=True, text=True)
    assert refused.returncode != 0
    assert "before <linux/perf_event.h>" in refused.stderr


SECOND_BUILD = """
from cffi import FFI

from perf_event_open_sys import get_ffibuilder, get_include

ffibuilder = FFI()
ffibuilder.include(get_ffibuilder())
ffibuilder.cdef("uint64_t second_config(struct perf_event_attr *attr); uint64_t second_lvl(perf_mem_data_src *src);")
ffibuilder.set_source(
    "second",
    '''
    #include "perf_event_open_sys.h"
    static uint64_t second_config(struct perf_event_attr *attr)
    {
        return attr->aux_pause ? attr->config : PERF_COUNT_SW_DUMMY;
    }
    static uint64_t second_lvl(perf_mem_data_src *src) { return src->mem_lvl; }
    ''',
    include_dirs=[get_include()],
)
ffibuilder.compile()
"""
SECOND_USE = """
import second

from perf_event_open_sys import ffi, perf_event_attr, perf_mem_data_src

print(second.lib.second_config(perf_event_attr(config=123, aux_pause=1)))
print(second.lib.second_lvl(perf_mem_data_src(mem_lvl=5)))
print(second.ffi.typeof("struct perf_event_attr *") is ffi.typeof("struct perf_event_attr *"))
"""


@needs_cc
def test_another_extension_takes_our_pointers(tmp_path):
    """An extension built with get_ffibuilder() and get_include() shares our types, and its C code our headers."""
    run([sys.executable, "-c", SECOND_BUILD], cwd=tmp_path)
    used = run([sys.executable, "-c", SECOND_USE], cwd=tmp_path)
    assert used.split() == ["123", "5", "True"]


def test_the_header_of_all_headers_leaves_none_out():
    """perf_event_open_sys.h includes what the build gives to cffi, and the registers of every architecture."""
    included = re.findall(r'#include "(.+)"', (CDEFS / "perf_event_open_sys.h").read_text())
    assert {str(path.relative_to(CDEFS)) for path in _cdef.headers(CDEFS)} <= set(included)
    assert {f"kernel/perf_regs/{arch}.h" for arch in _cdef.REGISTERS.values()} < set(included)
    assert all((CDEFS / name).is_file() for name in included)

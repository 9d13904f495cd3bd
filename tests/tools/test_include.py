"""The C headers of get_include(): alone, beside the kernel's, and under another extension."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perf_event_open_sys import _cdef, get_include, lib

CC = shlex.split(os.environ.get("CC", "cc"))
CXX = shlex.split(os.environ.get("CXX", "c++"))
CDEFS = Path(get_include())
INCLUDE = '#include "perf_event_open_sys_capi.h"\n'
# Not those that our own sources share, which a source tree has, and an installed package has not.
HEADERS = sorted(
    str(path.relative_to(CDEFS)) for path in CDEFS.glob("**/*.h") if "Not installed" not in path.read_text()
)
FUNCTIONS = [name for name in dir(lib) if callable(getattr(lib, name)) and name != "capi_table"]

needs_cc = pytest.mark.skipif(not shutil.which(CC[0]), reason=f"needs a C compiler ({CC[0]})")
needs_clang = pytest.mark.skipif(not shutil.which("clang++"), reason="needs clang and clang++")
needs_cxx = pytest.mark.skipif(not shutil.which(CXX[0]), reason=f"needs a C++ compiler ({CXX[0]})")


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stderr}"
    return result.stdout


LANGUAGES = pytest.mark.parametrize(
    "command",
    [
        pytest.param([*CC, "-std=c11", "-x", "c"], marks=needs_cc, id="c11"),
        pytest.param([*CXX, "-std=c++17", "-x", "c++"], marks=needs_cxx, id="c++17"),
        pytest.param(["clang", "-std=c11", "-x", "c"], marks=needs_clang, id="clang-c11"),
        pytest.param(["clang++", "-std=c++17", "-x", "c++"], marks=needs_clang, id="clang-c++17"),
    ],
)
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Werror"]


def errors(command, text):
    """Have a compiler check a program; return its errors, one a line."""
    command = [*command, *WARNINGS, "-fsyntax-only", f"-I{get_include()}", "-"]
    environment = os.environ | {"LC_ALL": "C"}  # English, and quotes of ASCII
    result = subprocess.run(command, input=text, capture_output=True, text=True, env=environment)
    assert (result.returncode == 0) == ("error: " not in result.stderr)
    return [line for line in result.stderr.splitlines() if "error: " in line]


@LANGUAGES
@pytest.mark.parametrize("name", HEADERS)
def test_each_header_compiles_alone(name, command):
    """A program that includes one header of get_include(), and nothing before it, compiles without a warning."""
    assert errors(command, f'#include "{name}"\n') == []


@LANGUAGES
def test_no_function_can_be_called_that_cannot_be_linked(command):
    """The compiler refuses each function by its name; through the table it takes all."""
    assert len(FUNCTIONS) > 40
    uses = "".join(f"(void){name};\n" for name in FUNCTIONS)
    limit = "-ferror-limit=0" if "clang" in command[0] else "-fmax-errors=0"
    refused = errors([*command, limit], f"{INCLUDE}void f(void);\nvoid f(void) {{\n{uses}}}\n")
    assert [name for name in FUNCTIONS if not any(f"'{name}'" in e and "declared" in e for e in refused)] == []
    calls = "".join(f"(void)api->{name};" for name in FUNCTIONS)
    function = "void f(const struct perf_event_open_sys_api *api)"
    assert errors(command, f"{INCLUDE}{function};\n{function} {{ {calls} }}\n") == []


@LANGUAGES
@pytest.mark.parametrize("kernels", [["perf_event"], ["hw_breakpoint"], ["perf_event", "hw_breakpoint"]])
@pytest.mark.parametrize("is_first", [True, False])
def test_the_kernels_headers_may_stand_beside_it(command, kernels, is_first):
    """In either order: what comes first declares the kernel's structs."""
    theirs = "".join(f"#include <linux/{name}.h>\n" for name in kernels) + "#include <asm/perf_regs.h>\n"
    if errors([*command, "-Wno-pedantic"], theirs):
        pytest.skip("needs the kernel's user-space headers (linux/perf_event.h: linux-libc-dev, kernel-headers)")
    use = "int f(const struct perf_event_attr *attr, const perf_mem_data_src *src, struct perf_record_mmap2 *record);\n"
    assert errors([*command, "-Wno-pedantic"], (INCLUDE + theirs if is_first else theirs + INCLUDE) + use) == []


@LANGUAGES
def test_a_struct_with_another_layout_is_refused(command):
    """Under ``#pragma pack`` every field behind a smaller one is moved: the compiler says so, and names the reason."""
    refused = errors(command, f"#pragma pack(1)\n{INCLUDE}")
    assert refused
    assert all("is #pragma pack in effect?" in error for error in refused)


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

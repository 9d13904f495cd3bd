"""The function table, the capsule that holds its address, and the addresses of single functions."""

import ctypes
import errno
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import perf_event_open_sys
from perf_event_open_sys import ffi, get_include, lib, lib_address

LIST = Path(__file__).parent.parent / "scripts" / "capi.txt"
CC = shlex.split(os.environ.get("CC", "cc"))
FUNCTIONS = {name for name in dir(lib) if callable(getattr(lib, name))} - {"capi_table"}

needs_list = pytest.mark.skipif(not LIST.exists(), reason="needs the source tree, which has scripts/capi.txt")
needs_cc = pytest.mark.skipif(not shutil.which(CC[0]), reason=f"needs a C compiler ({CC[0]})")


def listed():
    """Return the lines of the list, as (release, what)."""
    lines = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def members():
    """Return the functions of the list in their order, as (name, types)."""
    return [(re.findall(r"(\w+)\(", what)[0], what) for _, what in listed() if "(" in what]


def capsule_address():
    """Return the address that the capsule holds, as C takes it out."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return get(perf_event_open_sys._C_API, b"perf_event_open_sys._C_API")


@needs_list
def test_the_list_has_every_function_once():
    """A function of cdefs/ that is not listed is in no table."""
    names = [name for name, _ in members()]
    assert len(names) == len(set(names))
    assert set(names) == FUNCTIONS


@needs_list
@needs_cc
def test_each_member_of_the_table_has_its_place_and_its_types(tmp_path):
    """And each struct that the functions take has its size and its offsets: extensions were compiled with them."""
    checks = [f"offsetof(struct perf_event_open_sys_api, {name}) == {at}" for name, at in (("version", 0), ("size", 4))]
    assignments = []
    for place, (name, what) in enumerate(members()):
        checks.append(f"offsetof(struct perf_event_open_sys_api, {name}) == 8 + {place} * sizeof(void *)")
        assignments.append(what.replace(f"{name}(", f"(*of_{name})(") + f" = api->{name}; (void)of_{name};")
    checks.append(f"sizeof(struct perf_event_open_sys_api) == 8 + {len(assignments)} * sizeof(void *)")
    for _, what in listed():
        if "(" not in what and ffi.sizeof("void *") == 8:
            kind, tag, size, *fields = what.split(" ")
            checks.append(f"sizeof({kind} {tag}) == {size}")
            pairs = zip(fields[::2], fields[1::2], strict=True)
            checks += [f"offsetof({kind} {tag}, {field}) == {offset}" for field, offset in pairs]
    assert len(checks) > (100 if ffi.sizeof("void *") == 8 else 40)
    source = tmp_path / "places.c"
    lines = ['#include "perf_event_open_sys_capi.h"', *(f'_Static_assert({check}, "{check}");' for check in checks)]
    lines += ["void use(const struct perf_event_open_sys_api *api)", "{", *assignments, "}", ""]
    source.write_text("\n".join(lines))
    command = [*CC, "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{get_include()}", source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_list
def test_the_table_begins_with_its_version_and_its_size():
    """As many versions as releases that brought functions; behind them an address for each function, and no other."""
    table = ffi.cast("uint32_t *", capsule_address())
    assert table[0] == len({release for release, what in listed() if "(" in what})
    assert table[1] == 8 + len(FUNCTIONS) * ffi.sizeof("void *")
    addresses = ffi.cast("uintptr_t *", capsule_address() + 8)
    assert len({addresses[i] for i in range(len(FUNCTIONS))} - {0}) == len(FUNCTIONS)


@needs_list
def test_a_function_of_the_table_is_the_one_of_lib():
    """One with a result that tells it from the others, and one whose place is in the middle."""
    places = [name for name, _ in members()]
    addresses = ffi.cast("uintptr_t *", capsule_address() + 8)
    size = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_uint64, ctypes.c_size_t)(addresses[places.index("counters_size")])
    assert [size(12, n) for n in (1, 5)] == [lib.counters_size(12, n) for n in (1, 5)]


def test_the_capsule_is_made_once_and_has_the_name_of_its_place():
    """PyCapsule_Import finds it by this name."""
    assert perf_event_open_sys._C_API is perf_event_open_sys._C_API
    assert capsule_address() == int(ffi.cast("uintptr_t", lib.capi_table()))
    load = ctypes.pythonapi.PyCapsule_Import
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    assert load(b"perf_event_open_sys._C_API", 0) == capsule_address()


@needs_list
def test_the_line_for_meson_is_the_examples():
    """What the page shows is what the project in C++ is built with."""
    root = LIST.parent.parent
    [line] = re.findall(r"^```meson\n(.*)\n```$", (root / "docs/c-api.md").read_text(), re.M)
    assert line in (root / "examples/c-adjacent/cpp/meson.build").read_text().splitlines()


def test_an_import_makes_no_capsule():
    """``import perf_event_open_sys`` loads neither ctypes nor the module of the C API."""
    script = "import perf_event_open_sys, sys; print({'ctypes', 'perf_event_open_sys._capi'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_each_function_has_an_address_of_its_own():
    """An int, the same in every call."""
    addresses = {name: lib_address(name) for name in FUNCTIONS}
    assert len(set(addresses.values()) - {0}) == len(FUNCTIONS)
    assert addresses == {name: lib_address(name) for name in FUNCTIONS}


def test_a_function_is_called_by_its_address():
    """With ctypes it is called with C's types; errno is kept."""
    read = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_size_t, use_errno=True
    )(lib_address("counters_read"))
    assert read(-1, 0, (ctypes.c_uint64 * 5)(), 1) == -1
    assert ctypes.get_errno() == errno.EBADF


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ring_reed", "'ring_reed' is no function of perf_event_open_sys.lib; did you mean ring_read"),
        ("PERF_TYPE_RAW", "'PERF_TYPE_RAW' is a constant, and no function of perf_event_open_sys.lib"),
        ("", "'' is no function of perf_event_open_sys.lib"),
    ],
)
def test_a_name_that_is_no_functions_is_refused(name, message):
    """With the nearest names, as everywhere."""
    with pytest.raises(AttributeError) as caught:
        lib_address(name)
    assert str(caught.value).startswith(message)

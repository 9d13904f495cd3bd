"""What of a newer kernel's header nobody has looked at is found, and of ours there is nothing."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from support.tiny_headers import ROOT, put

HEADER = "cdefs/kernel/perf_event.h"


@pytest.fixture
def unseen(script):
    """Return what nobody has looked at, as lines; *edit* is (text, what replaces it) in our kernel/perf_event.h."""

    def found(*edit, more=None):
        kernel = script.cdefs.kernel_files(ROOT) | (more or {})
        if edit:
            assert edit[0] in kernel[HEADER]
            kernel[HEADER] = kernel[HEADER].replace(*edit, 1)
        return list(script.unseen.unseen(script.cdefs.read(ROOT, kernel), ROOT))

    return found


def test_somebody_has_looked_at_all_of_our_headers(unseen):
    """Each constant and field is in the code, or in scripts/looked_at.txt. docs/new-kernel.md says what to do."""
    assert unseen() == []


# What stands in our header, what a newer one would have before it, and the beginning of the line that says so.
NEWER = {
    "a record": ("PERF_RECORD_MAX =", "PERF_RECORD_NEW = 23, ", "PERF_RECORD_NEW: no struct perf_record_new"),
    "a field of samples": (
        "PERF_SAMPLE_MAX =",
        "PERF_SAMPLE_NEW = 33554432, ",
        "PERF_SAMPLE_NEW: not in cdefs/decode.h",
    ),
    "a field of counts": ("PERF_FORMAT_MAX =", "PERF_FORMAT_NEW = 32, ", "PERF_FORMAT_NEW: not in cdefs/counters.c"),
    "a software event": (
        "PERF_COUNT_SW_MAX =",
        "PERF_COUNT_SW_NEW = 12, ",
        "PERF_COUNT_SW_NEW: not in perf_event_",
    ),
    "a hardware event": (
        "PERF_COUNT_HW_MAX =",
        "PERF_COUNT_HW_NEW = 10, ",
        "PERF_COUNT_HW_NEW: not in perf_event_",
    ),
    "a kind of branch": ("PERF_SAMPLE_BRANCH_MAX =", "PERF_SAMPLE_BRANCH_NEW = 1, ", "PERF_SAMPLE_BRANCH_NEW: neither"),
    "an ioctl": (
        "#define PERF_EVENT_IOC_ID ...",
        "#define PERF_EVENT_IOC_NEW ...\n",
        "PERF_EVENT_IOC_NEW: no ioctl_new()",
    ),
    "a flag of the call": ("#define PERF_FLAG_FD_NO_GROUP", "#define PERF_FLAG_NEW 16UL\n", "PERF_FLAG_NEW: neither"),
    "a bit of misc": (
        "#define PERF_RECORD_MISC_KERNEL",
        "#define PERF_RECORD_MISC_NEW 8\n",
        "PERF_RECORD_MISC_NEW: ",
    ),
    "a field of the attr": (
        "uint64_t config4;",
        "uint64_t config5;\n",
        "perf_event_attr.config5: not in scripts/looked_at",
    ),
    "a struct": ("struct perf_event_header {", "struct perf_new { int x; };\n", "struct perf_new: no constructor"),
}


@pytest.mark.parametrize(("place", "newer", "line"), NEWER.values(), ids=NEWER)
def test_what_a_newer_header_adds_is_found(unseen, place, newer, line):
    """By its name, with what is missing."""
    assert any(found.startswith(line) for found in unseen(place, newer + place))


def test_registers_of_a_new_architecture_are_found(unseen):
    """The perf_regs header of a new architecture is named, since _cdef.py must choose it when it builds there."""
    registers = {"cdefs/kernel/perf_regs/z80.h": "enum perf_event_z80_regs {\n    PERF_REG_Z80_A = 0,\n};\n"}
    [line] = unseen(more=registers)
    assert line.startswith("z80: registers of an architecture")


def test_the_list_has_no_name_that_the_headers_lack(script):
    """Every constant, pattern and field of scripts/looked_at.txt is one of our headers'."""
    module = script.cdefs.read(ROOT, script.cdefs.kernel_files(ROOT))
    names, fields = script.unseen._looked_at(ROOT / script.unseen.LOOKED_AT)
    assert [name for name in names if not any(fnmatchcase(known, name) for known in module.constants)] == []
    known = {struct.split()[-1]: {field for field, _ in module.structs[struct]} for struct in module.kernel_structs}
    assert {tag: set(listed) for tag, listed in fields.items()} == known
    assert len(names) == len(set(names))


def test_regenerating_says_what_is_new(script, headers, root, capsys):
    """After the files are written, each name that somebody must look at is printed."""
    put(root, {"scripts/looked_at.txt": "PERF_OLD  # a word\nperf_new: one\n"})
    text = "#define PERF_OLD 1\n#define PERF_NEW 2\nstruct perf_new { __u32 one, two; };\n"
    put(root, {"perf_event_open_sys/bindings.py": "perf_new = 1\n"})
    assert script.main([str(headers(text, x86="enum { PERF_REG_X86_A };"))]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "see docs/new-kernel.md: PERF_NEW: neither in the code nor in scripts/looked_at.txt",
        "see docs/new-kernel.md: perf_new.two: not in scripts/looked_at.txt",
    ]
    assert Path(root, HEADER).exists()

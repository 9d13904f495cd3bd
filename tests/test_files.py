"""Numbers and lists in the small files of /proc and /sys, and what is no file's name."""

import errno
import resource

import pytest
from support.processes import in_child

from perf_event_open_sys import _files


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("0", 0), ("00", 0), ("007", 7), ("0x0", 0), ("0x00", 0), ("0x1f", 31), ("0X1F", 31)),
        *((f"{'0' * 5000}{digits}", int(digits, 0)) for digits in ("1", "18446744073709551615")),
        *(("18446744073709551615", 2**64 - 1), ("0xffffffffffffffff", 2**64 - 1)),
        *((text, None) for text in ("18446744073709551616", "0x10000000000000000", "9" * 5000, f"0x{'f' * 5000}")),
        *(
            (text, None)
            for text in ("", "x", "X1", "0x", "0xg", "1a", "0x0x1", "-1", "+1", "1_0", " 1", "1 ", "1.0", "\u0661")
        ),
    ],
)
def test_a_number_is_decimal_or_hexadecimal_and_has_64_bits(text, number):
    """Leading zeros are no octal; signs, spaces, underscores and digits that are not ASCII are no number."""
    assert _files.parse_number(text) == number


@pytest.mark.parametrize("text", ["0-65535,0", "1-65535,2-3", "0-1,0-65534"])
def test_the_cpus_of_all_ranges_count(text):
    """Ranges that overlap name more CPUs than there can be."""
    assert _files.parse_cpu_list(text.partition(",")[0])[-1] in (1, 65535)
    with pytest.raises(ValueError, match="no list of CPUs"):
        _files.parse_cpu_list(text)
    assert _files.parse_cpu_list("65535") == (65535,)


@pytest.mark.parametrize(
    ("name", "is_one"), [("a", True), ("...", True), *((name, False) for name in ("", ".", "..", "a/b", "/", "a\0b"))]
)
def test_a_path_is_no_files_name(name, is_one):
    """Nor is what the kernel could not be given."""
    assert _files.is_file_name(name) is is_one


def test_a_file_is_not_absent_because_no_more_can_be_opened():
    """EMFILE is raised; a file that does not exist, or has a name that none can have, is empty."""

    def without_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        found = []
        for read in (_files.read_file, _files.listed):
            with pytest.raises(OSError, match="Too many open files") as caught:
                read("/proc/self")
            found.append(caught.value.errno)
        return found

    assert in_child(without_files) == [errno.EMFILE] * 2
    for name in ("/nowhere", "/proc/self/mem", "a\0b", "\ud800"):
        assert (_files.read_file(name), _files.contents(name), _files.listed(name)) == (b"", "", [])

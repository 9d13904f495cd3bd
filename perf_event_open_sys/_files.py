"""Read the small files of /proc, /sys and tracefs, and the numbers and lists in them.

The functions that read give an empty result for a file that does not exist or cannot be read; they raise ``OSError``
where no more files can be opened at all.
"""

from __future__ import annotations

import os
from errno import EMFILE, ENFILE, ENOMEM
from stat import S_ISREG

MAX_CPUS = 1 << 16  # well above NR_CPUS of any kernel, and few enough to be held in a set
DEVICES = "bus/event_source/devices"  # the directory in sysfs that has a directory for each PMU
_MOST_BYTES = 16 << 20  # the largest expected file, /proc/self/mounts of a host with many containers, has a few MiB


def read_file(path: str) -> bytes:
    """Return the content of a regular file; b"" if it cannot be read, is not a regular file or has more than 16 MiB."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # O_NONBLOCK: opening a FIFO must not wait
    except (OSError, ValueError) as error:  # ValueError: a NUL byte or a lone surrogate in the name
        _raise_if_exhausted(error)
        return b""
    chunks, room = [], _MOST_BYTES
    try:
        while S_ISREG(os.fstat(fd).st_mode) and room > 0 and (chunk := os.read(fd, 1 << 16)):
            chunks.append(chunk)
            room -= len(chunk)
    except OSError:
        return b""
    finally:
        os.close(fd)
    return b"".join(chunks) if room > 0 else b""


def _raise_if_exhausted(error: Exception) -> None:
    """Raise an error that says nothing of the file: this process, or the machine, can open no more files."""
    if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE, ENOMEM):
        raise error


def contents(path: str) -> str:
    """Return the text of a file without white space at its ends; "" where :func:`read_file` returns b""."""
    return read_file(path).decode(errors="replace").strip()


def process_status(pid: str) -> dict[str, str]:
    """Return the fields of /proc/PID/status by name; none where there is no such process or thread."""
    lines = (line.partition(":") for line in contents(f"/proc/{pid}/status").splitlines())
    return {name: value.strip() for name, _, value in lines}


def listed(path: str) -> list[str]:
    """Return the names in a directory, sorted; an empty list if it does not exist or this user may not read it."""
    try:
        return sorted(os.listdir(path))
    except (OSError, ValueError) as error:
        _raise_if_exhausted(error)
        return []


def is_file_name(name: str) -> bool:
    """Tell whether *name* can be the name of a file in a directory: a path such as ``../x`` cannot."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def parse_number(text: str) -> int | None:
    """Return the number that *text* is: decimal, or hexadecimal after ``0x``; None if it is none or beyond 64 bits."""
    digits, base = (text[2:], 16) if text[:2] in ("0x", "0X") else (text, 10)
    digits = digits.lstrip("0") or digits[:1]
    if len(digits) > 20 or not (digits.isascii() and digits.isalnum()):  # int() also takes signs, _ and spaces
        return None
    try:
        value = int(digits, base)
    except ValueError:
        return None
    return value if value < 1 << 64 else None


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Return the numbers of the CPUs in a list as the kernel writes it (``0-3,8``), sorted, each once.

    A text of white space alone, or of nothing, is an empty list.

    Raises:
        ValueError: *text* is no such list, or has a number above that of any CPU that Linux can have; the message
            quotes the text.
    """
    cpus: set[int] = set()
    named = 0
    for part in text.split(",") if text.strip() else ():
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        # At most 7 digits go to int(), which refuses thousands of them with a message of its own.
        if not all(end.isascii() and end.isdecimal() and len(end) < 8 for end in ends):
            raise ValueError(f"no list of CPUs: {text[:80]!r}")
        low, high = map(int, ends)
        named += high + 1 - low
        # The CPUs of all ranges are counted: "0-65535,0-65535,..." would take very long though it names few CPUs.
        if not low <= high < MAX_CPUS or named > MAX_CPUS:
            raise ValueError(f"no list of CPUs, which are in order and below {MAX_CPUS}: {text[:80]!r}")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))

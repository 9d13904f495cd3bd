"""The small files of /proc, /sys and tracefs, and the notations in them; what cannot be read is empty."""

from __future__ import annotations

import os
from stat import S_ISREG

MAX_CPUS = 1 << 16  # well above NR_CPUS of any kernel, and small enough to list
DEVICES = "bus/event_source/devices"  # below sysfs: a directory for each PMU
_MOST_BYTES = 16 << 20  # /proc/self/mounts of a host with many containers has some MiB


def read_file(path: str) -> bytes:
    """Return the content of a regular file; nothing where it cannot be read, is no regular file or has over 16 MiB."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # O_NONBLOCK: to open a FIFO does not wait
    except (OSError, ValueError):  # ValueError: a NUL byte or a lone surrogate in the name
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


def contents(path: str) -> str:
    """Return the text of a file, stripped; nothing where :func:`read_file` gives nothing."""
    return read_file(path).decode(errors="replace").strip()


def listed(path: str) -> list[str]:
    """Return the names in a directory, sorted; none where there is no such directory, or it is closed to this user."""
    try:
        return sorted(os.listdir(path))
    except (OSError, ValueError):
        return []


def is_file_name(name: str) -> bool:
    """Tell whether *name*, below a directory, stays in that directory."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def parse_number(text: str) -> int | None:
    """Return the number that *text* is, decimal or hexadecimal after ``0x``; None for nonsense and beyond 64 bits."""
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
    """Return the CPUs of a list as the kernel writes it (``0-3,8``), sorted and each once; of white space, none.

    Raises:
        ValueError: *text* is no such list, which is quoted; or names a CPU above any that Linux can have.
    """
    cpus: set[int] = set()
    named = 0
    for part in text.split(",") if text.strip() else ():
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        # The digits are counted first: int() refuses thousands of them with a message of its own.
        if not all(end.isascii() and end.isdecimal() and len(end) < 8 for end in ends):
            raise ValueError(f"no list of CPUs: {text[:80]!r}")
        low, high = map(int, ends)
        named += high + 1 - low
        # Of ranges that repeat each other, few characters could name billions of CPUs.
        if not low <= high < MAX_CPUS or named > MAX_CPUS:
            raise ValueError(f"no list of CPUs, which are in order and below {MAX_CPUS}: {text[:80]!r}")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))

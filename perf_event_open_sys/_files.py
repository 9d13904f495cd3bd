"""The small files of /proc and /sys, each read whole; what cannot be read is empty."""

from __future__ import annotations

import os

MAX_CPUS = 1 << 16  # well above NR_CPUS of any kernel, and small enough to list
DEVICES = "bus/event_source/devices"  # below sysfs: a directory for each PMU


def contents(path: str) -> str:
    """Return the text of a file, stripped; nothing where there is none to be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return ""


def listed(path: str) -> list[str]:
    """Return the names in a directory, sorted; none where there is no such directory, or it is closed to this user."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Return the CPUs of a list as the kernel writes it (``0-3,8``), sorted and each once; of white space, none.

    Raises:
        ValueError: *text* is no such list, which is quoted; or names a CPU above any that Linux can have.
    """
    cpus: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        # The digits are counted first: int() refuses thousands of them with a message of its own.
        if not all(end.isascii() and end.isdecimal() and len(end) < 8 for end in ends):
            raise ValueError(f"no list of CPUs: {text[:80]!r}")
        low, high = map(int, ends)
        if not low <= high < MAX_CPUS:
            raise ValueError(f"no list of CPUs, which are in order and below {MAX_CPUS}: {text[:80]!r}")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))

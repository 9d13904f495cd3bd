"""The small files of /proc and /sys, each read whole; what cannot be read is empty."""

from __future__ import annotations

import os

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

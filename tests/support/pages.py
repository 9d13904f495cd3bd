"""The blocks of code in the pages of docs/, and what each needs of the machine."""

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from perf_event_open_sys import events

from .machine import MACHINE
from .marks import breakpoints_error

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"^(?:<!-- needs: ([^\n]*) -->\n)?```(\w+)\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A block: its name by page and number, what the comment above it says that it needs, and its text."""

    name: str
    needs: str
    text: str


def blocks(language):
    """Return the blocks of a language in the pages of docs/."""
    found = []
    for page in sorted(ROOT.glob("docs/**/*.md")):
        for number, (needs, of, text) in enumerate(BLOCK.findall(page.read_text()), 1):
            if of == language:
                found.append(Block(f"{page.stem.replace('-', '_')}_{number}", needs, text))
    return found


def skip_unless_here(needs, request):
    """Skip what this machine or user lacks of what a block needs."""
    if "root" in needs and os.geteuid() != 0:
        pytest.skip("needs root")
    if "tracefs" in needs:
        request.getfixturevalue("tracefs")
    if "breakpoints" in needs and breakpoints_error():
        pytest.skip(f"needs breakpoints: {breakpoints_error()}")
    for pmu in re.findall(r"the PMU (\w+)", needs):
        if pmu not in events.pmus():
            pytest.skip(f"needs the PMU {pmu}")
    for machines in re.findall(r"a processor of (.*)", needs):
        if MACHINE not in machines.split(", "):
            pytest.skip(f"needs a processor of {machines}")

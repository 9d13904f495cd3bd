"""Where a kernel's headers are: an unpacked kernel tree, or a directory of its user-space headers alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from . import stop

_LAYOUTS = (
    "neither an unpacked kernel tree (Makefile, include/uapi/linux/perf_event.h, arch/*/include/uapi/asm/perf_regs.h) "
    "nor a directory of headers (linux/perf_event.h, arch/*/asm/perf_regs.h)"
)


class Sources(NamedTuple):
    """The headers of one kernel: perf_event.h and hw_breakpoint.h, and perf_regs.h by architecture."""

    version: str
    topics: list[Path]
    registers: dict[str, Path]


def find(directory: Path) -> Sources:
    """Find the headers below *directory*; stop where it is neither of the two layouts.

    A directory with perf_event.h and without perf_regs.h is refused, too: ``include/uapi`` of a tree is one, and so is what
    ``make headers_install`` leaves.
    """
    is_tree = (directory / "Makefile").is_file()
    include = directory / "include/uapi" if is_tree else directory
    pattern = f"arch/*/{'include/uapi/' if is_tree else ''}asm/perf_regs.h"
    topics = [include / "linux/perf_event.h", include / "linux/hw_breakpoint.h"]
    registers = {path.relative_to(directory).parts[1]: path for path in sorted(directory.glob(pattern))}
    if not registers or not all(path.is_file() for path in topics):
        stop(directory, f"{_LAYOUTS}. Of a tree, give the directory that has the Makefile")
    version = _version_of_tree(directory / "Makefile") if is_tree else _version_of_path(directory)
    return Sources(version, topics, registers)


def _version_of_path(directory: Path) -> str:
    found = re.findall(r"linux-(\d+\.\d+(?:\.\d+)?)(?=/|$)", str(directory.resolve()))
    if not found:
        stop(directory, "the path names no kernel version (…/linux-7.3.4/include)")
    return str(found[-1])


def _version_of_tree(makefile: Path) -> str:
    text = makefile.read_text()
    values = dict(re.findall(r"(?m)^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)$", text))
    numbers = [values.get(name, "") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    if not all(number.isdecimal() for number in numbers):
        stop(makefile, "no VERSION, PATCHLEVEL and SUBLEVEL, as a kernel's Makefile has")
    if values.get("EXTRAVERSION", "").startswith("-rc"):
        stop(makefile, f"Linux {'.'.join(numbers)}{values['EXTRAVERSION']} is no release: its headers may still change")
    return ".".join(numbers)

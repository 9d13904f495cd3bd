"""Write the function table, cdefs/capi.h and capi.c, and keep scripts/capi.txt, which says where each function stands in it.

Extensions that are installed somewhere were compiled with the places, types and layouts of a release. So a line that came
with an earlier release stays as it is, and what is new is added behind it. What came with the version in the package's
``__version__`` may still change, until CHANGELOG.md has a heading for that release.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from . import banner, indent, stop
from .cdefs import TOPICS, Module
from .layout import Layout
from .types import CType

LIST = "scripts/capi.txt"
_LIST_HEAD = """
# What extensions in C are compiled with. First the functions of struct perf_event_open_sys_api in their order, behind its
# version and its size; then the structs that they take: the size, then each field with its offset, on 64-bit machines. The
# first word is the release that brought it. scripts/regenerate.py adds what is new at the end of each part, and stops where
# a line of an earlier release would change.
"""
_HEAD = """
/* All functions, for extensions in C, which get the table's address from perf_event_open_sys_import(); it is valid as
 * long as the process lives. The headers of the topics, ring.h and so on, say what each function does. None needs the
 * GIL; each may be called from any thread. One that fails returns -1, or NULL, and leaves the reason in errno. None
 * keeps a pointer that it was given: the caller's memory is read and written during the call alone. What ring_map
 * returns is mapped until ring_unmap. Newer releases add functions at the end. */
#pragma once
"""
_SOURCE = """
#include "internal.h"
#include "capi.h"

static const struct perf_event_open_sys_api table = {{
    .version = PERF_EVENT_OPEN_SYS_API_VERSION,
    .size = sizeof(struct perf_event_open_sys_api),
{members}
}};

const void *capi_table(void)
{{
    return &table;
}}
"""
# What capi.h declares itself, for the module's own use.
EXPOSED: dict[str, tuple[list[tuple[str, CType]], CType]] = {
    "capi_table": ([], CType("pointer", item=CType("void", "void")))
}


class Line(NamedTuple):
    """A line of the list: the release that brought a function or a struct, its name, and its types or its layout."""

    release: str
    name: str
    what: str


def listed(module: Module, layouts: dict[str, Layout], root: Path) -> list[Line]:
    """Return the lines that the list has to have: those that are there, in their order, and what is new."""
    now = "".join(_found(r'^__version__ = "(.+)"$', root / "perf_event_open_sys" / "__init__.py"))
    is_released = now in _found(r"^## \[(.+?)\]", root / "CHANGELOG.md")
    wanted = {name: prototype.types for name, prototype in module.prototypes.items()}
    for name in (name for name in layouts if name not in module.kernel_structs):
        fields = "".join(f" {field} {offset}" for field, offset in layouts[name].offsets.items())
        wanted[name] = f"{name} {layouts[name].size}{fields}"
    kept = []
    for number, line in _committed(root / LIST):
        if (is_released or line.release != now) and wanted.get(line.name) != line.what:
            change = f"is now {wanted[line.name]}" if line.name in wanted else "is gone"
            stop(
                f"{LIST}:{number}",
                f"{line.what} {change}: extensions compiled since release {line.release} would call another function, or "
                "read other bytes. Leave it as it was, and give the new one another name",
            )
        if line.name in wanted:
            kept.append(line._replace(what=wanted.pop(line.name)))
    if is_released and wanted:
        stop(LIST, f"{', '.join(wanted)}: new since {now} was released. Set __version__ to the next release first")
    kept += [Line(now, name, what) for name, what in wanted.items()]
    return sorted(kept, key=lambda line: line.name not in module.prototypes)


def _found(pattern: str, path: Path) -> list[str]:
    return re.findall(f"(?m){pattern}", path.read_text()) if path.exists() else []


def _committed(path: Path) -> list[tuple[int, Line]]:
    found = []
    for number, text in enumerate(path.read_text().splitlines() if path.exists() else (), 1):
        if not text.startswith("#"):
            release, _, what = text.partition(" ")
            match = re.match(r"(?:struct|union) \w+(?= \d)|.*?(\w+)\(", what)
            if not match:
                stop(f"{path}:{number}", "neither a function nor a struct")
            found.append((number, Line(release, match[1] or match[0], what)))
    return found


def files(module: Module, lines: list[Line]) -> dict[str, str]:
    """Return the table's header and source, and the list, by their paths."""
    functions = [line for line in lines if line.name in module.prototypes]
    list_lines = [*_LIST_HEAD.strip().splitlines(), *(f"{line.release} {line.what}" for line in lines)]
    members = [f".{line.name} = {line.name}," for line in functions]
    origin = banner(f"cdefs/ and {LIST}", "/* %s */")
    source = _SOURCE.format(members="\n".join(indent(members)))
    return {
        "cdefs/capi.c": origin + source,
        "cdefs/capi.h": "\n".join([origin, *_HEAD.strip().splitlines(), *_header(module, functions), ""]),
        LIST: "\n".join([*list_lines, ""]),
    }


def _header(module: Module, functions: list[Line]) -> list[str]:
    members: list[str] = []
    releases = list(dict.fromkeys(line.release for line in functions))
    for release in releases:
        members += ["", f"/* Since {release}. */"]
        members += [module.prototypes[line.name].pointer for line in functions if line.release == release]
    return [
        *("#ifndef CFFI_CDEF", *(f'#include "{topic}.h"' for topic in TOPICS)),
        *("#ifdef __cplusplus", 'extern "C" {', "#endif", ""),
        "/* Of this header. That of the installed table is in its first member. */",
        f"#define PERF_EVENT_OPEN_SYS_API_VERSION {len(releases)}",
        "",
        "struct perf_event_open_sys_api {",
        "    uint32_t version; /* one more with each release that adds functions */",
        "    uint32_t size; /* of the table, in bytes */",
        *(line.rstrip() for line in indent(members)),
        *("};", "", "#ifdef __cplusplus", "}", "#endif", "#endif"),
        *("#ifdef PERF_EVENT_OPEN_SYS_BUILD", "const void *capi_table(void);", "#endif"),
    ]

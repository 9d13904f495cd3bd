"""Find what of the kernel's headers nobody has looked at yet: what needs code of ours, or a word that it needs none.

``scripts/looked_at.txt`` has the names that need none. See docs/new-kernel.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from .cdefs import ARCHITECTURES, Module

LOOKED_AT = "scripts/looked_at.txt"
# The enumerators of these must be named in this file.
_RULES = {
    "perf_event_sample_format": "cdefs/decode.h",
    "perf_event_read_format": "cdefs/counters.c",
    "perf_hw_id": "perf_event_open_sys/events/_names.py",
    "perf_sw_ids": "perf_event_open_sys/events/_names.py",
}
_CODE = ("cdefs/*.c", "cdefs/*.h", "perf_event_open_sys/**/*.py")


def unseen(module: Module, root: Path) -> Iterator[str]:
    """Yield a line for each: its name, and what is missing."""
    names, fields = _looked_at(root / LOOKED_AT)
    code = "".join(path.read_text() for pattern in _CODE for path in sorted(root.glob(pattern)))
    for name in module.constants:
        listed = not name.isupper() or any(fnmatchcase(name, pattern) for pattern in names)
        if not listed and (missing := _missing(name, module, root, code)):
            yield f"{name}: {missing}"
    for struct in module.kernel_structs:
        tag = struct.split()[-1]
        if not re.search(rf"\b{tag}\b", _text(root / "perf_event_open_sys/bindings.py")):
            yield f"{struct}: no constructor in perf_event_open_sys/bindings.py"
        for field, _ in module.structs[struct]:
            if field not in fields.get(tag, ()):
                yield f"{tag}.{field}: not in {LOOKED_AT}"
    for arch in module.registers.keys() - ARCHITECTURES:
        yield f"{arch}: registers of an architecture that is not in REGISTERS of perf_event_open_sys/_cdef.py"


def _missing(name: str, module: Module, root: Path, code: str) -> str:
    """Say what a constant lacks; nothing if it has all that it needs."""
    if name in module.enums.get("perf_event_type", ()):
        struct = f"struct {name.lower()}"
        return "" if struct in module.structs else f"no {struct} in cdefs/records.h"
    if name.startswith("PERF_EVENT_IOC_"):
        function = f"ioctl_{name.removeprefix('PERF_EVENT_IOC_').lower()}"
        return "" if function in module.functions else f"no {function}() in cdefs/ioctls.h"
    for enum, file in _RULES.items():
        if name in module.enums.get(enum, ()):
            return "" if re.search(rf"\b{name}\b", _text(root / file)) else f"not in {file}"
    return "" if re.search(rf"\b{name}\b", code) else f"neither in the code nor in {LOOKED_AT}"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _looked_at(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the names and patterns of constants, and the fields by struct, of the list."""
    names: list[str] = []
    fields: dict[str, list[str]] = {}
    for line in _text(path).splitlines():
        words = line.partition("#")[0].split()
        if words and words[0].endswith(":"):
            fields.setdefault(words[0][:-1], []).extend(words[1:])
        else:
            names += words
    return names, fields

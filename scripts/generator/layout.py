"""Write cdefs/layout.h: the size of each struct and the offset of each field, which the C compiler is made to check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cffi import FFI

from . import banner, stop
from .cdefs import CONDITIONS, TOPICS, Module, selected

_HEAD = """
/* Sizes and offsets as the compiled module has them. They are wrong if this header is included under #pragma pack or
 * with another option that moves fields. For 64-bit machines: 32-bit ones differ in pointers and alignment. */
#pragma once
#ifndef CFFI_CDEF
#include <stddef.h>
{includes}
#ifdef __LP64__
#define PERF_WHY "a struct of perf_event_open_sys has another layout here: is #pragma pack in effect?"
#ifdef __cplusplus
#define PERF_LAYOUT(is_right) static_assert(is_right, PERF_WHY)
#else
#define PERF_LAYOUT(is_right) _Static_assert(is_right, PERF_WHY)
#endif
"""


class Layout(NamedTuple):
    """The size of a struct, and the offsets of its fields but for bitfields, those of anonymous structs among them."""

    size: int
    offsets: dict[str, int]


def layouts(module: Module, root: Path, kernel: dict[str, str]) -> dict[str, Layout]:
    """Return the layout of each struct on a 64-bit machine, as cffi computes it without a compiler."""
    ffi = FFI()
    if ffi.sizeof("void *") != 8:
        stop("this machine", "is no 64-bit one: the layouts that are written are those of 64-bit machines")
    own = [(root / f"cdefs/{topic}.h").read_text() for topic in TOPICS]
    for text in (*(text for path, text in kernel.items() if "/perf_regs/" not in path), *own):
        ffi.cdef(selected(text, CONDITIONS))
    return {name: Layout(ffi.sizeof(name), dict(_offsets(ffi.typeof(name)))) for name in module.structs}


def _offsets(ctype: Any, base: int = 0) -> Iterator[tuple[str, int]]:
    for name, field in ctype.fields:
        if not name:
            yield from _offsets(field.type, base + field.offset)
        elif field.bitsize == -1:
            yield name, base + field.offset


def text(module: Module, layouts: dict[str, Layout]) -> str:
    """Return the header."""
    includes = "\n".join(f'#include "{topic}.h"' for topic in TOPICS)
    lines = [banner("cdefs/", "/* %s */"), *_HEAD.strip("\n").format(includes=includes).splitlines()]
    lines += ["#ifdef perf_headers_version /* not if the structs are those of an included <linux/perf_event.h> */"]
    for name in module.kernel_structs:
        lines += _checks(name, layouts[name])
    lines.append("#endif")
    for name in (name for name in module.structs if name not in module.kernel_structs):
        lines += _checks(name, layouts[name])
    return "\n".join([*lines, "#undef PERF_LAYOUT", "#undef PERF_WHY", "#endif", "#endif", ""])


def _checks(name: str, layout: Layout) -> Iterator[str]:
    yield f"PERF_LAYOUT(sizeof({name}) == {layout.size});"
    if name.startswith("struct "):  # the fields of a union may lie elsewhere in the other byte order
        for field, offset in layout.offsets.items():
            yield f"PERF_LAYOUT(offsetof({name}, {field}) == {offset});"

"""Write what headers declare as cdefs/kernel/*.h: C that both the compiler and ``FFI.cdef`` read."""

from __future__ import annotations

from pathlib import Path

from . import Untranslatable, banner, indent, wrap
from .fold import Number
from .headers import BIG, LITTLE, PASTE, Header, read
from .sources import Sources

KERNEL = "cdefs/kernel"


def files(sources: Sources) -> dict[str, str]:
    """Return the text of every file of cdefs/kernel by its path below the project's root."""
    version = sources.version
    major, minor, patch = (*map(int, version.split(".")), 0)[:3]
    number = [
        "/* The kernel version of these declarations, as KERNEL_VERSION() packs it. */",
        f"#define perf_headers_version {major << 16 | minor << 8 | patch}",
    ]
    topics = [_translated(path, before) for path, before in zip(sources.topics, (number, []), strict=True)]
    texts = {
        f"{KERNEL}/perf_event.h": [
            banner(f"linux/perf_event.h and linux/hw_breakpoint.h of Linux {version}", "/* %s */"),
            "#pragma once",
            "#ifndef CFFI_CDEF",
            "#include <stdint.h>",
            "#include <sys/ioctl.h>",
            "#endif",
            *(line for lines in topics for line in lines),
        ]
    }
    for arch, path in sources.registers.items():
        texts[f"{KERNEL}/perf_regs/{arch}.h"] = [
            banner(f"asm/perf_regs.h ({arch}) of Linux {version}", "/* %s */"),
            "#pragma once",
            *_translated(path, []),
        ]
    return {name: "\n".join(lines) + "\n" for name, lines in texts.items()}


def _translated(path: Path, before: list[str]) -> list[str]:
    """Write one header, with the lines *before* its own, so that it and the kernel's exclude each other.

    Each defines the kernel's include guard. If the kernel's header comes first, its declarations hold.
    """
    little, big = read(path, LITTLE), read(path, BIG)
    lines = before + _both(little, big)
    if not little.guard:
        return lines
    # Only of the kernel's header: cffi names these unions without the word.
    others = [f"typedef union {name} {name};" for name in sorted(little.bit_unions)]
    return [
        *(f"#ifndef {little.guard}", "#ifndef CFFI_CDEF", f"#define {little.guard}", "#endif"),
        *lines,
        *(["#else", *others] if others else []),
        "#endif",
    ]


def _both(little: Header, big: Header) -> list[str]:
    """Write one header, read for both byte orders; only its structs may differ between them."""
    if little.constants != big.constants or little.ioctls != big.ioctls or little.items != big.items:
        raise Untranslatable("a constant, an ioctl or a whole declaration depends on the byte order")
    lines: list[str] = []
    for kind, name in little.items:
        if kind == "macro":
            lines.append(f"#define {name} {little.constants[name].literal}")
        elif kind == "function":
            expansion = PASTE.replace("__u64", "uint64_t").replace("<<", " << ")
            lines += ["#ifndef CFFI_CDEF", f"#define {name}(a, s) {expansion}", "#endif"]
        elif kind == "enum":
            tag, names = little.enums[int(name)]
            values = wrap([_enumerator(name, little.constants[name]) for name in names])
            # ISO C has no enumerators beyond int; without __extension__, -pedantic reports them.
            wide = any(not -(2**31) <= little.constants[name].value < 2**31 for name in names)
            head = f"{'__extension__ ' * wide}enum {tag} {{".replace("  ", " ")
            lines += [head, *indent(values), "};"]
        else:
            lines += _struct(name, little, big)
    if little.ioctls:
        # The C compiler computes the codes: direction bits and sizeof(void *) differ by architecture.
        lines += ["#ifdef CFFI_CDEF", *(f"#define {name} ..." for name in little.ioctls), "#else"]
        lines += [*(f"#define {name} {code}" for name, code in little.ioctls.items()), "#endif"]
    return lines


def _struct(name: str, little: Header, big: Header) -> list[str]:
    if name not in little.bit_unions:
        return _by_order(*(_extended(header.structs[name]) for header in (little, big)))
    # cffi's API mode puts all bits of an outermost union at shift 0: to cffi this is a struct around it.
    body = _by_order(little.structs[name][1:-1], big.structs[name][1:-1])
    before = [
        "#ifdef CFFI_CDEF",
        "typedef struct {",
        "    union {",
        "#else",
        *_extended([f"union {name} {{"]),
        "#endif",
    ]
    alias = f"typedef union {name} {name};"
    after = ["#ifdef CFFI_CDEF", "    };", f"}} {name};", "#else", "};", alias, "#endif"]
    return [*before, *body, *after]


def _extended(lines: list[str]) -> list[str]:
    """Let a struct have what ISO C or C++ has not: bits of a 64-bit integer, anonymous structs, arrays without a length."""
    return [f"__extension__ {lines[0]}", *lines[1:]]


def _by_order(little: list[str], big: list[str]) -> list[str]:
    if little == big:
        return little
    return ["#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__", *big, "#else", *little, "#endif"]


def _enumerator(name: str, number: Number) -> str:
    suffix = "" if -(2**31) <= number.value < 2**31 else "U" if 0 <= number.value < 2**32 else "ULL"
    return f"{name} = {number.value}{suffix},"

"""Turn cdefs/*.h into the text that ``FFI.cdef()`` takes, for our build and for get_ffibuilder()."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

TOPICS = ("ioctls", "counters", "ring", "records", "samples")
# The start of the target machine's GNU triplet (x86_64-linux-gnu) -> the name of its header in kernel/perf_regs/.
REGISTERS = {
    "aarch64": "arm64",
    "arm": "arm",
    "hppa": "parisc",
    "i": "x86",
    "loongarch": "loongarch",
    "mips": "mips",
    "powerpc": "powerpc",
    "riscv": "riscv",
    "s390": "s390",
    "x86_64": "x86",
}

# What cffi's parser is given: functions too, which the C compiler sees in our own build only.
CONDITIONS = frozenset({"CFFI_CDEF", "PERF_EVENT_OPEN_SYS_BUILD"})

_DIRECTIVES = ("#if", "#ifdef", "#ifndef", "#else", "#endif", "#define", "#include", "#pragma", "#error")


def headers(include: Path) -> list[Path]:
    """List the headers for the machine that is built for, each after those that it needs."""
    triplet = sysconfig.get_config_var("HOST_GNU_TYPE") or ""
    arch = next((arch for prefix, arch in REGISTERS.items() if triplet.startswith(prefix)), None)
    registers = [include / "kernel" / "perf_regs" / f"{arch}.h"] if arch else []
    return [include / "kernel" / "perf_event.h", *registers, *(include / f"{topic}.h" for topic in (*TOPICS, "capi"))]


def declarations(include: Path) -> str:
    """Return the headers for the machine that is built for, as one text that ``FFI.cdef`` takes."""
    holds = set(CONDITIONS)
    # The machine's integers have the byte order of its doubles. sysconfig knows only the latter's: pyconfig.h has
    # WORDS_BIGENDIAN in an indented #define, which sysconfig skips.
    if sysconfig.get_config_var("DOUBLE_IS_BIG_ENDIAN_IEEE754"):
        holds.add("__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__")
    text = "".join(f'# 1 "{header}"\n{selected(header.read_text(), holds)}' for header in headers(include))
    return _without_large_enumerators(text) if sysconfig.get_config_var("SIZEOF_LONG") == 4 else text


def selected(text: str, holds: Collection[str]) -> str:
    """Return a header's text as the preprocessor would leave it: only the ``#define`` directives stay.

    Left out is ``__extension__`` too, which cffi's parser does not know.

    A condition (the text after ``#if``, ``#ifdef``, ``#ifndef``) is true if it is in *holds*. Any directive that is not
    in ``_DIRECTIVES`` is a ValueError: the declarations after an ``#elif``, for example, would be missing without a
    word.
    """
    lines = []
    live = [True]
    for number, line in enumerate(text.splitlines(), 1):
        directive, _, condition = line.partition(" ")
        if line.lstrip().startswith("#") and directive not in _DIRECTIVES:
            raise ValueError(f"line {number}: {line.strip()!r} is a directive that is not understood here")
        if directive in ("#if", "#ifdef"):
            live.append(condition in holds)
        elif directive == "#ifndef":
            live.append(condition not in holds)
        elif directive == "#else":
            live.append(not live.pop())
        elif directive == "#endif":
            live.pop()
        kept = all(live) and (not line.startswith("#") or directive == "#define")
        lines.append(line.replace("__extension__ ", "") if kept else "")
    return "\n".join(lines) + "\n"


def _without_large_enumerators(text: str) -> str:
    """Turn enumerators of more than 32 bits into ``#define`` constants: cffi's enumerators are at most a long wide."""
    large = re.findall(r"(\w+) = (\d+ULL),", text)
    text = re.sub(r" *\w+ = \d+ULL,", "", text)
    text = re.sub(r"enum \w* *\{\s*\};", "", text)
    return text + "".join(f"#define {name} {value}\n" for name, value in large)

"""What cffi reads of the C headers: the one reader for the build and for extensions that include ours."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

TOPICS = ("ioctls", "counters", "ring", "records", "samples")
# The kernel/perf_regs/ header of the machine that is built for, by the first word of its GNU triplet.
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

_DIRECTIVES = ("#if", "#ifdef", "#ifndef", "#else", "#endif", "#define", "#include", "#pragma", "#error")


def headers(include: Path) -> list[Path]:
    """List the headers of the target, in the order in which they build on each other."""
    triplet = sysconfig.get_config_var("HOST_GNU_TYPE") or ""
    arch = next((arch for prefix, arch in REGISTERS.items() if triplet.startswith(prefix)), None)
    registers = [include / "kernel" / "perf_regs" / f"{arch}.h"] if arch else []
    return [include / "kernel" / "perf_event.h", *registers, *(include / f"{topic}.h" for topic in TOPICS)]


def declarations(include: Path) -> str:
    """Return the headers of the target as ``FFI.cdef`` takes them."""
    holds = {"CFFI_CDEF"}
    # As words, so doubles. sysconfig does not know WORDS_BIGENDIAN: it skips the indented #defines of pyconfig.h.
    if sysconfig.get_config_var("DOUBLE_IS_BIG_ENDIAN_IEEE754"):
        holds.add("__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__")
    text = "".join(f'# 1 "{header}"\n{selected(header.read_text(), holds)}' for header in headers(include))
    return _without_large_enumerators(text) if sysconfig.get_config_var("SIZEOF_LONG") == 4 else text


def selected(text: str, holds: set[str]) -> str:
    """Return a header without directives, #define excepted, and without blocks whose #if is not in *holds*.

    A directive beside these is a ValueError: what an ``#elif`` hides would be missing in silence.
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
        lines.append(line if kept else "")
    return "\n".join(lines) + "\n"


def _without_large_enumerators(text: str) -> str:
    """Declare what is beyond 32 bits as constants by themselves: cffi's enumerators are no larger than a long."""
    large = re.findall(r"(\w+) = (\d+ULL),", text)
    text = re.sub(r" *\w+ = \d+ULL,", "", text)
    text = re.sub(r"enum \w* *\{\s*\};", "", text)
    return text + "".join(f"#define {name} {value}\n" for name, value in large)

#!/usr/bin/env python3
"""Translate the kernel's headers into the declarations that this project commits, and write the stub files from them.

    scripts/regenerate.py DIR [--check]     all of it
    scripts/regenerate.py --stubs [--check] all but the declarations, from cdefs/: after a change to a header of ours

DIR is an unpacked kernel tree, or a directory with ``linux/perf_event.h``, ``linux/hw_breakpoint.h`` and
``arch/*/asm/perf_regs.h`` of one kernel, whose path names the version (``…/linux-7.3.4/include``). Written are
``cdefs/kernel/perf_event.h`` and ``cdefs/kernel/perf_regs/<arch>.h``, then, from these and the other ``cdefs/*.h``, the stub
files ``bindings.pyi`` and ``_native.pyi`` of the package; its ``__init__.pxd``; the function table ``cdefs/capi.h`` and
``capi.c`` with its list ``scripts/capi.txt``; and ``cdefs/layout.h``. With ``--check`` nothing is written, a diff is printed
and the exit status is 1 if a file drifted. Names, types, widths and values are taken over, the kernel's text is not.

After that the script prints the names in the headers that neither the code nor scripts/looked_at.txt mentions;
docs/new-kernel.md says what to do about each. If the script does not understand a line of a header, it stops and names
the line, before anything is written.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

from generator import Untranslatable, bindings, capi, cdefs, declarations, layout, native, pxd, sources, stop, unseen

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "perf_event_open_sys"


def generate(directory: Path | None, root: Path) -> dict[str, str]:
    """Return the text of each generated file by its path below *root*; without a *directory*, not the kernel's."""
    if directory is None:
        return stubs(cdefs.kernel_files(root), root)
    kernel = declarations.files(sources.find(directory))
    return kernel | stubs(kernel, root)


def stubs(kernel: dict[str, str], root: Path) -> dict[str, str]:
    """Return what is written from the *kernel*'s declarations and the hand-written headers below *root*."""
    module = cdefs.read(root, kernel)
    layouts = layout.layouts(module, root, kernel)
    table = capi.files(module, capi.listed(module, layouts, root))
    module.functions |= capi.EXPOSED
    return table | {
        "cdefs/layout.h": layout.text(module, layouts),
        f"{PACKAGE}/__init__.pxd": pxd.text(module),
        f"{PACKAGE}/bindings.pyi": bindings.text(module, root / PACKAGE / "bindings.py"),
        f"{PACKAGE}/_native.pyi": native.text(module),
    }


def gone(files: dict[str, str], root: Path) -> list[str]:
    """List the committed headers of architectures that the kernel has no longer."""
    return sorted({str(path.relative_to(root)) for path in root.glob("cdefs/kernel/perf_regs/*.h")} - files.keys())


def drift(files: dict[str, str], root: Path) -> Iterator[str]:
    """Yield a diff from what is committed to *files*."""
    for name, text in sorted(files.items()):
        path = root / name
        old = path.read_text().splitlines() if path.exists() else []
        yield from difflib.unified_diff(old, text.splitlines(), name, f"{name} (generated)", lineterm="")


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Returns 0 if all is well; 1 if --check found a difference; 2 if a header is not understood."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("directory", type=Path, nargs="?", metavar="DIR", help="a kernel tree, or its headers alone")
    parser.add_argument(
        "--stubs", action="store_true", help="only the stub files, from cdefs/: needs no kernel headers"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; print a diff and exit 1 if a file drifted")
    options = parser.parse_args(arguments)
    if options.stubs == (options.directory is not None):
        parser.error("give either a directory of the kernel's or --stubs")
    try:
        files = generate(options.directory, ROOT)
        left = [] if options.stubs else gone(files, ROOT)
        if left:
            stop(options.directory, f"has none for {', '.join(left)}: remove by hand what the kernel no longer has")
    except Untranslatable as error:
        print(f"regenerate.py: {error}", file=sys.stderr)
        return 2
    if options.check:
        difference = list(drift(files, ROOT))
        print(*difference, sep="\n", end="\n" if difference else "")
        return 1 if difference else 0
    for name, text in files.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for line in unseen.unseen(cdefs.read(ROOT, cdefs.kernel_files(ROOT)), ROOT):
        print(f"see docs/new-kernel.md: {line}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the tests of scripts/regenerate.py share: where things are, and made-up headers laid out as a kernel's."""

import os
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "regenerate.py"
UAPI = os.environ.get("PERF_EVENT_UAPI")
STUBS = ["perf_event_open_sys/_native.pyi", "perf_event_open_sys/bindings.pyi"]
CAPI = ["cdefs/capi.c", "cdefs/capi.h", "cdefs/layout.h", "perf_event_open_sys/__init__.pxd", "scripts/capi.txt"]
MAKEFILE = "# SPDX\nVERSION = 9\nPATCHLEVEL = 9\nSUBLEVEL = 9\nEXTRAVERSION =\nNAME = Baby\n"
UNION = """
struct perf_new {
    __u32 before;
    union {
        __u32 action;
        struct {
            __u32 low : 1, mid : 7, high : 24;
        };
    };
    __u64 after;
};
"""


def files(root):
    """Return the text of every file of a project, by its path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("**/*") if path.is_file()}


def put(directory, texts):
    """Write files below a directory, their text without its common indentation."""
    for name, body in texts.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(body).lstrip("\n"))


def tree(include, target, makefile=MAKEFILE):
    """Lay the headers of an include directory out as an unpacked kernel does."""
    texts = {"Makefile": makefile, "arch/z80/include/asm/perf_regs.h": "#error not this one\n"}
    for path in include.glob("**/*.h"):
        top, *rest = path.relative_to(include).parts
        name = ["arch", rest[0], "include/uapi", *rest[1:]] if top == "arch" else ["include/uapi", top, *rest]
        texts["/".join(name)] = path.read_text()
    put(target, texts)
    return target

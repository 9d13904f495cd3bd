"""Build script of the native module, in cffi's out-of-line API mode: read cdefs/, compile cdefs/."""

import runpy
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent
CDEFS = ROOT / "cdefs"
cdef = runpy.run_path(str(ROOT / "perf_event_open_sys" / "_cdef.py"))

ffibuilder = FFI()
ffibuilder.cdef(cdef["declarations"](CDEFS))
ffibuilder.set_source(
    "perf_event_open_sys._native",
    '#define PERF_EVENT_OPEN_SYS_BUILD\n#include "perf_event_open_sys.h"',
    sources=sorted(str(source.relative_to(ROOT)) for source in CDEFS.glob("*.c")),
    include_dirs=["cdefs"],
    depends=sorted(str(header.relative_to(ROOT)) for header in CDEFS.glob("**/*.h")),
    # -U: on a free-threaded CPython cffi defines this macro in its C code, and a second time by an option of the compiler.
    extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-U_CFFI_NO_LIMITED_API"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)

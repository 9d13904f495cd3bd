"""Linux's ``perf_event_open(2)`` at pointer level: C's names, C's structs, C's speed.

``lib`` and ``ffi`` are the raw module: C conventions, -1 and ``ffi.errno``. The functions of this package raise instead,
and say what to do about it. Nothing here wraps an event: an event is a file descriptor, a struct is a pointer.
"""

from __future__ import annotations

import os

try:
    from ._native import ffi, lib
except ModuleNotFoundError as _error:
    if _error.name != f"{__name__}._native":
        raise
    raise ImportError(
        f"{os.path.dirname(__file__)} has no compiled module: it is a source tree. "
        "Build it in place with `pip install -e .`, or run Python from another directory",
    ) from None

from . import bindings, ioctls
from .bindings import (
    perf_branch_entry,
    perf_event_attr,
    perf_event_header,
    perf_event_mmap_page,
    perf_event_query_bpf,
    perf_mem_data_src,
    perf_ns_link_info,
    perf_sample_weight,
)
from .ioctls import perf_event_open

TYPE_CHECKING = False  # typing itself costs more than the rest of this import
if TYPE_CHECKING:
    from cffi import FFI

    from . import counters, records, ring
    from . import events as events
    from . import targets as targets

__all__ = [
    "HEADERS_VERSION",
    "__version__",
    "bindings",
    "counters",
    "ffi",
    "get_ffibuilder",
    "get_include",
    "ioctls",
    "lib",
    "perf_branch_entry",
    "perf_event_attr",
    "perf_event_header",
    "perf_event_mmap_page",
    "perf_event_open",
    "perf_event_query_bpf",
    "perf_mem_data_src",
    "perf_ns_link_info",
    "perf_sample_weight",
    "records",
    "ring",
]

__version__ = "0.1.0"
HEADERS_VERSION = ".".join(str(part) for part in lib.perf_headers_version.to_bytes(3, "big"))


def get_include() -> str:
    """Return the directory of the C headers, for another extension's ``include_dirs``; they are C11 and C++17."""
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "include")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "cdefs")


def get_ffibuilder() -> FFI:
    """Return an FFI for another build script's ``ffibuilder.include()``: the structs are then one type on both sides.

    Its C source includes ``"perf_event_open_sys.h"``, which is in :func:`get_include`. Needs the ``pycparser`` package, as
    every cffi build does.
    """
    from pathlib import Path

    from cffi import FFI

    from ._cdef import declarations

    builder = FFI()
    builder.cdef(declarations(Path(get_include())))
    builder.set_source(f"{__name__}._native", "")
    return builder


if not TYPE_CHECKING:  # a type checker would take any name for one of the package

    def __getattr__(name):
        """Import a module by its first use: hardly a program needs all, and ``events`` costs more than the others."""
        if name not in ("counters", "events", "records", "ring", "targets"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return import_module(f"{__name__}.{name}")

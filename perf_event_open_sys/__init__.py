"""Linux's ``perf_event_open(2)`` at pointer level: C's names, C's structs, C's speed.

``ffi`` and ``lib`` are the compiled module: a function of ``lib`` returns -1 on failure, and leaves the error in
``ffi.errno``. The modules of this package have the same functions for Python: they raise, and say what to do about it.
No class stands for an event: an event is its file descriptor, a struct is a cffi pointer.
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
    from . import perf_data as perf_data
    from . import targets as targets
    from ._capi import lib_address

    _C_API: object  # the capsule that perf_event_open_sys_capi.h takes the function table from

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
    "lib_address",
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
    """Return the directory of this package's C headers, for another extension's ``include_dirs``.

    The headers compile as C11 and as C++17.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "include")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "cdefs")


def get_ffibuilder() -> FFI:
    """Return an FFI for the ``ffibuilder.include()`` of another package's cffi build script.

    A struct of the kernel's is then one type in both packages: a pointer from here can be passed to functions there.
    The C source that the other script gives to ``set_source()`` has to include ``"perf_event_open_sys.h"``, from the
    directory :func:`get_include`. Needs the ``pycparser`` package, as every cffi build does.
    """
    from pathlib import Path

    from cffi import FFI

    from ._cdef import declarations

    builder = FFI()
    builder.cdef(declarations(Path(get_include())))
    builder.set_source(f"{__name__}._native", "")
    return builder


if not TYPE_CHECKING:  # seeing __getattr__, a type checker would accept any attribute of the package

    def __getattr__(name):
        """Import a module when it is first used: few programs need all, and importing them takes milliseconds."""
        if name in ("_C_API", "lib_address"):
            from . import _capi

            value = globals()[name] = _capi.capsule() if name == "_C_API" else _capi.lib_address
            return value
        if name not in ("counters", "events", "perf_data", "records", "ring", "targets"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return import_module(f"{__name__}.{name}")

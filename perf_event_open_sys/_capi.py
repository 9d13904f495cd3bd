"""The C functions for callers that are not Python: their addresses, and the capsule with the table of all of them."""

from __future__ import annotations

from ._names import nearest
from ._native import ffi, lib

NAME = b"perf_event_open_sys._C_API"  # a capsule keeps the address of its name


def lib_address(name: str) -> int:
    """Return the address of a function of ``lib``, for Numba, ctypes and other languages.

    It has C's types and conventions, needs no GIL, and is valid as long as the process lives.

    Raises:
        AttributeError: ``lib`` has no function of this name; the nearest ones are named.
    """
    functions = [one for one in dir(lib) if callable(getattr(lib, one))]
    if name not in functions:
        what = "is a constant, and no function" if hasattr(lib, name) else "is no function"
        raise AttributeError(f"{name!r} {what} of perf_event_open_sys.lib{nearest(name, functions)}")
    address = ffi.addressof(lib, name)  # type: ignore[call-overload] # the stub has the names, which were checked above
    return int(ffi.cast("uintptr_t", address))


def capsule() -> object:
    """Return a new capsule named ``perf_event_open_sys._C_API``, with the address of ``struct perf_event_open_sys_api``."""
    import ctypes

    # cffi calls without the GIL, which Python's own functions need: ctypes calls them with it.
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    made: object = new(int(ffi.cast("uintptr_t", lib.capi_table())), NAME, None)
    return made

"""Encode what the writer of perf.data files writes: records, attrs, and the values of features."""

from __future__ import annotations

import os
from struct import Struct, pack
from struct import error as StructError  # noqa: N812 - a class

from .._native import ffi, lib
from ._layout import PERF_RECORD_MISC_BUILD_ID_SIZE, RECORD_HEADER, STRING_ALIGN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ..bindings import perf_event_attr_p
    from ._event import Event

_ATTR_SIZES: list[int] = sorted(getattr(lib, name) for name in dir(lib) if name.startswith("PERF_ATTR_SIZE_VER"))
_BUILD_ID = Struct("=i20sB3x")  # pid, the id, its length


def record(kind: int, misc: int, body: bytes, trailer: bytes) -> bytes:
    """Return a record of type *kind*, whose body, of some KiB at most, is padded to a multiple of 8 bytes."""
    body += bytes(-len(body) % 8) + trailer
    return RECORD_HEADER.pack(kind, misc, RECORD_HEADER.size + len(body)) + body


def attr_size(attrs: Iterable[perf_event_attr_p]) -> int:
    """Return the smallest published size of ``struct perf_event_attr`` that has every field which is not 0.

    The perf tool refuses a file whose attrs are larger than its own struct.
    """
    needed = max(len(bytes(ffi.buffer(attr)).rstrip(b"\0")) for attr in attrs)
    return min(size for size in _ATTR_SIZES if size >= needed)


def attr_bytes(attr: perf_event_attr_p, size: int) -> bytes:
    """Return the first *size* bytes of an attr, with *size* in its field ``size``."""
    copy: Any = ffi.new("struct perf_event_attr *", attr[0])
    copy.size = size
    return bytes(ffi.buffer(copy, size))


def string(text: str | bytes) -> bytes:
    """Return a string as features have it: the length, and the text with a 0 behind it, padded with more of them."""
    value = os.fsencode(text) + b"\0"
    value += bytes(-len(value) % STRING_ALIGN)
    return pack("=I", len(value)) + value


def event_desc(events: Sequence[Event], size: int) -> bytes:
    """Return the content of the feature that names the events; *size* is that of an attr in the file."""
    parts = [pack("=II", len(events), size)]
    for attr, ids, name in events:
        parts += [attr_bytes(attr, size), pack("=I", len(ids)), string(name), pack(f"={len(ids)}Q", *ids)]
    return b"".join(parts)


def build_id(identity: bytes, filename: bytes, misc: int) -> bytes:
    """Return an entry of the feature ``build_id``.

    Args:
        identity: the build id, of at most 20 bytes.
        filename: as it is in the MMAP and MMAP2 records.
        misc: ``PERF_RECORD_MISC_KERNEL`` or ``PERF_RECORD_MISC_USER``.
    """
    padded = filename + bytes(STRING_ALIGN - len(filename) % STRING_ALIGN)
    # The pid is that of a virtual machine; -1 is the host. Entries have a record's header, and are of no type.
    body = _BUILD_ID.pack(-1, identity, len(identity)) + padded
    return RECORD_HEADER.pack(0, misc | PERF_RECORD_MISC_BUILD_ID_SIZE, RECORD_HEADER.size + len(body)) + body


def _strings(texts: Sequence[str]) -> bytes:
    return pack("=I", len(texts)) + b"".join(map(string, texts))


def _pmu_mappings(pmus: Mapping[str, int]) -> bytes:
    return pack("=I", len(pmus)) + b"".join(pack("=I", kind) + string(name) for name, kind in pmus.items())


def _build_ids(build_ids: Iterable[tuple[int, bytes, str]]) -> bytes:
    rows = ((identity, os.fsencode(name)) for _, identity, name in build_ids)
    kinds = {True: lib.PERF_RECORD_MISC_KERNEL, False: lib.PERF_RECORD_MISC_USER}
    return b"".join(
        build_id(identity, name, kinds[name.startswith((b"[kernel", b"/lib/modules/"))]) for identity, name in rows
    )


def _group_desc(groups: Sequence[tuple[str, int, int]]) -> bytes:
    rows = (string(name) + pack("=II", leader, members) for name, leader, members in groups)
    return pack("=I", len(groups)) + b"".join(rows)


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    **dict.fromkeys(("hostname", "osrelease", "version", "arch", "cpudesc", "cpuid"), string),
    "nrcpus": lambda numbers: pack("=II", *numbers),
    "total_mem": lambda kib: pack("=Q", kib),
    "cmdline": _strings,
    "build_id": _build_ids,
    "event_desc": lambda events: event_desc(events, attr_size(event[0] for event in events)),
    "pmu_mappings": _pmu_mappings,
    "group_desc": _group_desc,
    "sample_time": lambda times: pack("=QQ", *times),
    "clockid": lambda resolution_ns: pack("=Q", resolution_ns),
}


def feature(name: str | int, value: Any) -> bytes:
    """Return the content of a feature's section, from a value as the reader gives it, or from bytes, as they are.

    Raises:
        ValueError: the value is none of this feature; or it must be given as bytes, as that of most features.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(name, int) or name not in _ENCODERS:
        raise ValueError(f"give the feature {name!r} as the bytes of its section, not as {type(value).__name__}")
    try:
        return _ENCODERS[name](value)
    except (TypeError, ValueError, AttributeError, StructError) as error:
        raise ValueError(f"this is no value of the feature {name!r}: {value!r} ({error})") from None

"""The feature ``tracing_data``: what tracefs says of the tracepoints of a file, in the format of trace-cmd."""

from __future__ import annotations

import os
import sys
from struct import pack

from .. import events as _events
from .._files import contents, listed, read_file
from .._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._event import Event

_MAGIC = b"\x17\x08\x44tracing"
_VERSION = b"0.6\0"  # the first with the names of processes at the end


def tracing_data(events: Sequence[Event]) -> bytes:
    """Return the content of the feature for the tracepoints among *events*; b"" if there are none.

    Raises:
        FileNotFoundError, PermissionError: tracefs is not mounted, or closed to this user.
        ValueError: it has no tracepoint of an event's id.

    Source: perf's ``tools/perf/util/trace-event-info.c`` and ``trace-event-read.c`` (6.1).
    """
    wanted = {event.attr.config: event.name for event in events if event.attr.type == lib.PERF_TYPE_TRACEPOINT}
    if not wanted:
        return b""
    root = os.path.join(_events.tracefs(), "events")
    formats: dict[str, list[bytes]] = {}
    for identity, name in wanted.items():
        system, point = _find(root, identity, name)
        formats.setdefault(system, []).append(read_file(os.path.join(root, system, point, "format")))
    parts = [
        _MAGIC,
        _VERSION,
        bytes([sys.byteorder == "big", ffi.sizeof("long")]),
        pack("=I", os.sysconf("SC_PAGE_SIZE")),
    ]
    for name in ("header_page", "header_event"):
        parts += [name.encode() + b"\0", _sized(read_file(os.path.join(root, name)))]
    ftrace = formats.pop("ftrace", [])
    parts += [pack("=I", len(ftrace)), *map(_sized, ftrace), pack("=I", len(formats))]
    for system, texts in formats.items():
        parts += [system.encode() + b"\0", pack("=I", len(texts)), *map(_sized, texts)]
    printed = read_file(os.path.join(os.path.dirname(root), "printk_formats"))
    # No addresses of kernel functions (size 0), formats of trace_printk(), no names of processes (size 0).
    return b"".join([*parts, pack("=I", 0), pack("=I", len(printed)), printed, pack("=Q", 0)])


def _sized(text: bytes) -> bytes:
    return pack("=Q", len(text)) + text


def _find(root: str, identity: int, name: str) -> tuple[str, str]:
    """Return system and name of a tracepoint by its id. The event's name tells both, unless its author chose another."""
    system, _, point = name.partition(":")
    point = point.partition(":")[0]  # without modifiers
    if contents(os.path.join(root, system, point, "id")) == str(identity):
        return system, point
    for system in sorted(os.listdir(root)):
        for point in listed(os.path.join(root, system)):
            if contents(os.path.join(root, system, point, "id")) == str(identity):
                return system, point
    raise ValueError(f"tracefs has no tracepoint whose id is {identity}, the config of {name or 'an event'}")

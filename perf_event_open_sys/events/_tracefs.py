"""Read the kernel's tracepoints from tracefs. *tracefs* is its root directory; None finds it in the mount table."""

from __future__ import annotations

import os
from errno import EACCES, ENOENT

from .. import errors
from .._files import contents, is_file_name, listed, parse_number, read_file
from .._names import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def tracefs(*, mounts: str = "/proc/self/mounts") -> str:
    """Return the directory where tracefs is mounted, or else the directory ``tracing`` of a mounted debugfs.

    Raises:
        FileNotFoundError: it is not mounted; the message says how to mount it.
    """
    in_debugfs = ""
    for line in os.fsdecode(read_file(mounts)).split("\n"):
        where, kind = [*line.split(" "), "", "", ""][1:3]
        for octal in ("\\040", "\\011", "\\012", "\\043", "\\134"):  # space, tab, newline, #; last the backslash
            where = where.replace(octal, chr(int(octal[1:], 8)))
        if kind == "tracefs":
            return where
        tracing = os.path.join(where, "tracing")
        if kind == "debugfs" and not in_debugfs and os.path.isdir(tracing):
            in_debugfs = tracing
    return in_debugfs or errors.failed(
        ENOENT, "tracefs", "it is not mounted: as root, mount -t tracefs nodev /sys/kernel/tracing"
    )


def tracepoint_id(system: str, name: str, *, tracefs: str | None = None) -> int:
    """Return the ``attr.config`` of a tracepoint.

    Raises:
        ValueError: no such tracepoint; the nearest names are given.
        FileNotFoundError, PermissionError: tracefs is not mounted, or closed to this user.
    """
    root = events_directory(tracefs)
    identity = parse_number(read_tracepoint_file(root, system, name, "id"))
    if identity is None:
        no_tracepoint(root, system, name)
    return identity


def tracepoints(*, tracefs: str | None = None) -> list[str]:
    """Return the kernel's tracepoints, each ``system:name``, in order; errors as for :func:`tracepoint_id`."""
    root = events_directory(tracefs)
    names = [(system, name) for system in _systems(root) for name in listed(os.path.join(root, system))]
    return [f"{system}:{name}" for system, name in names if os.path.exists(os.path.join(root, system, name, "id"))]


def events_directory(root: str | None) -> str:
    """Return the directory of the tracepoints of a tracefs."""
    return os.path.join(tracefs() if root is None else root, "events")


def read_tracepoint_file(root: str, system: str, name: str, file: str) -> str:
    """Return the text of a file of one tracepoint; nothing where there is none of these names below *root*."""
    if not (is_file_name(system) and is_file_name(name)):
        return ""
    return contents(os.path.join(root, system, name, file))


def no_tracepoint(root: str, system: str, name: str) -> NoReturn:
    """Raise the error for a tracepoint that *root* does not have, or that this user may not see."""
    systems = _systems(root)
    if system in systems:
        raise ValueError(f"no tracepoint {system}:{name}{nearest(name, listed(os.path.join(root, system)))}")
    raise ValueError(f"no tracepoint {system}:{name}, nor any of {system}{nearest(system, systems)}")


def _systems(root: str) -> list[str]:
    try:
        return sorted(os.listdir(root))
    except OSError as error:
        hint = "tracefs is readable by root only, unless it is mounted with mode= or gid="
        errors.failed(error.errno or ENOENT, root, hint if error.errno == EACCES else "no tracefs is there")

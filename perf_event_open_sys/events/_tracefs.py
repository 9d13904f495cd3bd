"""What tracefs says of the kernel's tracepoints; *tracefs* is its root, None standing for the one that is mounted."""

from __future__ import annotations

import os
import re
from errno import EACCES, ENOENT

from .. import errors
from .._files import contents, listed
from .._names import nearest


def tracefs(*, mounts: str = "/proc/self/mounts") -> str:
    """Return where tracefs is mounted, by the mount table; debugfs has it as ``tracing``.

    Raises:
        FileNotFoundError: it is not mounted; the message says how to.
    """
    places = []
    for line in contents(mounts).splitlines():
        where, kind = [*line.split(), "", "", ""][1:3]
        where = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), where)
        if kind in ("tracefs", "debugfs"):
            places.append((kind == "debugfs", where if kind == "tracefs" else os.path.join(where, "tracing")))
    for debugfs, place in sorted(places):
        if not debugfs or os.path.isdir(place):
            return place
    return errors.failed(ENOENT, "tracefs", "it is not mounted: as root, mount -t tracefs nodev /sys/kernel/tracing")


def tracepoint_id(system: str, name: str, *, tracefs: str | None = None) -> int:
    """Return the ``attr.config`` of a tracepoint.

    Raises:
        ValueError: no such tracepoint; the nearest names are given.
        FileNotFoundError, PermissionError: tracefs is not mounted, or closed to this user.
    """
    root = os.path.join(_tracefs(tracefs), "events")
    identity = contents(os.path.join(root, system, name, "id"))
    if identity.isdecimal():
        return int(identity)
    systems = _open_directory(root)
    if system in systems:
        raise ValueError(f"no tracepoint {system}:{name}{nearest(name, listed(os.path.join(root, system)))}")
    raise ValueError(f"no tracepoint {system}:{name}, nor any of {system}{nearest(system, systems)}")


def tracepoints(*, tracefs: str | None = None) -> list[str]:
    """Return the kernel's tracepoints, each ``system:name``, in order; errors as for :func:`tracepoint_id`."""
    root = os.path.join(_tracefs(tracefs), "events")
    names = [(system, name) for system in _open_directory(root) for name in listed(os.path.join(root, system))]
    return [f"{system}:{name}" for system, name in names if os.path.exists(os.path.join(root, system, name, "id"))]


def _tracefs(root: str | None) -> str:
    return tracefs() if root is None else root


def _open_directory(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        hint = "tracefs is readable by root only, unless it is mounted with mode= or gid="
        errors.failed(error.errno or ENOENT, path, hint if error.errno == EACCES else "no tracefs is there")

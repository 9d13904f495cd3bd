"""Records of what exists before an event is enabled: the kernel's code, and the processes with their threads and maps.

They are as the kernel would have written them, but for the time, which is 0: perf then takes them in at once.
"""

from __future__ import annotations

import os
import re
from struct import Struct

from .._files import contents, listed, read_file
from .._native import lib
from ._encode import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..bindings import perf_event_attr_p

KERNEL_MAP = b"[kernel.kallsyms]_text"
_PIDS = Struct("=2I")
_MMAP = Struct("=2I3Q")  # pid, tid, address, length, offset
_MMAP2 = Struct("=2I3Q2I2Q2I")  # and then the file: major, minor, inode, its generation; protection and flags
_FORK = Struct("=4IQ")  # pid, ppid, tid, ptid, time
_KERNEL, _USER = lib.PERF_RECORD_MISC_KERNEL, lib.PERF_RECORD_MISC_USER
_THE_KERNELS_PID = 0xFFFFFFFF
_PROT = {b"r": 1, b"w": 2, b"x": 4}  # PROT_READ, PROT_WRITE, PROT_EXEC
_MAP_SHARED, _MAP_PRIVATE = 1, 2
_MAP_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (...)(.) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")
_LONGEST_NAME = 4096 + 16  # PATH_MAX, and " (deleted)"
# The fields of a sample_id_all trailer; each has 8 bytes.
_TRAILER = (
    lib.PERF_SAMPLE_TID | lib.PERF_SAMPLE_TIME | lib.PERF_SAMPLE_ID | lib.PERF_SAMPLE_STREAM_ID | lib.PERF_SAMPLE_CPU
) | lib.PERF_SAMPLE_IDENTIFIER


class Synthesizer:
    """Makes records whose ``sample_id_all`` trailer is that of *attr*."""

    def __init__(self, attr: perf_event_attr_p) -> None:
        self._size = 8 * (attr.sample_type & _TRAILER).bit_count() if attr.sample_id_all else 0
        self._has_tid = bool(attr.sample_type & lib.PERF_SAMPLE_TID)

    def _record(self, kind: int, misc: int, body: bytes, pid: int, tid: int) -> bytes:
        # In the trailer pid and tid are first; the others (time, ids, CPU) are 0, as perf writes them.
        trailer = (_PIDS.pack(pid, tid) if self._has_tid else b"") + bytes(self._size)
        return record(kind, misc, body, trailer[: self._size])

    def kernel(self) -> Iterator[bytes]:
        """Yield the maps of the kernel and of its modules; none if /proc does not show this user their addresses."""
        if area := _kernel_text():
            begin, end = area
            yield self._kernel_map(begin, end - begin, begin, KERNEL_MAP)
        paths = _module_paths()
        for line in contents("/proc/modules").splitlines():
            name, size, *_, address = line.split(" (")[0].split()
            if begin := int(address, 16):
                path = paths.get(name, f"[{name}]")
                yield self._kernel_map(begin, int(size), 0, os.fsencode(path))

    def _kernel_map(self, begin: int, size: int, offset: int, name: bytes) -> bytes:
        body = _MMAP.pack(_THE_KERNELS_PID, 0, begin, size, offset) + name + b"\0"
        return self._record(lib.PERF_RECORD_MMAP, _KERNEL, body, 0, 0)

    def process(self, pid: int) -> Iterator[bytes]:
        """Yield the records of a process: FORK and COMM of each thread, and the executable maps.

        There are none if the process has ended meanwhile, no maps if this user may not see them.
        """
        status = read_file(f"/proc/{pid}/status")
        found = re.search(rb"^PPid:\s*(\d+)$", status, re.MULTILINE)
        if not found:
            return
        parent = int(found[1])
        for tid in sorted(map(int, listed(f"/proc/{pid}/task"))):
            comm = read_file(f"/proc/{pid}/task/{tid}/comm").removesuffix(b"\n")
            ppid, ptid = (parent, parent) if tid == pid else (pid, pid)
            # The bit says that the maps of the parent are not inherited: those of this process follow.
            misc = lib.PERF_RECORD_MISC_FORK_EXEC if tid == pid else 0
            yield self._record(lib.PERF_RECORD_FORK, misc, _FORK.pack(pid, ppid, tid, ptid, 0), pid, tid)
            if comm:  # the thread has not ended meanwhile
                yield self._record(lib.PERF_RECORD_COMM, 0, _PIDS.pack(pid, tid) + comm + b"\0", pid, tid)
        for line in read_file(f"/proc/{pid}/maps").split(b"\n"):
            if (mapped := _MAP_LINE.fullmatch(line)) and b"x" in mapped[3]:
                yield self._record(lib.PERF_RECORD_MMAP2, _USER, _mmap2(pid, mapped), pid, pid)


def processes() -> list[int]:
    """Return the pids of all processes that this user can see."""
    return sorted(int(name) for name in listed("/proc") if name.isascii() and name.isdecimal())


def module_name(path: str) -> str:
    """Return the name of a kernel module by the path of its file, or by ``[name]``, which stands for one without a file."""
    return os.path.basename(path).partition(".ko")[0].strip("[]").replace("-", "_")


def _mmap2(pid: int, mapped: re.Match[bytes]) -> bytes:
    begin, end, prot, sharing, offset, major, minor, inode, name = mapped.groups()
    address = int(begin, 16)
    body = _MMAP2.pack(
        *(pid, pid, address, int(end, 16) - address, int(offset, 16)),
        *(int(major, 16), int(minor, 16), int(inode), 0),
        *(
            sum(bit for letter, bit in _PROT.items() if letter in prot),
            _MAP_SHARED if sharing == b"s" else _MAP_PRIVATE,
        ),
    )
    # Of a file's name the kernel escapes only newlines here; memory without a name has perf's name for it.
    name = name.replace(rb"\012", b"\n") or b"//anon"
    return body + name[:_LONGEST_NAME] + b"\0"


def _kernel_text() -> tuple[int, int] | None:
    """Return begin and end of the kernel's code; None where /proc/kallsyms is not there, or shows no addresses."""
    begin, size = 0, _kernel_text_size()
    for line in _lines("/proc/kallsyms"):
        address, _, name = line.split()[:3]
        if not begin and name in (b"_text", b"_stext"):
            begin = int(address, 16)
            if not begin:  # this user may not see addresses (kernel.kptr_restrict)
                return None
            if size:
                return begin, begin + size
        elif name == b"_etext" and begin:
            return begin, int(address, 16)
    return None


def _kernel_text_size() -> int:
    """Return the size of the kernel's code where /proc/iomem tells, as it does to root on many architectures; otherwise 0.

    /proc/kallsyms tells as well, but ``_etext`` is some hundred thousand lines down: the kernel takes 0.15 seconds for
    these.
    """
    found = re.search(r"([0-9a-f]+)-([0-9a-f]+) : Kernel code", contents("/proc/iomem"))
    begin, last = (int(found[1], 16), int(found[2], 16)) if found else (0, 0)
    return last + 1 - begin if last else 0


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb", buffering=4096) as file:
            yield from file
    except OSError:
        return


def _module_paths() -> dict[str, str]:
    """Return the files of the modules that are installed for the running kernel, by the modules' names."""
    directory = f"/lib/modules/{os.uname().release}"
    paths = [line.split(":")[0] for line in contents(f"{directory}/modules.dep").splitlines()]
    return {module_name(path): os.path.join(directory, path) for path in paths}

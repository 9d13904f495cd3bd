"""Read the build ids of binaries: the identity that the linker writes into an ELF note, and perf finds symbols by."""

from __future__ import annotations

import os
import sys
from stat import S_ISREG
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class

from .._files import read_file

_IDENT = b"\x7fELF"
_IS_64, _BYTE_ORDER = 4, 5  # places in the header: 2 is 64 bits; 1 is little-endian, 2 big-endian
# Of the header: where the program headers are, and their size and number. Of a program header: type, offset, size.
_HEADERS = {1: (Struct("=28xI10x2H"), Struct("=2I8xI")), 2: (Struct("=32xQ14x2H"), Struct("=I4xQ16xQ"))}
_PT_NOTE, _NT_GNU_BUILD_ID = 4, 3
_NOTE = Struct("=3I")  # size of the name, size of the content, type
_MOST_BYTES = 1 << 16  # that are read of the program headers, or of a segment of notes: they have some hundred
_LONGEST = 20  # that perf has room for


def of_file(path: bytes) -> bytes:
    """Return the build id of an ELF file of this machine's byte order; b"" if it has none, or cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # O_NONBLOCK: opening a FIFO must not wait
    except (OSError, ValueError):
        return b""
    try:
        return _read(fd) if S_ISREG(os.fstat(fd).st_mode) else b""
    except (OSError, StructError, OverflowError):  # a file that is cut, or nonsense
        return b""
    finally:
        os.close(fd)


def of_kernel() -> bytes:
    """Return the build id of the running kernel; b"" if sysfs does not tell."""
    return _in_notes(read_file("/sys/kernel/notes"))


def of_module(name: str) -> bytes:
    """Return the build id of a loaded kernel module; b"" if sysfs does not tell."""
    return _in_notes(read_file(f"/sys/module/{name}/notes/.note.gnu.build-id"))


def _read(fd: int) -> bytes:
    ident = os.pread(fd, 64, 0)
    native = 1 if sys.byteorder == "little" else 2
    if len(ident) < 64 or ident[:4] != _IDENT or ident[_BYTE_ORDER] != native or ident[_IS_64] not in _HEADERS:
        return b""
    header, segment = _HEADERS[ident[_IS_64]]
    begin, size, count = header.unpack_from(ident)
    table = os.pread(fd, min(size * count, _MOST_BYTES), begin)
    for place in range(0, len(table) - segment.size + 1, max(size, segment.size)):
        kind, offset, length = segment.unpack_from(table, place)
        if kind == _PT_NOTE and (found := _in_notes(os.pread(fd, min(length, _MOST_BYTES), offset))):
            return found
    return b""


def _in_notes(notes: bytes) -> bytes:
    """Return the build id that is among ELF notes; each part of a note is padded to a multiple of 4 bytes."""
    place = 0
    while place + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, place)
        place += _NOTE.size
        name, place = notes[place : place + name_size], place + -(-name_size // 4) * 4
        if kind == _NT_GNU_BUILD_ID and name == b"GNU\0":
            return notes[place : place + size][:_LONGEST]
        place += -(-size // 4) * 4
    return b""

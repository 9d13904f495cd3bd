"""Open a perf.data file, or a stream of the same, for reading."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from errno import EISDIR
from io import FileIO, TextIOBase
from itertools import chain
from mmap import ACCESS_READ, mmap
from stat import S_ISREG

from .. import records
from ..errors import failed
from ._attrs import damaged, ends
from ._layout import MAGIC, OTHER_BYTE_ORDER, PIPE_HEADER, VERSION_1
from ._source import BLOCK, Mapped, Streamed
from ._stream import joined, only_tells, pieces
from ._tables import FileTables, StreamTables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import RawIOBase
    from typing import Any, BinaryIO

    import numpy

    from ..bindings import perf_event_attr_p
    from ._event import Event
    from ._stream import Auxtrace, Piece


class Reader:
    """A perf.data file that is open, from :func:`open`; a context manager, which closes it at the end.

    What is kept of it stays valid after that: a mapping goes when the last view of it does.
    """

    def __init__(self, tables: FileTables | StreamTables, sources: Callable[[], list[Mapped]], stream: Any) -> None:
        """See :func:`open`. *stream* has the pieces of a stream; it is None if the records are in memory."""
        self._tables: FileTables | StreamTables | None = tables
        self._sources = sources
        self._stream: Iterator[Piece] | None = stream
        self._stack = ExitStack()

    def close(self) -> None:
        """Close the file, if :func:`open` has opened it."""
        self._tables = self._stream = None
        self._sources = list
        self._stack.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_tables(self) -> FileTables | StreamTables:
        if self._tables is None:
            raise ValueError("the reader is closed")
        return self._tables

    @property
    def events(self) -> list[Event]:
        """The events. Of a stream: those that it has told of so far, mostly all at the beginning."""
        return self._open_tables().events()

    @property
    def attr(self) -> perf_event_attr_p | dict[int, perf_event_attr_p]:
        """What ``records.parse`` and the others take as *attr*: the attr of the one event, or ``{id: attr}``.

        Raises:
            ValueError: the file has no event.
        """
        return self._open_tables().attr()

    @property
    def features(self) -> dict[str | int, Any]:
        """What perf tells of the machine and the recording, by perf's names in lower case: see docs/perf_data.md.

        A feature that is not known is bytes, by its number. A file that was not closed has none. A stream has those
        that it has told of so far, mostly all at the beginning.

        Raises:
            ValueError: a feature is cut short, or the file ends before it.
        """
        return self._open_tables().features()

    def chunks(self) -> Iterator[memoryview]:
        """Yield the records in the order of the file, in buffers of whole records; perf's own types are among them.

        Each buffer can be given to the functions of ``records``. A buffer is a view of the mapped file, read-only and
        of 256 MiB at most. Compressed records are decompressed into buffers of 1 MiB and a little more. Those of a
        stream are as large as what came, 1 MiB at most as a rule. The data that follows a record of type TRACING_DATA
        or AUXTRACE, and that its size does not count, is in no buffer.

        A stream can be read once only: a second call goes on where the first was left.

        Raises:
            ValueError: no record can be at some place, which the message names, or the file ends in the middle of a
                record. The records before were yielded.
            ImportError: the records are compressed, and there is no zstd.
        """
        self._open_tables()
        found = self._pieces()
        if self._stream is None:
            return joined(found)
        return (piece.data for piece in found if not piece.auxtrace)

    def columns(self, fields: Iterable[str]) -> dict[str, numpy.ndarray[Any, Any]]:
        """Decode only some fields of every sample of the file, each field into a NumPy array of its own.

        This is ``records.columns`` of all chunks. Use that chunk by chunk where the arrays would become too large, or where
        the file is damaged and what comes before the damage is wanted.

        Args:
            fields: names of fields of ``struct perf_sample``, as in ``["ip", "pid", "tid", "time"]``.

        Raises:
            ValueError: as :attr:`attr`, :meth:`chunks` and ``records.columns``.
        """
        import numpy as np

        names = fields if isinstance(fields, str) else list(fields)
        parts = [records.columns(chunk, self.attr, names) for chunk in self.chunks()]
        if len(parts) == 1:
            return parts[0]
        parts = parts or [records.columns(b"", self.attr, names)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def auxtrace(self) -> Iterator[Auxtrace]:
        """Yield each PERF_RECORD_AUXTRACE, with the data that hardware such as Intel PT or Arm SPE has written.

        The data is a view of the mapped file. Of a stream, which can be read only once, the other records are lost.

        Raises:
            ValueError: as :meth:`chunks`.
        """
        self._open_tables()
        return (piece.auxtrace() for piece in self._pieces(decompress=False) if piece.auxtrace)

    def _pieces(self, *, decompress: bool = True) -> Iterator[Piece]:
        tables = self._open_tables()
        note = tables.note if isinstance(tables, StreamTables) else None
        found = self._stream or chain.from_iterable(
            pieces(source, note, decompress=decompress) for source in self._sources()
        )
        for piece in found:
            yield piece
            self._open_tables()


def open(file: str | bytes | os.PathLike[Any] | BinaryIO | RawIOBase) -> Reader:  # noqa: A001 - as gzip.open
    """Open a perf.data file, or a stream of the same, for reading.

    Nothing in the file is trusted: each size, count and offset is checked. The file must not become shorter while it is
    open, since it is mapped.

    Args:
        file: a path, or a file object in binary mode, which stays the caller's and is read from its position on. It may
            be a pipe, or a file that holds what perf wrote to one (``perf record -o -``). What comes through a pipe and
            was written as a file is read as a whole first. A directory is one that ``perf record --threads`` wrote.

    Raises:
        ValueError: the file is not perf's, is of the other byte order or of the format before 2010; or has an event
            that cannot be one. The message names the place.
        OSError: the file cannot be opened or read.
        TypeError: the file is open in text mode.
    """
    with ExitStack() as stack:
        others: list[str] = []
        if isinstance(file, (str, bytes, os.PathLike)):
            path = os.fsdecode(file)
            if os.path.isdir(path):
                others = _files_of_threads(path)
                path = os.path.join(path, "data")
            file = stack.enter_context(FileIO(path))
        elif isinstance(file, TextIOBase):
            raise TypeError("the file must be open in binary mode")
        data = _in_memory(file)
        if data is None:
            source = Streamed(getattr(file, "read1", file.read))
            is_stream = _is_stream(source.window(PIPE_HEADER.size))
            reader = _read_stream(source) if is_stream else _read_file(source.rest(), [])
        elif _is_stream(data):
            reader = _read_stored_stream(data)
        else:
            reader = _read_file(data, [_mapped(name) for name in others])
        reader._stack = stack.pop_all()
    return reader


def _files_of_threads(path: str) -> list[str]:
    """Return the files with the records of the threads of ``perf record --threads`` in a directory that it wrote."""
    names = os.listdir(path)
    if "data" not in names:
        failed(
            EISDIR, f"perf_data.open({path!r})", "perf record --threads writes directories, with a file data in them"
        )
    found = [name for name in names if name.startswith("data.") and name[5:].isdecimal()]
    return [os.path.join(path, name) for name in sorted(found, key=lambda name: int(name[5:]))]


def _in_memory(file: Any) -> memoryview | None:
    """Return what is in a file from its position on, if it can be had at once; None for a pipe."""
    raw = getattr(file, "raw", file)
    if isinstance(raw, FileIO):
        status = os.fstat(raw.fileno())
        if not S_ISREG(status.st_mode):
            return None  # a device may be seekable, and have no end
        begin = file.tell()
        if begin >= status.st_size:
            return memoryview(b"")
        mapping = mmap(raw.fileno(), 0, access=ACCESS_READ)  # there until the last view of it goes
        return memoryview(mapping)[begin:]
    if file.seekable():  # io.BytesIO, or one that decompresses
        return memoryview(file.read())
    return None


def _mapped(path: str) -> memoryview:
    with FileIO(path) as file:
        return _in_memory(file) or memoryview(b"")


def _is_stream(data: memoryview) -> bool:
    """Check the first bytes of a perf.data file; tell whether it has the header of a stream."""
    magic = bytes(data[: len(MAGIC)])
    if magic == OTHER_BYTE_ORDER:
        damaged(0, f"it was written on a machine that is not {sys.byteorder}-endian: read it on one of its own kind")
    if magic == VERSION_1:
        damaged(0, "the file is of the format before Linux 2.6.33 (PERFFILE), which perf itself reads no longer")
    if magic != MAGIC:
        damaged(0, f"this is no perf.data file: it begins with {magic!r}, not with {MAGIC!r}")
    if len(data) < PIPE_HEADER.size:
        ends(len(data), "its header")
    return bool(PIPE_HEADER.unpack_from(data)[1] == PIPE_HEADER.size)


def _read_file(data: memoryview, others: list[memoryview]) -> Reader:
    tables = FileTables(data)
    end = tables.begin + tables.size
    records, missing = data[tables.begin : end], max(0, end - len(data))

    def sources() -> list[Mapped]:
        main = Mapped(records, tables.begin, missing=missing, is_closed=tables.is_closed)
        return [main, *(Mapped(other, 0, is_closed=tables.is_closed) for other in others)]

    return Reader(tables, sources, None)


def _read_stream(source: Streamed) -> Reader:
    tables = StreamTables()
    source.skip(PIPE_HEADER.size)
    found = pieces(source, tables.note)
    first = _read_tables(found)
    return Reader(tables, list, chain(first, found))


def _read_stored_stream(data: memoryview) -> Reader:
    tables = StreamTables()
    _read_tables(pieces(Mapped(data[PIPE_HEADER.size :], PIPE_HEADER.size, window=BLOCK), tables.note))
    return Reader(tables, lambda: [Mapped(data[PIPE_HEADER.size :], PIPE_HEADER.size)], None)


def _read_tables(found: Iterator[Piece]) -> list[Piece]:
    """Return the pieces at the beginning of a stream, up to the first with a record that does not tell of the stream."""
    first = []
    for piece in found:
        first.append(piece)
        if not only_tells(piece.data):
            break
    return first

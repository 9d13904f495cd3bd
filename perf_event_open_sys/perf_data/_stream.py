"""Go through the records of a perf.data file, in pieces of many records each."""

from __future__ import annotations

from struct import Struct

from .._buffers import from_buffer
from .._namedtuple import NamedTuple
from .._native import ffi, lib
from ._attrs import FileEnds, damaged, ends
from ._decompress import COMPRESSED2, Decompressor, has_no_size, is_part
from ._layout import (
    PERF_RECORD_AUXTRACE,
    PERF_RECORD_COMPRESSED,
    PERF_RECORD_COMPRESSED2,
    PERF_RECORD_EVENT_UPDATE,
    PERF_RECORD_HEADER_ATTR,
    PERF_RECORD_HEADER_BUILD_ID,
    PERF_RECORD_HEADER_FEATURE,
    PERF_RECORD_HEADER_TRACING_DATA,
    PERF_RECORD_USER_TYPE_START,
    RECORD_HEADER,
)
from ._source import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._source import Mapped, Streamed

    _Note = Callable[[int, memoryview, int], None]

_AUXTRACE = Struct("=IHHQQQ4I")  # header; size, offset, reference; idx, tid, cpu, 0
_TRACING_DATA = Struct("=IHHI")  # header, size
_SMALL = 1 << 16  # a view of fewer bytes is copied where pieces are joined


def only_tells(data: memoryview) -> bool:
    """Tell whether *data* has only records in it that tell of events and features."""
    at = 0
    while at < len(data):
        kind, _, size = RECORD_HEADER.unpack_from(data, at)
        if kind not in _TELLING:
            return False
        at += size
    return True


def _mask(*types: int) -> int:
    return sum(1 << one - PERF_RECORD_USER_TYPE_START for one in types)


_WITH_DATA = (PERF_RECORD_HEADER_TRACING_DATA, PERF_RECORD_AUXTRACE)
_COMPRESSED = (PERF_RECORD_COMPRESSED, PERF_RECORD_COMPRESSED2)
# The types of records that tell of events and features in a stream, where a file has them in tables.
_TELLING = (
    *(PERF_RECORD_HEADER_ATTR, PERF_RECORD_HEADER_BUILD_ID, PERF_RECORD_EVENT_UPDATE, PERF_RECORD_HEADER_FEATURE),
    PERF_RECORD_HEADER_TRACING_DATA,
)
_OF_FILES = _mask(*_WITH_DATA, *_COMPRESSED)
_OF_STREAMS = _OF_FILES | _mask(*_TELLING)


class Auxtrace(NamedTuple):
    """A PERF_RECORD_AUXTRACE with its data, which is what hardware such as Intel PT or Arm SPE wrote."""

    offset: int  # of the data in all of the AUX ring's
    reference: int
    idx: int
    tid: int
    cpu: int
    data: memoryview


class Piece(NamedTuple):
    """Whole records; or, if *auxtrace* is not None, one PERF_RECORD_AUXTRACE in *data* whose own data comes next."""

    data: memoryview
    is_copy: bool = False
    auxtrace: Callable[[], Auxtrace] | None = None


def pieces(source: Mapped | Streamed, note: _Note | None = None, *, decompress: bool = True) -> Iterator[Piece]:
    """Yield the records of *source* in pieces.

    A piece of a mapping is a view of it. It ends at a record that is compressed, or that is followed by data that its
    size does not count: this data is passed over, except if the caller takes it.

    Args:
        source: where the next record begins.
        note: is called with each record of a stream that tells of events and features: with its type, its bytes (of
            TRACING_DATA: the data that follows it), and its offset in the file.
        decompress: False passes over compressed records.

    Raises:
        ValueError: no record can be at some place, which the message names. Those before it were yielded.
        ImportError: the records are compressed, and there is no zstd.
    """
    try:
        yield from _pieces(source, note, decompress=decompress)
    except FileEnds:
        if source.is_closed:
            raise


def _pieces(source: Mapped | Streamed, note: _Note | None, *, decompress: bool) -> Iterator[Piece]:
    decompressor = Decompressor()
    types, wanted = (_OF_STREAMS if note else _OF_FILES), 1
    while len(view := source.window(wanted)):
        end, kind = _run(view, types, note, source.offset)
        if kind in _COMPRESSED:
            if end:
                yield Piece(view[:end])
                source.skip(end)
            yield from _decompressed(source, decompressor, decompress=decompress)
        elif kind in _WITH_DATA:
            size = RECORD_HEADER.unpack_from(view, end)[-1]
            yield Piece(view[: end + size])
            record = view[end : end + size]
            source.skip(end + size)
            yield from _with_data(source, kind, record, note)
        elif end:
            yield Piece(view[:end])
            source.skip(end)
        elif not is_part(view):
            damaged(source.offset, "no record can be here: its size is below 8, or no multiple of 8")
        elif len(view) < wanted:
            ends(source.offset + len(view), f"the record at byte {source.offset}")
        else:
            size = RECORD_HEADER.unpack_from(view)[-1] if len(view) >= RECORD_HEADER.size else RECORD_HEADER.size
            wanted = size or COMPRESSED2.size
            continue
        wanted = 1
    decompressor.finish(source.offset)
    source.finish()


def _run(view: memoryview, types: int, note: _Note | None, begin: int) -> tuple[int, int]:
    """Return where a run of records ends in *view*, which is at byte *begin* of the file.

    Also returned is the type of the record there, if that is compressed or followed by data; 0 if no whole record is there.
    """
    base, end = from_buffer(view), ffi.new("size_t *")
    while (size := lib.records_find(base, len(view), end, types)) > 0:
        at = end[0]
        kind: int = RECORD_HEADER.unpack_from(view, at)[0]
        if kind in _COMPRESSED or kind in _WITH_DATA:
            return at, kind
        if note:
            try:
                note(kind, view[at : at + size], begin + at)
            except ValueError:
                if not at:
                    raise
                return at, 0  # the records before it are yielded first; then it is the first in the view
        end[0] = at + size
    at = end[0]
    return at, PERF_RECORD_COMPRESSED2 if size < 0 and has_no_size(view[at : at + COMPRESSED2.size]) else 0


def _decompressed(source: Mapped | Streamed, decompressor: Decompressor, *, decompress: bool) -> Iterator[Piece]:
    """Decompress the record that comes next in *source*, and pass over it."""
    begin, end, size = decompressor.locate(source.window(COMPRESSED2.size), source.offset)
    view = source.window(size)
    if len(view) < size:
        ends(source.offset + len(view), f"the record at byte {source.offset}")
    if decompress:
        for data in decompressor.feed(view[begin:end], source.offset):
            yield Piece(data, is_copy=True)
    source.skip(size)


def _with_data(source: Mapped | Streamed, kind: int, record: memoryview, note: _Note | None) -> Iterator[Piece]:
    """Pass over the data that follows *record*; of an AUXTRACE, yield a piece before."""
    at = source.offset - len(record)
    layout = _AUXTRACE if kind == PERF_RECORD_AUXTRACE else _TRACING_DATA
    if len(record) < layout.size:
        damaged(at, f"a record of type {kind} and {len(record)} bytes: it has {layout.size} at least")
    _, _, _, size, *told = layout.unpack_from(record)
    begin = source.offset
    if kind == PERF_RECORD_AUXTRACE:
        offset, reference, idx, tid, cpu, _ = told
        yield Piece(record, auxtrace=lambda: Auxtrace(offset, reference, idx, tid, cpu, source.take(size)))
    else:
        size = (size + 7) // 8 * 8
        if note:
            note(kind, source.take(size), begin)
    left = begin + size - source.offset
    source.skip(left)
    if source.offset < begin + size:
        ends(source.offset, f"the data of the record at byte {at}")


def joined(found: Iterator[Piece]) -> Iterator[memoryview]:
    """Yield the records of all pieces; from the first that is a copy on, small pieces are joined to larger buffers."""
    parts: list[memoryview] = []
    size, damage, with_copies = 0, None, False
    try:
        for piece in found:
            if piece.auxtrace:
                continue
            with_copies = with_copies or piece.is_copy
            small = piece.is_copy or (with_copies and len(piece.data) < _SMALL)
            if small:
                parts.append(piece.data)
                size += len(piece.data)
            if size and (size >= BLOCK or not small):
                yield _join(parts)
                parts, size = [], 0
            if not small:
                yield piece.data
    except ValueError as error:
        damage = error  # what came before it is delivered first
    if size:
        yield _join(parts)
    if damage:
        try:
            raise damage
        finally:
            damage = None  # or the exception and this frame would keep each other, and with them a mapping and its file


def _join(parts: list[memoryview]) -> memoryview:
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))

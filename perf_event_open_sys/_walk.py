"""Go through the records of a buffer, each a pointer to the struct of its type. ``records`` exports the functions."""

from __future__ import annotations

from ._buffers import from_buffer
from ._memory import keeping, owner_of
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import numpy

    from ._native import _Buffer
    from .bindings import CData, perf_event_header_p, perf_record_p, perf_sample_p

_HEADER = ffi.typeof("struct perf_event_header *")
_UNKNOWN = ffi.typeof("struct perf_record_unknown *")
_BATCH = 256  # how many records iterate() finds in one call into C
_structs: dict[int, Any] = {}  # record type -> the ctype of a pointer to its struct; filled at the first use
_NAME_FIELDS = {
    "struct perf_record_mmap *": "filename",
    "struct perf_record_mmap2 *": "filename",
    "struct perf_record_comm *": "comm",
    "struct perf_record_ksymbol *": "name",
    "struct perf_record_cgroup *": "path",
}


class CorruptRecord(ValueError):
    """The bytes at ``offset`` cannot be a record, or cannot be a record of the given attr.

    ``offset`` is in bytes from the start of the buffer (from ``ring``: of the data ring). Before it, ``n_samples``
    samples were decoded: those of ``records.parse_into`` are in its *out*; ``records.parse`` sets ``samples`` to them,
    and ``records.columns`` sets ``columns`` to the arrays.
    """

    def __init__(self, offset: int, n_samples: int = 0) -> None:
        """Describe the record at *offset*."""
        super().__init__(f"the record at offset {offset} is corrupt, or not of the given attr")
        self.offset = offset
        self.n_samples = n_samples
        self.samples: Sequence[perf_sample_p] | None = None
        self.columns: dict[str, numpy.ndarray[Any, Any]] | None = None


def iterate(buffer: _Buffer) -> Iterator[perf_record_p]:
    """Yield each record of *buffer* as a pointer to the struct of its type; the pointer keeps the buffer alive.

    A record of a type that these headers do not know is yielded as a ``struct perf_record_unknown *``: one of a later
    kernel, or one that the perf tool adds to its files (type 64 and above).

    Args:
        buffer: whole records, as ``ring.read_into`` leaves them.

    Raises:
        CorruptRecord: the next bytes can be no record. The records before them were yielded.
    """
    structs = _structs or _find_structs()
    base = from_buffer(buffer)
    keep = keeping(base)
    types, addresses, offset = ffi.new("uint32_t[]", _BATCH), ffi.new("uintptr_t[]", _BATCH), ffi.new("size_t *")
    while found := lib.records_walk(base, len(base), offset, types, addresses, _BATCH):
        if found < 0:
            raise CorruptRecord(offset[0])
        for kind, address in zip(ffi.unpack(types, found), ffi.unpack(addresses, found), strict=True):
            yield ffi.gc(ffi.cast(structs.get(kind, _UNKNOWN), address), keep)


def at(buffer: _Buffer, offset: int) -> perf_record_p:
    """Return the record at *offset* as a pointer to the struct of its type, as :func:`iterate` yields it.

    Args:
        buffer: whole records, as ``ring.read_into`` leaves them.
        offset: where the record begins, in bytes; for example the ``offset`` of a sample.

    Raises:
        CorruptRecord: no record can be there.
    """
    base = from_buffer(buffer)
    if not 0 <= offset < len(base):
        raise CorruptRecord(offset)
    begin, kind, address = ffi.new("size_t *", offset), ffi.new("uint32_t *"), ffi.new("uintptr_t *")
    if lib.records_walk(base, len(base), begin, kind, address, 1) < 1:
        raise CorruptRecord(offset)
    struct = (_structs or _find_structs()).get(kind[0], _UNKNOWN)
    record: perf_record_p = ffi.gc(ffi.cast(struct, address[0]), keeping(base))
    return record


def _find_structs() -> dict[int, Any]:
    types = ffi.typeof("enum perf_event_type").elements.items()
    tags = {value: name.removeprefix("PERF_RECORD_").lower() for value, name in types}
    del tags[lib.PERF_RECORD_MAX]
    names: dict[int, Any] = {value: f"struct perf_record_{tag} *" for value, tag in tags.items()}
    _structs.update({value: ffi.typeof(name) for value, name in names.items()})
    return _structs


def header_of(record: Any) -> tuple[perf_event_header_p, int]:
    """Return a pointer to the header of a record, and how many bytes of the record may be read.

    That is ``header.size``; but of a record from :func:`iterate` at most what its buffer has from there on, since the
    bytes of the header may have been changed after they were checked.
    """
    kind = ffi.typeof(record) if isinstance(record, ffi.CData) else None
    if kind is None or not (kind is _HEADER or kind is _UNKNOWN or kind in (_structs or _find_structs()).values()):
        raise TypeError(f"record must be a pointer to a record, not {kind.cname if kind else type(record).__name__}")
    if not record:
        raise TypeError("record must be a pointer to a record, not NULL")
    header = ffi.cast(_HEADER, record)
    size = header.size
    owner = owner_of(record)
    if owner is not None:
        size = min(size, len(owner) - (_address(record) - _address(owner)))
    return header, size


def _address(pointer: CData) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def name(record: perf_record_p) -> bytes:
    """Return the name at the end of an mmap, mmap2, comm, ksymbol or cgroup record, up to its first NUL.

    Raises:
        TypeError: *record* is of another type, or no record.
    """
    _, size = header_of(record)
    kind = ffi.typeof(record)
    field = _NAME_FIELDS.get(kind.cname)
    if field is None:
        raise TypeError(f"{kind.cname} carries no name")
    room = size - ffi.offsetof(kind.item, field)
    return bytes(ffi.string(getattr(record, field), room)) if room > 0 else b""

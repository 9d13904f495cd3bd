"""Tell the samples of a buffer, of which there are many, from its other records, of which a writer looks at each."""

from __future__ import annotations

from .._buffers import from_buffer
from .._native import ffi, lib
from .._walk import CorruptRecord, at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._native import _Buffer
    from ..bindings import perf_record_p

_BATCH = 1024  # how many records are looked at in one call into C
_TYPES, _ADDRESSES, _OFFSET = ffi.typeof("uint32_t[]"), ffi.typeof("uintptr_t[]"), ffi.typeof("size_t *")
_SAMPLE = bytes(ffi.buffer(ffi.new("uint32_t *", lib.PERF_RECORD_SAMPLE)))


def sift(buffer: _Buffer) -> tuple[int, list[perf_record_p]]:
    """Return the number of samples in *buffer*, and its other records, each as ``records.iterate`` yields it.

    Raises:
        CorruptRecord: the buffer does not consist of whole records.
    """
    base = from_buffer(buffer)
    begin = int(ffi.cast("uintptr_t", base))
    types, addresses, offset = ffi.new(_TYPES, _BATCH), ffi.new(_ADDRESSES, _BATCH), ffi.new(_OFFSET)
    n_samples, others = 0, []
    while found := lib.records_walk(base, len(base), offset, types, addresses, _BATCH):
        if found < 0:
            raise CorruptRecord(offset[0], n_samples)
        # Most often all are samples, which bytes.count() finds out faster than a loop.
        if bytes(ffi.buffer(types, 4 * found)).count(_SAMPLE) == found:
            n_samples += found
            continue
        kinds = ffi.unpack(types, found)
        places = [place for place, kind in enumerate(kinds) if kind != lib.PERF_RECORD_SAMPLE]
        others += [at(buffer, addresses[place] - begin) for place in places]
        n_samples += found - len(places)
    return n_samples, others


def whole_records(buffer: _Buffer, size: int) -> int:
    """Return the size of as many leading records of *buffer* as fit into *size* bytes."""
    base = from_buffer(buffer)
    types, addresses, offset = ffi.new(_TYPES, _BATCH), ffi.new(_ADDRESSES, _BATCH), ffi.new(_OFFSET)
    while lib.records_walk(base, max(0, min(size, len(base))), offset, types, addresses, _BATCH) > 0:
        pass
    return offset[0]

"""Tell the samples of a buffer, of which there are many, from its other records, of which a writer looks at each."""

from __future__ import annotations

from .._buffers import from_buffer
from .._memory import new_uncleared
from .._native import ffi, lib
from .._walk import CorruptRecord, at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._native import _Buffer
    from ..bindings import perf_record_p

_BATCH = 8192  # how many records are looked at in one call into C
_TYPES, _ADDRESSES, _OFFSET = ffi.typeof("uint32_t[]"), ffi.typeof("uintptr_t[]"), ffi.typeof("size_t *")
_SAMPLES = bytes(ffi.buffer(ffi.new(_TYPES, [lib.PERF_RECORD_SAMPLE] * _BATCH)))


def sift(buffer: _Buffer) -> tuple[int, list[perf_record_p]]:
    """Return the number of samples in *buffer*, and its other records, each as ``records.iterate`` yields it.

    Raises:
        CorruptRecord: the buffer does not consist of whole records.
    """
    base = from_buffer(buffer)
    begin = int(ffi.cast("uintptr_t", base))
    types, addresses = new_uncleared(_TYPES, _BATCH), new_uncleared(_ADDRESSES, _BATCH)
    offset = ffi.new(_OFFSET)
    n_samples, others = 0, []
    while found := lib.records_walk(base, len(base), offset, types, addresses, _BATCH):
        if found < 0:
            raise CorruptRecord(offset[0], n_samples)
        # Most often all are samples, which a comparison of bytes finds out much faster than a loop.
        if bytes(ffi.buffer(types, 4 * found)) == _SAMPLES[: 4 * found]:
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
    types, addresses = new_uncleared(_TYPES, _BATCH), new_uncleared(_ADDRESSES, _BATCH)
    offset = ffi.new(_OFFSET)
    while lib.records_walk(base, max(0, min(size, len(base))), offset, types, addresses, _BATCH) > 0:
        pass
    return offset[0]

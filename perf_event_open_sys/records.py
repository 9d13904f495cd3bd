"""Turn the bytes of a ring into structs: each record into that of its type, each sample into a ``struct perf_sample``.

In all functions, *buffer* is anything with the buffer protocol that holds whole records, as ``ring.read_into`` leaves
them. *attr* is the attr that the event was opened with, or, if several events share the ring, a mapping ``{id: attr}``.
Every size, count and offset in the bytes is checked before it is used.

Source: the kernel's ``perf_output_sample``, ``perf_event__output_id_sample`` (7.3). They write the fields in another
order than the comments of ``<linux/perf_event.h>`` say.
"""

from __future__ import annotations

from _collections_abc import Sequence  # collections.abc would import collections
from errno import EBADMSG, ENOENT

from ._buffers import array, from_buffer
from ._memory import keeping, new_uncleared
from ._native import ffi, lib
from ._pointers import attr_pointer, sample_pointer, samples_array
from ._walk import CorruptRecord, at, header_of, iterate, name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, NoReturn, TypeVar, overload

    import numpy

    from ._native import _Buffer, _Name
    from .bindings import (
        CData,
        CType,
        char_a,
        perf_branch_entry_a,
        perf_counts_p,
        perf_event_attr_p,
        perf_event_header_p,
        perf_record_p,
        perf_sample_a,
        perf_sample_p,
        perf_sample_s,
        records_event_a,
        uint64_t_a,
    )

    _C = TypeVar("_C", bound=CData)
    _Sample = perf_sample_p | perf_sample_s
    _Attr = perf_event_attr_p | Mapping[int, perf_event_attr_p]

__all__ = [
    "CorruptRecord",
    "Samples",
    "at",
    "aux",
    "branches",
    "callchain",
    "columns",
    "counts",
    "dtype",
    "intr_regs",
    "iterate",
    "name",
    "parse",
    "parse_into",
    "raw",
    "sample_id",
    "to_numpy",
    "user_regs",
    "user_stack",
]

_SAMPLE = ffi.typeof("struct perf_sample *")
_SAMPLES = ffi.typeof("struct perf_sample[]")
_WORDS = ffi.typeof("uint64_t[]")
_BRANCHES = ffi.typeof("struct perf_branch_entry[]")
# The fields that a sample has before those of variable length; each takes 8 bytes.
_FIXED = (
    lib.PERF_SAMPLE_IDENTIFIER | lib.PERF_SAMPLE_IP | lib.PERF_SAMPLE_TID | lib.PERF_SAMPLE_TIME | lib.PERF_SAMPLE_ADDR
) | (lib.PERF_SAMPLE_ID | lib.PERF_SAMPLE_STREAM_ID | lib.PERF_SAMPLE_CPU | lib.PERF_SAMPLE_PERIOD)
_SAMPLE_SIZE = ffi.sizeof(_SAMPLE.item)


class Samples(Sequence["perf_sample_p"]):
    """A sequence of samples, whose memory is one C array, ``cdata``.

    An element is a ``struct perf_sample *``, which keeps the array alive. A slice shares the memory if its step is 1,
    and is a copy otherwise.
    """

    __slots__ = ("_keep", "cdata")

    def __init__(self, cdata: perf_sample_a) -> None:
        """Make a sequence of a ``struct perf_sample[]``, whose memory it shares and keeps alive."""
        self.cdata: perf_sample_a = samples_array(cdata)
        self._keep = keeping(cdata)

    def __len__(self) -> int:
        return len(self.cdata)

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> perf_sample_p: ...
        @overload
        def __getitem__(self, index: slice) -> Samples: ...

    def __getitem__(self, index: int | slice) -> perf_sample_p | Samples:
        if not isinstance(index, slice):
            return ffi.gc(self.cdata + range(len(self))[index], self._keep)
        start, stop, step = index.indices(len(self))
        if step != 1:
            chosen = range(start, stop, step)
            rows = ffi.new(_SAMPLES, len(chosen))
            for place, i in enumerate(chosen):
                rows[place] = self.cdata[i]
            return Samples(rows)
        begin = ffi.gc(self.cdata + start, self._keep)
        return Samples(array(_SAMPLES, begin, max(0, stop - start) * _SAMPLE_SIZE))

    def __iter__(self) -> Iterator[perf_sample_p]:
        return (self[i] for i in range(len(self)))

    def sort_by_time(self) -> None:
        """Sort the samples by ``time``, in place. Samples of the same time keep their order; those without one have time 0.

        This is fast for samples of several rings, one ring after the other: each ring's are in order already, so that
        they need only be merged.
        """
        lib.records_sort(self.cdata, len(self), new_uncleared("struct records_key[]", 2 * len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} samples>"


def _events(attr: _Attr, *, trailer: bool = False) -> tuple[records_event_a, list[Any]]:
    """Return the given attrs as a ``records_event[]``, sorted by id, and the attrs that it points to.

    The caller holds on to the attrs as long as the array is used. With *trailer*, every attr must have
    ``sample_id_all``.
    """
    known = (lib.PERF_SAMPLE_MAX, lib.PERF_SAMPLE_BRANCH_MAX, lib.PERF_FORMAT_MAX)
    if isinstance(attr, ffi.CData):
        pairs = [(0, attr)]
    elif hasattr(attr, "items"):
        pairs = sorted(attr.items(), key=lambda pair: pair[0])
    else:
        raise TypeError(
            f"attr must be a struct perf_event_attr * or a mapping of ids to them, not {type(attr).__name__}"
        )
    if not pairs:
        raise ValueError("no attr is given")
    pairs = [(identity, attr_pointer(one)) for identity, one in pairs]
    events = ffi.new("struct records_event[]", pairs)
    for _, one in pairs:
        for field, limit in zip(("sample_type", "branch_sample_type", "read_format"), known, strict=True):
            if getattr(one, field) >= limit:
                bit = getattr(one, field).bit_length() - 1
                raise ValueError(f"attr.{field} has bit {bit}, unknown to these headers: what follows cannot be found")
        if trailer and not one.sample_id_all:
            raise ValueError("attr.sample_id_all is not set: the records have no trailer")
    return events, pairs


def _stopped(offset: int, n_samples: int) -> NoReturn:
    """Raise the exception for ``ffi.errno``, which the C decoder has set at the record at *offset*."""
    if ffi.errno == EBADMSG:
        raise CorruptRecord(offset, n_samples)
    if ffi.errno == ENOENT:
        raise ValueError(f"the record at offset {offset} has an id that is none of the given events'")
    raise ValueError(
        "the attrs have their ids at different places (give all PERF_SAMPLE_IDENTIFIER), or the buffer is beyond 4 GiB"
    )


def parse_into(buffer: _Buffer, attr: _Attr, out: perf_sample_a, *, all_records: bool = False) -> tuple[int, int]:
    """Decode the samples of *buffer* into *out*; return how many samples these are, and how many bytes were consumed.

    If *out* is full before the end of *buffer*, the bytes from the next sample on are not consumed.

    Args:
        buffer: whole records, at most 4 GiB.
        attr: the event's attr, or ``{id: attr}`` for several events. The samples of several must have their id at the
            same place: give all of them ``PERF_SAMPLE_IDENTIFIER``.
        out: a ``struct perf_sample[]`` of the caller's.
        all_records: False passes over records that are no samples. True decodes them into elements of *out* too: these
            have ``type``, ``offset``, ``size``, ``misc`` and the fields of their ``sample_id_all`` trailer, as
            :func:`sample_id` returns them; the record itself is ``at(buffer, element.offset)``. If the id in a trailer
            is no event's, as the id 0 in records that the perf tool synthesises, the trailer is decoded by the first
            attr. The fields of the trailer are 0 for records that have none: those of the perf tool's own types (64 and
            above), and all if the first attr lacks ``sample_id_all``.

    Raises:
        CorruptRecord: a record is corrupt, or cannot be one of *attr*; the samples before it are in *out*.
        ValueError: an attr has bits that these headers do not know; a sample's id is not in the mapping; the ids are
            not at the same place; *buffer* has more than 4 GiB.

    Source: the kernel's ``perf_output_sample``, ``perf_event__output_id_sample``.
    """
    return _parse(from_buffer(buffer), attr, samples_array(out), all_records=all_records)


def _parse(base: char_a, attr: _Attr, out: perf_sample_a, *, all_records: bool) -> tuple[int, int]:
    events, _attrs = _events(attr)
    progress = ffi.new("size_t[]", 2)
    decode = lib.records_parse_all if all_records else lib.records_parse
    n_samples = decode(base, len(base), events, len(events), out, len(out), progress, progress + 1)
    if n_samples < 0:
        _stopped(progress[0], progress[1])
    return n_samples, progress[0]


def parse(buffer: _Buffer, attr: _Attr, *, all_records: bool = False) -> Samples:
    """Decode every sample of *buffer*, or, with *all_records*, every record, into a new array.

    Arguments and exceptions are those of :func:`parse_into`; the samples before a corrupt record are the exception's
    ``samples``.
    """
    base = from_buffer(buffer)
    room = (lib.records_count_all if all_records else lib.records_count)(base, len(base))
    samples = new_uncleared(_SAMPLES, room)
    lib.records_advise(samples, room)
    try:
        n, _ = _parse(base, attr, samples, all_records=all_records)
    except CorruptRecord as error:
        error.samples = Samples(samples)[: error.n_samples]
        raise
    return Samples(array(_SAMPLES, samples, n * _SAMPLE_SIZE))


def columns(buffer: _Buffer, attr: _Attr, fields: Iterable[str]) -> dict[str, numpy.ndarray[Any, Any]]:
    """Decode only some fields of every sample of *buffer*, each field into a NumPy array of its own.

    Args:
        buffer: whole records, as for :func:`parse`.
        attr: as for :func:`parse`.
        fields: names of fields of ``struct perf_sample``, as in ``["ip", "pid", "tid", "time"]``.

    Raises:
        CorruptRecord: as :func:`parse`; the exception's ``columns`` are the arrays up to the corrupt record.
        ValueError: ``struct perf_sample`` has no such field; and as :func:`parse`.
    """
    from ._numpy import column_arrays, column_formats

    base = from_buffer(buffer)
    events, attrs = _events(attr)
    # As many samples as the buffer can hold, and one more: what is corrupt behind the last is found only if room is left.
    smallest = min(8 + 8 * (one.sample_type & _FIXED).bit_count() for _, one in attrs)
    room, formats = len(base) // smallest + 1, column_formats(fields)
    if room * sum(one.itemsize for one in formats.values()) > len(base):  # too much for a bound: count
        room = lib.records_count(base, len(base)) + 1
    arrays, into = column_arrays(formats, room)
    progress = ffi.new("size_t[]", 2)
    n = lib.records_columns(base, len(base), events, len(events), into, len(into), room, progress, progress + 1)
    found = {name: array[: progress[1]] for name, array in arrays.items()}
    try:
        return found if n >= 0 else _stopped(progress[0], progress[1])
    except CorruptRecord as error:
        error.columns = found
        raise


def sample_id(record: perf_record_p | perf_event_header_p, attr: _Attr) -> perf_sample_p:
    """Return the ``sample_id_all`` trailer of a record, as a new ``struct perf_sample *``.

    Args:
        record: any record but a sample, as :func:`iterate` yields it.
        attr: as for :func:`parse_into`.

    Raises:
        CorruptRecord: the record is too short to have a trailer.
        ValueError: the record is a sample; an attr has no ``sample_id_all``; and as :func:`parse_into`.
    """
    header, size = header_of(record)
    if header.type == lib.PERF_RECORD_SAMPLE:
        raise ValueError("a PERF_RECORD_SAMPLE has no trailer: use parse")
    events, _attrs = _events(attr, trailer=True)
    out = ffi.new(_SAMPLE)
    if lib.records_sample_id(header, size, events, len(events), out) < 0:
        _stopped(0, 0)
    return out


def _checked(total: int, offset: int, size: int) -> None:
    if offset + size > total:
        raise ValueError("the sample is not of this buffer: it reaches beyond its end")


def _view(ctype: CType[_C], buffer: Any, offset: int, count: int) -> _C:
    """Return *count* elements from byte *offset* of *buffer* on as an array, which keeps the buffer alive.

    If *buffer* is read-only the array is a copy, since arrays of cffi are always writable.
    """
    size = count * ffi.sizeof(ctype.item)
    view = memoryview(buffer)
    if view.readonly:
        return ffi.from_buffer(ctype, bytearray(_bytes_of(view, offset, size)))
    base = from_buffer(buffer)
    _checked(len(base), offset, size)
    return array(ctype, ffi.gc(base + offset, keeping(base)), size)


def _bytes_of(buffer: Any, offset: int, size: int) -> memoryview:
    view = memoryview(buffer).cast("B")
    _checked(len(view), offset, size)
    return view[offset : offset + size]


def callchain(buffer: _Buffer, sample: _Sample) -> uint64_t_a:
    """Return the callchain of a sample as a ``uint64_t[]`` view of *buffer*: addresses, and ``PERF_CONTEXT_*`` markers.

    If *buffer* is read-only, this and the other functions that return an array return a copy: arrays of cffi are always
    writable.

    Raises:
        ValueError: *sample* was not decoded from *buffer*: it reaches beyond its end.
    """
    sample = sample_pointer(sample)
    return _view(_WORDS, buffer, sample.callchain_offset, sample.callchain_count)


def raw(buffer: _Buffer, sample: _Sample) -> memoryview:
    """Return the raw data of a sample (a tracepoint's fields) as a view of *buffer*, with the kernel's padding."""
    sample = sample_pointer(sample)
    return _bytes_of(buffer, sample.raw_offset, sample.raw_count)


def branches(buffer: _Buffer, sample: _Sample) -> perf_branch_entry_a:
    """Return the branch stack, newest first, as a ``struct perf_branch_entry[]`` view of *buffer*."""
    sample = sample_pointer(sample)
    return _view(_BRANCHES, buffer, sample.branch_offset, sample.branch_count)


def user_regs(buffer: _Buffer, sample: _Sample) -> uint64_t_a:
    """Return the user-space registers of a sample as a ``uint64_t[]`` view of *buffer*.

    There is one for each bit of ``attr.sample_regs_user``, that of the lowest bit first. There are none if
    ``sample.user_regs_abi`` is ``PERF_SAMPLE_REGS_ABI_NONE``, as for a kernel thread.
    """
    sample = sample_pointer(sample)
    return _view(_WORDS, buffer, sample.user_regs_offset, sample.user_regs_count)


def intr_regs(buffer: _Buffer, sample: _Sample) -> uint64_t_a:
    """Return the registers at the moment of the sample, by ``attr.sample_regs_intr``; otherwise as :func:`user_regs`."""
    sample = sample_pointer(sample)
    return _view(_WORDS, buffer, sample.intr_regs_offset, sample.intr_regs_count)


def user_stack(buffer: _Buffer, sample: _Sample) -> memoryview:
    """Return the part of the user stack that the kernel could copy, from the stack pointer up, as a view of *buffer*."""
    sample = sample_pointer(sample)
    return _bytes_of(buffer, sample.user_stack_offset, sample.user_stack_count)


def aux(buffer: _Buffer, sample: _Sample) -> memoryview:
    """Return the AUX data of the sample as a view of *buffer*."""
    sample = sample_pointer(sample)
    return _bytes_of(buffer, sample.aux_offset, sample.aux_count)


def counts(buffer: _Buffer, sample: _Sample) -> list[perf_counts_p]:
    """Return the counts that ``PERF_SAMPLE_READ`` put into a sample, as ``counters.read`` returns them.

    There is one ``struct perf_counts *`` for the event, or, with ``PERF_FORMAT_GROUP``, for each member of its group.
    """
    sample = sample_pointer(sample)
    read_format = sample.read_format
    size = lib.counters_size(read_format, sample.read_count)
    read = _view(_WORDS, buffer, sample.read_offset, size // 8)
    found = ffi.new("struct perf_counts[]", sample.read_count)
    if sample.read_count and lib.counters_parse(read, size, read_format, found, len(found)) < 0:
        raise ValueError("the sample is not of this buffer")
    return [ffi.new("struct perf_counts *", found[i]) for i in range(len(found))]


def to_numpy(samples: Samples | perf_sample_a) -> numpy.ndarray[Any, Any]:
    """Return a structured NumPy array of the same memory as *samples*, which it keeps alive; see :func:`dtype`."""
    from ._numpy import view

    return view(samples.cdata if isinstance(samples, Samples) else samples_array(samples))


def dtype(ctype: CType[Any] | _Name) -> numpy.dtype[Any]:
    """Return the NumPy dtype of a C struct: it has the struct's fields by name, at the same offsets.

    NumPy has no bitfields: the word that contains them is one field ``flags``, unless the struct has a union in which
    another field is the whole word (as ``val`` in ``perf_mem_data_src``). Flexible arrays are left out.

    Args:
        ctype: a ctype, or its name, as in ``"struct perf_sample"``.
    """
    from ._numpy import dtype

    return dtype(ctype)

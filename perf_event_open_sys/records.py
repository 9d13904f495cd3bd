"""Records: the bytes of a ring as structs, samples as rows of one fixed struct.

A *buffer* is anything with the buffer protocol that holds whole records, as ``ring.read_into`` leaves them; an *attr* is
the one the event was opened with, or a mapping ``{id: attr}`` for the events that share a ring. Every size, count and
offset in the bytes is checked before it is used.

Source: the kernel's ``perf_output_sample``, ``perf_event__output_id_sample`` (7.3), which differ in their order from the
comments in the header.
"""

from __future__ import annotations

import gc
from errno import EBADMSG, ENOENT

from ._native import ffi, lib
from ._pointers import attr_pointer, sample_pointer, samples_array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, NoReturn

    import numpy

    from ._native import CData

_HEADER = ffi.typeof("struct perf_event_header *")
_UNKNOWN = ffi.typeof("struct perf_record_unknown *")
_SAMPLE = ffi.typeof("struct perf_sample *")
_SAMPLES = ffi.typeof("struct perf_sample[]")
_WORDS = ffi.typeof("uint64_t[]")
_BRANCHES = ffi.typeof("struct perf_branch_entry[]")
_SAMPLE_SIZE = ffi.sizeof(_SAMPLE.item)
_new_uncleared = ffi.new_allocator(should_clear_after_alloc=False)

_BATCH = 256  # how many records iterate() finds in one call into C
_structs: dict[int, Any] = {}  # record type -> pointer to its struct, filled by the first use
_NAME_FIELDS = {
    "struct perf_record_mmap *": "filename",
    "struct perf_record_mmap2 *": "filename",
    "struct perf_record_comm *": "comm",
    "struct perf_record_ksymbol *": "name",
    "struct perf_record_cgroup *": "path",
}


class CorruptRecord(ValueError):
    """Bytes that cannot be a record, or not one of the given attr.

    ``offset`` is where in the buffer the record begins. ``n_samples`` samples before it were delivered: by ``parse_into``
    in its *out*, by ``parse`` as ``samples``.
    """

    def __init__(self, offset: int, n_samples: int = 0) -> None:
        """Describe the record at *offset*."""
        super().__init__(f"the record at offset {offset} is corrupt, or not of the given attr")
        self.offset = offset
        self.n_samples = n_samples
        self.samples: Samples | None = None


class _Keep:
    """A destructor for ``ffi.gc`` that does nothing but keep the *owner* of the memory.

    Not a memoryview: CPython before 3.11.9 and 3.12.3 crashes collecting one that is in a cycle and has exports.
    """

    __slots__ = ("owner",)

    def __init__(self, owner: CData) -> None:
        self.owner = owner

    def __call__(self, _: CData) -> None:
        pass


def _array(ctype: Any, pointer: CData, size: int) -> CData:
    """Return *size* bytes from *pointer* on as an array, which keeps the pointer."""
    return ffi.from_buffer(ctype, ffi.buffer(pointer, size))


class Samples:
    """A sequence of samples in one C array, ``cdata``. An element is a ``struct perf_sample *`` that keeps the array."""

    __slots__ = ("_keep", "cdata")

    def __init__(self, cdata: CData) -> None:
        """View a ``struct perf_sample[]``, and keep it."""
        self.cdata = samples_array(cdata)
        self._keep = _Keep(cdata)

    def __len__(self) -> int:
        return len(self.cdata)

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return ffi.gc(self.cdata + range(len(self))[index], self._keep)
        start, stop, step = index.indices(len(self))
        if step != 1:
            return [self[i] for i in range(start, stop, step)]
        begin = ffi.gc(self.cdata + start, self._keep)
        return Samples(_array(_SAMPLES, begin, max(0, stop - start) * _SAMPLE_SIZE))

    def __iter__(self) -> Iterator[CData]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} samples>"


def iterate(buffer: Any) -> Iterator[CData]:
    """Yield each record as a pointer to its own struct, which keeps the buffer alive.

    A type that is not known, a later kernel's or one that perf adds, comes as a ``struct perf_record_unknown *``.

    Raises:
        CorruptRecord: at the first bytes that can be no record, after all before them were yielded.
    """
    structs = _structs or _find_structs()
    base = ffi.from_buffer(buffer)
    keep = _Keep(base)
    types, addresses, offset = ffi.new("uint32_t[]", _BATCH), ffi.new("uintptr_t[]", _BATCH), ffi.new("size_t *")
    while found := lib.records_walk(base, len(base), offset, types, addresses, _BATCH):
        if found < 0:
            raise CorruptRecord(offset[0])
        for kind, address in zip(ffi.unpack(types, found), ffi.unpack(addresses, found), strict=True):
            yield ffi.gc(ffi.cast(structs.get(kind, _UNKNOWN), address), keep)


def _find_structs() -> dict[int, Any]:
    types = ffi.typeof("enum perf_event_type").elements.items()
    tags = {value: name.removeprefix("PERF_RECORD_").lower() for value, name in types}
    del tags[lib.PERF_RECORD_MAX]
    _structs.update({value: ffi.typeof(f"struct perf_record_{tag} *") for value, tag in tags.items()})
    return _structs


def _record(record: Any) -> tuple[CData, int]:
    """Return a pointer to the header of a record, and how many of its bytes are there.

    These are ``header.size``, and of a record that :func:`iterate` gave no more than its buffer has: the bytes may have
    changed since their size was checked.
    """
    kind = ffi.typeof(record) if isinstance(record, ffi.CData) else None
    if kind is None or not (kind is _HEADER or kind is _UNKNOWN or kind in (_structs or _find_structs()).values()):
        raise TypeError(f"record must be a pointer to a record, not {kind.cname if kind else type(record).__name__}")
    if not record:
        raise TypeError("record must be a pointer to a record, not NULL")
    header = ffi.cast(_HEADER, record)
    size = header.size
    for keep in gc.get_referents(record):
        if type(keep) is _Keep:
            size = min(size, len(keep.owner) - (_address(record) - _address(keep.owner)))
    return header, size


def _address(pointer: CData) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def name(record: CData) -> bytes:
    """Return the name at the end of an mmap, mmap2, comm, ksymbol or cgroup record."""
    _, size = _record(record)
    kind = ffi.typeof(record)
    field = _NAME_FIELDS.get(kind.cname)
    if field is None:
        raise TypeError(f"{kind.cname} carries no name")
    room = size - ffi.offsetof(kind.item, field)
    return bytes(ffi.string(getattr(record, field), room)) if room > 0 else b""


def _events(attr: CData | Mapping[int, CData], *, trailer: bool = False) -> tuple[CData, list[Any]]:
    """Return the ``records_event[]`` of the given attrs, sorted by id, and what it points to, which must outlive it."""
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
    """Raise what the C decoder left in ``ffi.errno``."""
    if ffi.errno == EBADMSG:
        raise CorruptRecord(offset, n_samples)
    if ffi.errno == ENOENT:
        raise ValueError(f"the record at offset {offset} has an id that is none of the given events'")
    raise ValueError(
        "the attrs have their ids at different places (give all PERF_SAMPLE_IDENTIFIER), or the buffer is beyond 4 GiB"
    )


def parse_into(buffer: Any, attr: CData | Mapping[int, CData], out: CData) -> tuple[int, int]:
    """Decode the samples of *buffer* into *out*, a ``struct perf_sample[]``; return (samples, bytes consumed).

    Other records are passed over. Fewer bytes than the buffer has are consumed where *out* is full.

    Raises:
        CorruptRecord: a record that cannot be one of *attr*; those before it are in *out*.
        ValueError: an attr with bits that these headers do not know; an id that is not in the mapping; attrs whose ids are
            not at the same place; a buffer beyond 4 GiB.
    """
    return _parse(ffi.from_buffer(buffer), attr, samples_array(out))


def _parse(base: CData, attr: CData | Mapping[int, CData], out: CData) -> tuple[int, int]:
    events, _attrs = _events(attr)
    progress = ffi.new("size_t[2]")
    n_samples = lib.records_parse(base, len(base), events, len(events), out, len(out), progress, progress + 1)
    if n_samples < 0:
        _stopped(progress[0], progress[1])
    return n_samples, progress[0]


def parse(buffer: Any, attr: CData | Mapping[int, CData]) -> Samples:
    """Decode every sample of *buffer*; errors as for :func:`parse_into`."""
    base = ffi.from_buffer(buffer)
    room = lib.records_count(base, len(base))
    samples = _new_uncleared(_SAMPLES, room)
    lib.records_advise(samples, room)
    try:
        n, _ = _parse(base, attr, samples)
    except CorruptRecord as error:
        error.samples = Samples(samples)[: error.n_samples]
        raise
    return Samples(_array(_SAMPLES, samples, n * _SAMPLE_SIZE))


def sample_id(record: CData, attr: CData | Mapping[int, CData]) -> CData:
    """Return the ``sample_id_all`` trailer of any record but a sample: a new ``struct perf_sample *``.

    Raises:
        CorruptRecord: the record is too short for it.
        ValueError: the attr has no ``sample_id_all``, or as :func:`parse_into`.
    """
    header, size = _record(record)
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


def _view(ctype: Any, buffer: Any, offset: int, count: int) -> CData:
    """Return elements of *buffer* as an array, which keeps it; of a read-only buffer a copy, since cffi's are writable."""
    size = count * ffi.sizeof(ctype.item)
    view = memoryview(buffer)
    if view.readonly:
        return ffi.from_buffer(ctype, bytearray(_bytes_of(view, offset, size)))
    base = ffi.from_buffer(buffer)
    _checked(len(base), offset, size)
    return _array(ctype, ffi.gc(base + offset, _Keep(base)), size)


def _bytes_of(buffer: Any, offset: int, size: int) -> memoryview:
    view = memoryview(buffer).cast("B")
    _checked(len(view), offset, size)
    return view[offset : offset + size]


def callchain(buffer: Any, sample: CData) -> CData:
    """Return the callchain as a ``uint64_t[]`` view of *buffer*; ``PERF_CONTEXT_*`` markers are among the addresses.

    cffi knows no read-only arrays: of a read-only buffer this is a copy, here and in the other functions that return one.
    """
    sample = sample_pointer(sample)
    return _view(_WORDS, buffer, sample.callchain_offset, sample.callchain_count)


def raw(buffer: Any, sample: CData) -> memoryview:
    """Return the raw data as a view of *buffer*, the kernel's padding included; of a tracepoint, its fields."""
    sample = sample_pointer(sample)
    return _bytes_of(buffer, sample.raw_offset, sample.raw_count)


def branches(buffer: Any, sample: CData) -> CData:
    """Return the branch stack, newest first, as a ``struct perf_branch_entry[]`` view of *buffer*."""
    sample = sample_pointer(sample)
    return _view(_BRANCHES, buffer, sample.branch_offset, sample.branch_count)


def user_regs(buffer: Any, sample: CData) -> CData:
    """Return the user registers of ``attr.sample_regs_user``, lowest bit first, as a ``uint64_t[]`` view of *buffer*.

    Empty where ``sample.user_regs_abi`` is ``PERF_SAMPLE_REGS_ABI_NONE``, as in a kernel thread.
    """
    sample = sample_pointer(sample)
    return _view(_WORDS, buffer, sample.user_regs_offset, sample.user_regs_count)


def intr_regs(buffer: Any, sample: CData) -> CData:
    """Return the registers of ``attr.sample_regs_intr`` at the interrupt, as :func:`user_regs`."""
    sample = sample_pointer(sample)
    return _view(_WORDS, buffer, sample.intr_regs_offset, sample.intr_regs_count)


def user_stack(buffer: Any, sample: CData) -> memoryview:
    """Return the part of the user stack that the kernel could copy, from the stack pointer up, as a view of *buffer*."""
    sample = sample_pointer(sample)
    return _bytes_of(buffer, sample.user_stack_offset, sample.user_stack_count)


def aux(buffer: Any, sample: CData) -> memoryview:
    """Return the AUX data of the sample as a view of *buffer*."""
    sample = sample_pointer(sample)
    return _bytes_of(buffer, sample.aux_offset, sample.aux_count)


def counts(buffer: Any, sample: CData) -> list[CData]:
    """Return the counts that ``PERF_SAMPLE_READ`` put into the sample, one per group member, as ``counters.read`` does."""
    sample = sample_pointer(sample)
    read_format = sample.read_format
    size = lib.counters_size(read_format, sample.read_count)
    read = _view(_WORDS, buffer, sample.read_offset, size // 8)
    found = ffi.new("struct perf_counts[]", sample.read_count)
    if sample.read_count and lib.counters_parse(read, size, read_format, found, len(found)) < 0:
        raise ValueError("the sample is not of this buffer")
    return [ffi.new("struct perf_counts *", found[i]) for i in range(len(found))]


def to_numpy(samples: Samples | CData) -> numpy.ndarray[Any, Any]:
    """Return the samples as a structured NumPy array of the same memory, which it keeps alive; its :func:`dtype` is C's."""
    from ._numpy import view

    return view(samples.cdata if isinstance(samples, Samples) else samples_array(samples))


def dtype(ctype: Any) -> numpy.dtype[Any]:
    """Return the NumPy dtype of a struct, given as a ctype or its name: its fields by name, at C's offsets.

    Bitfields come as the whole word, ``flags``, unless a field of a union names it. Flexible arrays are left out.
    """
    from ._numpy import dtype

    return dtype(ctype)

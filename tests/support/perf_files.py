"""An independent reader of perf.data files: the sections of a file, of which only the header is taken apart."""

import struct
from typing import Any, NamedTuple

from perf_event_open_sys import ffi


class File(NamedTuple):
    """The sections of a file."""

    attr_size: int
    by_id: dict[int, Any]  # id -> attr; of an event without ids, its place among the events
    begin: int  # of the records
    data: bytes  # the records
    features: dict[int, bytes]


def read_file(path):
    """Return the sections of a perf.data file."""
    whole = path.read_bytes()
    magic, size, stride, attrs, attrs_size, data, data_size, *types, bits = struct.unpack_from("=8s8Q32s", whole)
    assert (magic, size, types) == (b"PERFILE2", 104, [0, 0])  # there is no section of event types any more
    by_id = {}
    for number, at in enumerate(range(attrs, attrs + attrs_size, stride)):
        attr = ffi.new("struct perf_event_attr *")
        ffi.memmove(attr, whole[at : at + stride - 16], min(stride - 16, ffi.sizeof("struct perf_event_attr")))
        ids, ids_size = struct.unpack_from("=2Q", whole, at + stride - 16)
        by_id |= dict.fromkeys(struct.unpack_from(f"={ids_size // 8}Q", whole, ids) or (number,), attr)
    words = struct.unpack("=4Q", bits)
    numbers = [number for number in range(256) if words[number // 64] >> number % 64 & 1]
    sections = [struct.unpack_from("=2Q", whole, data + data_size + 16 * i) for i in range(len(numbers))]
    features = {number: whole[at : at + size] for number, (at, size) in zip(numbers, sections, strict=True)}
    return File(stride - 16, by_id, data, whole[data : data + data_size], features)

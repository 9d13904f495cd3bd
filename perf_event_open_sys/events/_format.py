"""Decode the raw data of a tracepoint's samples into fields, as its ``format`` file in tracefs describes them."""

from __future__ import annotations

import struct
import sys
from string import ascii_letters, digits

from .. import records
from .._files import parse_number
from .._namedtuple import NamedTuple
from .._native import ffi
from ._tracefs import events_directory, no_tracepoint, read_tracepoint_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy

    from ..bindings import perf_sample_a

_IN_NAMES = ascii_letters + digits + "_"
# How many bytes columns() works on at a time: so few stay in the CPU's cache, and malloc need not map new pages for
# them.
_CHUNK = 1 << 17
_MOST_BYTES = 1 << 16  # no field lies beyond this offset: the size of a record is a u16
_INTEGERS = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q"}
_INTEGERS |= {(size, True): code.lower() for (size, _), code in _INTEGERS.items()}
# The size in bytes of an element of a dynamic array, by its C type: the format file does not tell it.
_SIZES = {
    **dict.fromkeys(("char", "signed char", "unsigned char", "u8", "s8", "__u8", "__s8", "uint8_t", "bool"), 1),
    **dict.fromkeys(("short", "unsigned short", "u16", "s16", "__u16", "__s16", "uint16_t", "int16_t"), 2),
    **dict.fromkeys(("int", "unsigned int", "unsigned", "u32", "s32", "__u32", "__s32", "uint32_t", "int32_t"), 4),
    **dict.fromkeys(("u64", "s64", "__u64", "__s64", "uint64_t", "int64_t", "long long", "unsigned long long"), 8),
    **dict.fromkeys(("long", "unsigned long", "size_t"), ffi.sizeof("long")),
}


class Field(NamedTuple):
    """A field of a tracepoint. *offset* and *size* are in bytes, in the sample's raw data.

    A dynamic field (``__data_loc``, ``__rel_loc``) has 4 bytes there, which say where its data is and how long.
    """

    name: str
    type: str  #: the C type, as in ``char[16]``, ``pid_t``, ``const char *``, ``u64[]``
    offset: int
    size: int
    is_signed: bool
    is_array: bool
    is_dynamic: bool  #: ``__data_loc``: the offset of the data counts from the start of the raw data
    is_relative: bool  #: ``__rel_loc``: the offset of the data counts from the end of this field


def is_string(field: Field) -> bool:
    """Tell whether a field's value is text: an array of char, dynamic or not."""
    return field.is_array and field.type.removeprefix("const ").startswith("char[")


def _is_elsewhere(field: Field) -> bool:
    """Tell whether a field is dynamic: it says where its data is, namely behind all fields of fixed size."""
    return field.is_dynamic or field.is_relative


def _item_size(field: Field) -> int:
    """Return the size in bytes of a field's integer, or of each integer of its array; 0 if it holds no integers."""
    size = 0 if _is_elsewhere(field) else field.size
    if field.is_array:
        item, _, length = field.type.removesuffix("]").partition("[")
        count = parse_number(length)
        size = field.size // count if count and field.size % count == 0 else _SIZES.get(item.removeprefix("const "), 0)
    return size if size in (1, 2, 4, 8) else 0


def _reader(field: Field, tracepoint: str) -> Callable[[bytes], Any]:
    """Return a function that takes raw data, long enough for all fields of fixed size, and returns a field's value."""
    begin, end = field.offset, field.offset + field.size
    size = _item_size(field)
    if size and not field.is_array:
        unpack = struct.Struct(f"={_INTEGERS[size, field.is_signed]}").unpack_from
        return lambda data: unpack(data, begin)[0]

    def value(content: bytes) -> Any:
        if is_string(field):
            return content.split(b"\0", 1)[0]
        if not size:
            return content
        return list(struct.unpack_from(f"={len(content) // size}{_INTEGERS[size, field.is_signed]}", content))

    if not _is_elsewhere(field):  # an array without a length goes on to the end of the raw data
        return lambda data: value(data[begin:end] if field.size else data[begin:])
    beyond = end if field.is_relative else 0

    def read_dynamic(data: bytes) -> Any:
        (word,) = struct.unpack_from("=I", data, begin)
        start = beyond + (word & 0xFFFF)
        stop = start + (word >> 16)
        if stop > len(data):
            place = f"bytes {start} to {stop} of {len(data)} bytes of raw data"
            raise ValueError(f"{field.name} of {tracepoint} is at {place}")
        return value(data[start:stop])

    return read_dynamic


class Format:
    """How the raw data of one tracepoint's samples is laid out: ``system``, ``name``, ``id`` and ``fields``."""

    __slots__ = ("_readers", "fields", "id", "name", "size", "system")

    def __init__(self, system: str, name: str, id: int, fields: tuple[Field, ...]) -> None:  # noqa: A002
        """Describe a tracepoint, whose *id* is ``attr.config``."""
        self.system: str = system
        self.name: str = name
        self.id: int = id
        self.fields: tuple[Field, ...] = fields
        self.size: int = max(field.offset + field.size for field in fields)  # without the data of dynamic fields
        self._readers = [(field.name, _reader(field, f"{system}:{name}")) for field in fields]

    def __repr__(self) -> str:
        return f"<format of {self.system}:{self.name}, {len(self.fields)} fields>"

    def decode(self, raw: Any) -> dict[str, Any]:
        """Return every field of a sample's raw data by name, the common ones too.

        Args:
            raw: what ``records.raw`` gives: the bytes of one sample, the kernel's padding included or not.

        Returns:
            Integers as int; ``char`` arrays, dynamic ones too, as bytes up to the first NUL; arrays of other integers
            as lists; what is none of these, a struct or a bitmap, as its bytes.

        Raises:
            ValueError: *raw* is shorter than the format or than a dynamic field says, or another tracepoint's.
        """
        data = bytes(raw)
        if len(data) < self.size:
            raise ValueError(
                f"{len(data)} bytes of raw data are too few for {self.system}:{self.name}: it has {self.size}"
            )
        (found,) = struct.unpack_from("=H", data)  # common_type
        if found != self.id:
            raise ValueError(f"the raw data is of tracepoint {found}, and {self.system}:{self.name} is {self.id}")
        return {name: read(data) for name, read in self._readers}

    def matches(
        self, buffer: Any, samples: records.Samples | perf_sample_a | numpy.ndarray[Any, Any]
    ) -> numpy.ndarray[Any, Any]:
        """Return which of *samples* are of this tracepoint, by ``common_type``: a NumPy array of bool, one for each.

        Arguments and errors are those of :meth:`columns`.
        """
        import numpy as np

        data, rows = _arrays(buffer, samples)
        found = np.empty(len(rows), bool)
        for begin in range(0, len(rows), _CHUNK // 8):
            part = slice(begin, begin + _CHUNK // 8)
            found[part] = self._select(data, rows[part])[0]
        return found

    def columns(
        self, buffer: Any, samples: records.Samples | perf_sample_a | numpy.ndarray[Any, Any]
    ) -> numpy.ndarray[Any, Any]:
        """Return the fields of all samples of this tracepoint as a structured NumPy array, a row for each sample.

        Samples of other events are left out; :meth:`matches` says which. The array is a copy.

        Args:
            buffer: the bytes that the samples were decoded from.
            samples: what ``records.parse`` gave, a ``struct perf_sample[]``, or ``records.to_numpy`` of it, whole or a
                part.

        Returns:
            Integers, ``S`` for ``char`` arrays, which end at the first NUL, arrays of integers as arrays. A dynamic
            field is a pair ``offset`` and ``length``, in bytes of the sample's own raw data. An array without a length
            is left out.

        Raises:
            ValueError: raw data that is shorter than the format or than a dynamic field says, with the offset of its
                record; samples that are not of *buffer*.
        """
        import numpy as np

        data, rows = _arrays(buffer, samples)
        fields = [field for field in self.fields if field.size]
        kind = np.dtype(
            {
                "names": [field.name for field in fields],
                "formats": [_numpy_type(field) for field in fields],
                "offsets": [field.offset for field in fields],
                "itemsize": self.size,
            }
        )
        windows = _windows(data, f"V{self.size}")
        found = np.empty((len(rows), self.size), np.uint8)
        many = max(1, _CHUNK // max(1, self.size))
        texts = [field for field in fields if is_string(field) and not _is_elsewhere(field)]
        is_text = np.zeros(self.size, bool)
        for field in texts:
            is_text[field.offset : field.offset + field.size - 1] = True  # all but its last byte, see _end_at_nul()
        within = np.tile(is_text, min(many, len(rows)))
        elsewhere = [field for field in fields if _is_elsewhere(field)]
        n = 0
        for begin in range(0, len(rows), many):
            chosen = rows[begin : begin + many]
            mine, offsets, counts = self._select(data, chosen)
            if not mine.all():
                chosen, offsets, counts = chosen[mine], offsets[mine], counts[mine]
            self._refuse(counts < self.size, chosen, f"its fields take {self.size}")
            part = found[n : n + len(chosen)]
            n += len(chosen)
            if len(chosen):
                part.view(windows.dtype)[:, 0] = windows[offsets]
            if texts:
                _end_at_nul(part, texts, within)
            for field in elsewhere:
                place = part.view(kind)[field.name][:, 0]
                if field.is_relative:
                    place["offset"] += field.offset + field.size
                ends = place["offset"].astype(np.int64) + place["length"]
                self._refuse(ends > counts, chosen, f"{field.name} is said to be beyond them")
        columns: numpy.ndarray[Any, Any] = found[:n].view(kind)[:, 0]
        return columns

    def _select(self, data: Any, rows: Any) -> tuple[Any, Any, Any]:
        """Return which rows are of this tracepoint, and the offsets and lengths of the raw data of all."""
        import numpy as np

        offsets, counts = rows["raw_offset"].astype(np.int64), rows["raw_count"].astype(np.int64)
        if len(rows) and (offsets + counts).max() > len(data):
            raise ValueError("the samples are not of this buffer: their raw data reaches beyond its end")
        has_type = counts >= 2
        kinds = _windows(data, np.uint16)
        if not len(kinds):
            return has_type, offsets, counts
        return has_type & (kinds[offsets * has_type] == self.id), offsets, counts

    def _refuse(self, wrong: numpy.ndarray[Any, Any], rows: numpy.ndarray[Any, Any], why: str) -> None:
        """Raise the error for the first sample that is *wrong*, if any is."""
        if wrong.any():
            row = rows[int(wrong.argmax())]
            whose = f"the {self.system}:{self.name} sample at offset {row['offset']}"
            raise ValueError(f"{whose} has {row['raw_count']} bytes of raw data, and {why}")


def _arrays(buffer: Any, samples: Any) -> tuple[numpy.ndarray[Any, Any], numpy.ndarray[Any, Any]]:
    """Return the bytes of *buffer* and the rows of *samples* as NumPy arrays of the same memory."""
    import numpy as np

    return np.frombuffer(buffer, np.uint8), samples if isinstance(samples, np.ndarray) else records.to_numpy(samples)


def tracepoint_format(system: str, name: str, *, tracefs: str | None = None) -> Format:
    """Return the format of a tracepoint's raw data.

    Raises:
        ValueError: no such tracepoint (the nearest names are given), or a ``format`` file that does not parse: its
            line.
        FileNotFoundError, PermissionError: tracefs is not mounted, or closed to this user.

    Source: the kernel's ``f_show`` in kernel/trace/trace_events.c, Linux 6.18.
    """
    root = events_directory(tracefs)
    text = read_tracepoint_file(root, system, name, "format")
    if not text and parse_number(read_tracepoint_file(root, system, name, "id")) is None:
        no_tracepoint(root, system, name)
    return parse_format(text, system, name)


def parse_format(text: str, system: str, name: str) -> Format:
    """Parse the text of a ``format`` file; properties of a field that are not known, as a later kernel's, are ignored."""
    identity, fields = None, dict[str, Field]()
    for number, line in enumerate(text.split("\n"), 1):
        key, _, rest = line.strip().partition(":")
        if key == "ID":
            identity = parse_number(rest.strip())
        elif key == "field":
            try:
                field = _parse_field(rest)
                if field.name in fields:
                    raise ValueError("a field of this name is there already")
            except ValueError as error:
                raise ValueError(
                    f"the format of {system}:{name}, line {number}: {error}: {line.strip()[:200]!r}"
                ) from None
            fields[field.name] = field
        elif key == "print fmt":
            break
    common = fields.get("common_type")
    if identity is None or not common or (common.offset, common.size) != (0, 2):
        missing = "ID" if identity is None else "field common_type in its first 2 bytes"
        raise ValueError(f"the format of {system}:{name} has no {missing}: {text[:80]!r}")
    return Format(system, name, identity, tuple(fields.values()))


def _parse_field(text: str) -> Field:
    """Parse ``char comm[16];	offset:8;	size:16;	signed:0;``."""
    declaration, *properties = text.split(";")
    numbers = {}
    for item in properties:
        key, _, value = item.strip().partition(":")
        numbers[key] = parse_number(value)
    offset, size = numbers.get("offset"), numbers.get("size")
    if offset is None or size is None or offset + size > _MOST_BYTES:
        raise ValueError("a field has an offset and a size")
    # The length of an array follows its name ("char comm[16]"), except if it is dynamic ("__data_loc char[] name").
    head, length = declaration.strip(), ""
    if head.endswith("]"):
        head, bracket, length = head.partition("[")
        length = bracket + length
    name = head[len(head.rstrip(_IN_NAMES)) :]
    kind = head.removesuffix(name).strip() + length
    place = kind.split(" ", 1)[0]
    dynamic, relative = place == "__data_loc", place == "__rel_loc"
    if not name or not kind or kind == length:
        raise ValueError("a field has a type and a name")
    if (dynamic or relative) and size != 4:
        raise ValueError(f"a field that is {place} has 4 bytes")
    if place.startswith("__") and place.endswith("_loc"):
        if not (dynamic or relative):
            raise ValueError(f"a field's data may be at __data_loc or __rel_loc, not {place}")
        kind = kind.removeprefix(place).strip()
    return Field(name, kind, offset, size, bool(numbers.get("signed")), "[" in kind, dynamic, relative)


def _numpy_type(field: Field) -> Any:
    """Return what NumPy calls the type of a field."""
    if _is_elsewhere(field):
        low, high = (0, 2) if sys.byteorder == "little" else (2, 0)
        return {"names": ["offset", "length"], "formats": ["u2", "u2"], "offsets": [low, high], "itemsize": 4}
    if is_string(field):
        return f"S{field.size}"
    size = _item_size(field)
    if not size:
        return f"V{field.size}"
    integer = f"{'i' if field.is_signed else 'u'}{size}"
    return (integer, (field.size // size,)) if field.is_array else integer


def _windows(data: numpy.ndarray[Any, Any], kind: Any) -> numpy.ndarray[Any, Any]:
    """Return a view of *data* whose element i is the value of type *kind* that begins at byte i: elements overlap.

    Indexed with an array of byte offsets, the view returns a copy of the values at these offsets.
    """
    import numpy as np

    kind = np.dtype(kind)
    windows: numpy.ndarray[Any, Any] = np.ndarray(max(0, len(data) - kind.itemsize + 1), kind, data, strides=(1,))
    return windows


def _end_at_nul(rows: numpy.ndarray[Any, Any], texts: list[Field], within: numpy.ndarray[Any, Any]) -> None:
    """Clear the bytes after the first NUL of each string: the kernel may leave old bytes there.

    *rows* is a 2-dimensional array of bytes, a row for the raw data of each sample. *within* has a bool for each byte
    of at least as many rows, one row after the other: True if the byte is one of a string in *texts* and not the
    string's last.
    """
    import numpy as np

    nul = rows == 0
    # NumPy compares one long row of uint8 several times faster than many short ones.
    flat = nul.reshape(-1).view(np.uint8)
    if ((flat[:-1] > flat[1:]) & within[: max(0, len(flat) - 1)]).any():
        for field in texts:
            part = slice(field.offset, field.offset + field.size)
            rows[:, part] *= ~np.logical_or.accumulate(nul[:, part], axis=1)

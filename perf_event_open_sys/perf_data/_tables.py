"""What a perf.data file tells of its events and of the machine: in tables, or, in a stream, in records among the others."""

from __future__ import annotations

from contextlib import suppress
from struct import Struct

from ._attrs import Cursor, Events, damaged, read_attr, text
from ._features import build_id, decode
from ._layout import (
    FEATURE_NUMBERS,
    HEADER,
    PERF_EVENT_UPDATE__NAME,
    PERF_RECORD_EVENT_UPDATE,
    PERF_RECORD_HEADER_ATTR,
    PERF_RECORD_HEADER_BUILD_ID,
    PERF_RECORD_HEADER_FEATURE,
    PERF_RECORD_HEADER_TRACING_DATA,
    RECORD_HEADER,
    SECTION,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..bindings import perf_event_attr_p
    from ._event import Event

_FEATURE_BITS = Struct("=4Q")
_MOST_STRIDE = 1 << 16  # of the table of attrs: the kernel takes attrs up to the size of a page
_FIRST_FREE = (
    32  # perf marks the end of a stream's features by an empty one, with the first number that it does not use
)


class Tables:
    """The events and features that were found so far."""

    def __init__(self) -> None:
        self._events = Events()
        self._raw: dict[int, tuple[memoryview, int]] = {}  # number of a feature: its bytes, and where they are
        self._build_ids: list[Any] = []
        self._names: dict[int, str] = {}  # id of an event: the name that a record has given to it
        self._known: tuple[list[Event], dict[int, perf_event_attr_p]] | None = (
            None  # what events() and attr() return, until more is found
        )

    def features(self) -> dict[str | int, Any]:
        """Decode the features.

        Raises:
            ValueError: one is cut short, or has a value that it cannot have.
        """
        found: dict[str | int, Any] = {}
        for number in sorted(self._raw):
            name, value = decode(number, *self._raw[number], found)
            found[name] = value
        if self._build_ids:
            found["build_id"] = [*found.get("build_id", []), *self._build_ids]
        return found

    def events(self) -> list[Event]:
        """Return the events, with the names that are known."""
        return self._all()[0]

    def attr(self) -> perf_event_attr_p | dict[int, perf_event_attr_p]:
        """Return what ``records.parse`` takes as *attr*.

        Raises:
            ValueError: there is no event.
        """
        events, by_id = self._all()
        if not events:
            raise ValueError("perf.data: there is no event in it")
        return by_id if by_id and len(events) > 1 else events[0].attr

    def _all(self) -> tuple[list[Event], dict[int, perf_event_attr_p]]:
        if self._known is None:
            number = FEATURE_NUMBERS["event_desc"]
            try:
                descriptions = decode(number, *self._raw[number], {})[1] if number in self._raw else []
            except ValueError:  # features() raises it; the records can be read without names
                descriptions = []
            events = self._events.named(descriptions, self._names)
            self._known = events, {identity: event.attr for event in events for identity in event.ids}
        return self._known


class FileTables(Tables):
    """Those of a file, which has its header at the beginning and all of its bytes at hand."""

    begin: int  # the offset of the records in the file
    size: int  # how many bytes of records there are, or should be
    is_closed: bool

    def __init__(self, data: memoryview) -> None:
        """Read the header and the table of attrs.

        Raises:
            ValueError: they are not whole, or have sizes and places that they cannot have.
        """
        super().__init__()
        self._data = data
        cursor = Cursor(data, 0, "the header")
        _, size, stride, attrs, attrs_size, self.begin, self.size, _, _, bits = HEADER.unpack(cursor.bytes(HEADER.size))
        if size not in (HEADER.size, HEADER.size - len(bits)):
            damaged(8, f"a header of {size} bytes: it has {HEADER.size}")
        words = _FEATURE_BITS.unpack(bits) if size == HEADER.size else ()
        self._numbers = [64 * at + bit for at, word in enumerate(words) for bit in range(64) if word >> bit & 1]
        self._read_attrs(stride, attrs, attrs_size)
        if self.begin > len(data):
            damaged(self.begin, f"the records should begin here, but the file ends at byte {len(data)}")
        # A perf that was killed leaves the size 0, and no table of features. So does a file without records, with one.
        self.is_closed = bool(self.size) or self._has_table()
        if not self.is_closed:
            self.size = len(data) - self.begin

    def _section(self, offset: int, size: int, what: str) -> memoryview:
        if offset + size > len(self._data):
            damaged(offset, f"{what} should be here, with {size} bytes, but the file ends at byte {len(self._data)}")
        return self._data[offset : offset + size]

    def _read_attrs(self, stride: int, begin: int, size: int) -> None:
        if not size:
            return
        if not 8 < stride <= _MOST_STRIDE or size % stride:
            damaged(16, f"a table of attrs with {size} bytes, {stride} for each")
        table = self._section(begin, size, "the table of attrs")
        for at in range(0, size, stride):
            cursor = Cursor(table[at : at + stride], begin + at, "the table of attrs")
            attr = read_attr(cursor, stride - SECTION.size)
            where = cursor.offset
            offset, ids_size = SECTION.unpack(cursor.bytes(SECTION.size))
            if ids_size % 8:
                damaged(where, f"ids of {ids_size} bytes, which is no multiple of 8")
            ids = self._section(offset, ids_size, "ids of an event")
            self._events.add(attr, tuple(ids.cast("Q")), where)

    def _table(self) -> list[tuple[int, int]]:
        """Return where the features are, and their sizes."""
        begin = self.begin + self.size
        table = self._section(begin, SECTION.size * len(self._numbers), "the table of features")
        return [SECTION.unpack_from(table, at) for at in range(0, len(table), SECTION.size)]

    def _has_table(self) -> bool:
        try:
            return bool(self._numbers) and all(offset + size <= len(self._data) for offset, size in self._table())
        except ValueError:
            return False

    def _find_features(self) -> None:
        if not self._raw and self.is_closed and self._numbers:
            for number, (offset, size) in zip(self._numbers, self._table(), strict=True):
                self._raw[number] = self._section(offset, size, f"the feature {number}"), offset

    def features(self) -> dict[str | int, Any]:
        """Decode the features, as those of a stream; a ValueError too if the file ends before them."""
        self._find_features()
        return super().features()

    def _all(self) -> tuple[list[Event], dict[int, perf_event_attr_p]]:
        with suppress(ValueError):  # features() raises it; the records can be read without names
            self._find_features()
        return super()._all()


class StreamTables(Tables):
    """Those of a stream, in which records tell of events and features."""

    def __init__(self) -> None:
        super().__init__()
        self._noted = 0  # the offset behind the last record that was noted: the records of a file may be read again

    def note(self, kind: int, record: memoryview, offset: int) -> None:
        """Take what a record says, of TRACING_DATA what the data says that follows it.

        Raises:
            ValueError: the record cannot be one of its type.
        """
        if offset < self._noted:
            return
        self._known = None
        cursor = Cursor(record, offset, f"a record of type {kind}")
        if kind == PERF_RECORD_HEADER_TRACING_DATA:
            self._raw[FEATURE_NUMBERS["tracing_data"]] = record, offset
        elif kind == PERF_RECORD_HEADER_BUILD_ID:
            self._build_ids.append(build_id(cursor))
        elif kind == PERF_RECORD_HEADER_ATTR:
            cursor.bytes(RECORD_HEADER.size)
            attr = read_attr(cursor, cursor.left)
            self._events.add(attr, cursor.u64s(cursor.left // 8), offset)
        elif kind == PERF_RECORD_HEADER_FEATURE:
            cursor.bytes(RECORD_HEADER.size)
            number, where = cursor.u64(), cursor.offset
            if cursor.left or number < _FIRST_FREE:
                self._raw[number] = memoryview(bytes(cursor.bytes(cursor.left))), where  # the block may be large
        elif kind == PERF_RECORD_EVENT_UPDATE:
            cursor.bytes(RECORD_HEADER.size)
            what, identity = cursor.u64(), cursor.u64()
            if what == PERF_EVENT_UPDATE__NAME:
                self._names[identity] = text(cursor.bytes(cursor.left))
        self._noted = offset + len(record)

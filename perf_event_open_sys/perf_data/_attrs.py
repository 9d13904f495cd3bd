"""Read bytes of a perf.data file piece by piece; turn attrs and their ids in it into events."""

from __future__ import annotations

from struct import Struct

from ..bindings import perf_event_attr_from
from ._event import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    from ..bindings import perf_event_attr_p

_U32 = Struct("=I")
_U64 = Struct("=Q")
_ATTR_SIZE_VER0 = 64  # PERF_ATTR_SIZE_VER0: the size of an attr whose field size is 0
_SIZE_AT = 4  # the offset of the field size in an attr


def damaged(offset: int, what: str) -> NoReturn:
    """Raise the exception for a file that is wrong at *offset*, in bytes from the beginning of the file."""
    raise ValueError(f"perf.data, at byte {offset}: {what}")


class FileEnds(ValueError):
    """The file ends where more bytes should follow."""


def ends(offset: int, what: str) -> NoReturn:
    """Raise the exception for a file that ends at *offset*: in the middle of *what*."""
    raise FileEnds(f"perf.data, at byte {offset}: the file ends in the middle of {what}")


class Cursor:
    """Read numbers and strings one after the other from *data*, the bytes at *offset* of a file.

    What reaches beyond the end of *data* is a ValueError, which says that *what* is cut short.
    """

    def __init__(self, data: memoryview, offset: int, what: str) -> None:
        self._data, self._begin, self._what = data, offset, what
        self._at = 0

    @property
    def offset(self) -> int:
        """The offset in the file of what is read next."""
        return self._begin + self._at

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at

    def bytes(self, size: int) -> memoryview:
        """Read *size* bytes."""
        if size > self.left:
            damaged(self.offset, f"{self._what} is cut short: it has {self.left} bytes left of the {size} that follow")
        self._at += size
        return self._data[self._at - size : self._at]

    def u32(self) -> int:
        """Read a number of 32 bits."""
        value: int
        (value,) = _U32.unpack(self.bytes(4))
        return value

    def u64(self) -> int:
        """Read a number of 64 bits."""
        value: int
        (value,) = _U64.unpack(self.bytes(8))
        return value

    def u64s(self, count: int) -> tuple[int, ...]:
        """Read *count* numbers of 64 bits."""
        return tuple(self.bytes(8 * count).cast("Q"))

    def string(self) -> str:
        """Read a string: its length in bytes, then as many, of which those from the first NUL on are padding."""
        return text(self.bytes(self.u32()))


def text(data: memoryview) -> str:
    """Return the bytes up to the first NUL as a string. Bytes that are no UTF-8 become lone surrogates, as in ``os``."""
    return bytes(data).split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def read_attr(cursor: Cursor, room: int) -> perf_event_attr_p:
    """Read an attr, which has its own size in it. It can have *room* bytes at most."""
    begin = cursor.offset
    head = cursor.bytes(min(room, _ATTR_SIZE_VER0))
    size = _U32.unpack_from(head, _SIZE_AT)[0] or _ATTR_SIZE_VER0 if len(head) >= _SIZE_AT + 4 else 0
    if not _ATTR_SIZE_VER0 <= size <= room:
        damaged(begin, f"an attr of {size} bytes, which has {_ATTR_SIZE_VER0} at least and {room} at most here")
    try:
        return perf_event_attr_from(bytes(head) + bytes(cursor.bytes(size - len(head))))
    except ValueError as error:
        damaged(begin, str(error))


class Events:
    """The events of a file, as they are found."""

    def __init__(self) -> None:
        self.found: list[Event] = []
        self._ids: set[int] = set()

    def add(self, attr: perf_event_attr_p, ids: tuple[int, ...], offset: int) -> None:
        """Add an event that was found at *offset* of the file.

        Raises:
            ValueError: an earlier event has one of its *ids*.
        """
        common = self._ids.intersection(ids)
        if common:
            damaged(offset, f"two events have the id {min(common)}")
        self._ids.update(ids)
        self.found.append(Event(attr, ids, ""))

    def named(self, descriptions: Iterable[Event], names: dict[int, str]) -> list[Event]:
        """Return the events with their names.

        Args:
            descriptions: the feature ``event_desc``, in the order of the events.
            names: those that records have given to ids since then.
        """
        found = list(self.found)
        for at, (event, described) in enumerate(zip(self.found, descriptions, strict=False)):
            if event.ids == described.ids:
                found[at] = event._replace(name=described.name)
        for at, event in enumerate(found):
            given = [names[one] for one in event.ids if one in names]
            if given:
                found[at] = event._replace(name=given[-1])
        return found

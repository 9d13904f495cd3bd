"""Where the bytes of a perf.data file come from: memory, a mapping mostly, or a stream that is read only once."""

from __future__ import annotations

from ._attrs import ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW = 256 << 20  # how much of a mapping is looked at at once: records.parse takes buffers below 4 GiB
BLOCK = 1 << 20  # how many bytes are read from a stream at a time


class Mapped:
    """Bytes that are all in memory: a mapped file, or a part of it."""

    def __init__(
        self, data: memoryview, offset: int, *, missing: int = 0, is_closed: bool = True, window: int = _WINDOW
    ) -> None:
        """Take *data*, which is at *offset* of the file, in windows of *window* bytes.

        *missing* is how many bytes should follow the data, but are not in the file. If the file was not closed, it may
        end in the middle of a record.
        """
        self._data, self._begin, self._missing, self._window = data, offset, missing, window
        self.is_closed = is_closed
        self.offset = offset  # in the file, of what comes next

    def finish(self) -> None:
        """Raise ValueError if there should be more bytes than there are."""
        if self._missing:
            ends(self.offset, f"its records, {self._missing} bytes before the place that its header names")

    def window(self, size: int) -> memoryview:
        """Return the bytes that come next, *size* of them or more, or, at the end, all that are left."""
        at = self.offset - self._begin
        return self._data[at : at + max(size, self._window)]

    def skip(self, size: int) -> None:
        """Pass over *size* bytes; if fewer are left, over those."""
        self.offset = min(self.offset + size, self._begin + len(self._data))

    def take(self, size: int) -> memoryview:
        """Return the next *size* bytes and pass over them.

        Raises:
            ValueError: there are not as many.
        """
        at = self.offset - self._begin
        taken = self._data[at : at + size]
        if len(taken) < size:
            ends(self.offset + len(taken), f"{size} bytes that should follow a record")
        self.offset += size
        return taken


class Streamed:
    """Bytes of a pipe or another stream, read as they come. What was read stays valid: each block has its own memory."""

    is_closed = True  # it has to end with a whole record

    def __init__(self, read: Callable[[int], bytes | None]) -> None:
        """Read by *read*, which returns at most as many bytes as it is asked for, and b"" at the end."""
        self._read = read
        self._block = memoryview(b"")
        self.offset = 0

    def _more(self, size: int = BLOCK) -> bytes:
        data = self._read(size)
        if data is None:
            raise ValueError("the file does not wait for data: it must be in blocking mode")
        return data

    def finish(self) -> None:
        """Do nothing: a stream does not say how long it is."""

    def rest(self) -> memoryview:
        """Read all that is left."""
        parts: list[bytes | memoryview] = [self._block]
        while data := self._more():
            parts.append(data)
        return memoryview(b"".join(parts))

    def window(self, size: int) -> memoryview:
        """Return the bytes that come next, *size* of them or more, or, at the end, all that are left."""
        if len(self._block) < size:
            parts = [bytes(self._block)]
            size -= len(self._block)
            while size > 0 and (data := self._more()):
                parts.append(data)
                size -= len(data)
            self._block = memoryview(b"".join(parts))
        return self._block

    def skip(self, size: int) -> None:
        """Pass over *size* bytes; if fewer are left, over those."""
        passed = min(size, len(self._block))
        self._block = self._block[passed:]
        while passed < size and (data := self._more(min(size - passed, BLOCK))):
            passed += len(data)
        self.offset += passed

    def take(self, size: int) -> memoryview:
        """Return the next *size* bytes and pass over them.

        Raises:
            ValueError: there are not as many.
        """
        parts: list[bytes | memoryview] = [self._block[:size]]
        self._block = self._block[size:]
        taken = len(parts[0])
        while taken < size and (data := self._more(min(size - taken, BLOCK))):
            parts.append(data)
            taken += len(data)
        self.offset += taken
        if taken < size:
            ends(self.offset, f"{size} bytes that should follow a record")
        return memoryview(b"".join(parts))

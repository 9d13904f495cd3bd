"""Decompress the records in PERF_RECORD_COMPRESSED and PERF_RECORD_COMPRESSED2."""

from __future__ import annotations

import sys
from struct import Struct

from .._native import ffi, lib
from ._attrs import damaged, ends
from ._layout import PERF_RECORD_COMPRESSED2, RECORD_HEADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

_MOST = 1 << 20  # how many bytes are decompressed at a time: a few bytes can be decompressed to any number of them
COMPRESSED2 = Struct("=IHHQ")  # the header, and how many bytes of data follow
_LARGEST = (1 << 16) - 1  # the largest size in bytes of a COMPRESSED2 that perf writes


def _zstd() -> ModuleType:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise ImportError(
            "the records of this file are compressed with zstd, which Python has from 3.14 on: "
            "pip install 'perf-event-open-sys[zstd]', or 'backports.zstd'",
            name="backports.zstd",
        ) from None
    module: ModuleType = zstd
    return module


class Decompressor:
    """Decompresses the records of one file, whose compressed data is one zstd stream."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._error: Any = ()
        self._part = b""  # the beginning of a record whose end is in the next compressed data
        self._sum_ends = 0  # see locate()

    def locate(self, record: memoryview, offset: int) -> tuple[int, int, int]:
        """Return where compressed data begins and ends in the record at *offset* of the file, and where the record ends.

        Of *record*, the first 16 bytes are there at least, if it has as many.

        perf from 6.16 on may write several COMPRESSED2 together, and then stores the sum of their sizes in the first: in
        ``header.size``, which has room for the low 16 bits only, and in the size of the data. The first is as large as
        any can be; the others have the right ``header.size``, and no size of the data. There is no padding then.
        """
        kind, _, size = RECORD_HEADER.unpack_from(record)
        in_sum = offset < self._sum_ends
        if kind != PERF_RECORD_COMPRESSED2:
            if in_sum:
                damaged(offset, "a COMPRESSED2 must be here, by the size that an earlier one has")
            return RECORD_HEADER.size, size, size
        if in_sum and COMPRESSED2.size <= size <= self._sum_ends - offset:
            return COMPRESSED2.size, size, size
        if len(record) < COMPRESSED2.size or in_sum:
            damaged(offset, f"a COMPRESSED2 of {size} bytes")
        end = COMPRESSED2.size + COMPRESSED2.unpack_from(record)[-1]
        if end <= size:
            return COMPRESSED2.size, end, size
        if (end + 7) // 8 * 8 % (1 << 16) != size:
            damaged(
                offset,
                f"a COMPRESSED2 of {size} bytes, which should have {end - 16} bytes of data in it",
            )
        if end > _LARGEST:
            self._sum_ends = offset + end
        return COMPRESSED2.size, min(end, _LARGEST), min(end, _LARGEST)

    def feed(self, data: memoryview, offset: int) -> Iterator[memoryview]:
        """Yield the records in the compressed *data*, which is at *offset* of the file, in buffers of whole records.

        Raises:
            ValueError: *data* is not what zstd wrote, or what was decompressed are no records.
            ImportError: there is no zstd.
        """
        left: bytes | memoryview = data
        while True:
            try:
                if self._stream is None or self._stream.eof:
                    zstd = _zstd()
                    self._stream, self._error = zstd.ZstdDecompressor(), zstd.ZstdError
                found = self._stream.decompress(left, _MOST)
            except self._error as error:
                damaged(offset, f"compressed data that zstd refuses: {error}")
            left = self._stream.unused_data if self._stream.eof else b""
            if found:
                yield from self._whole(self._part + found, offset)
            if not left and self._stream.needs_input:
                return

    def _whole(self, data: bytes, offset: int) -> Iterator[memoryview]:
        """Yield the whole records of *data*, and keep the part of a record behind them."""
        end = ffi.new("size_t *")
        lib.records_find(ffi.from_buffer(data), len(data), end, 0)
        at = end[0]
        self._part = data[at:]
        if at:
            yield memoryview(data)[:at]
        if not is_part(self._part):
            damaged(offset, "no record can be where one should begin in the data that was compressed here")

    def finish(self, offset: int) -> None:
        """Raise ValueError if the last record is not whole. *offset* is the end of the file."""
        if self._part:
            ends(offset, f"a record that is compressed, of which there are {len(self._part)} bytes")


def is_part(data: bytes | memoryview) -> bool:
    """Tell whether *data*, in which no whole record begins, may be the beginning of a record."""
    if len(data) < RECORD_HEADER.size:
        return True
    kind, _, size = RECORD_HEADER.unpack_from(data)
    if (kind, size) == (PERF_RECORD_COMPRESSED2, 0):
        return len(data) < COMPRESSED2.size
    return bool(size > len(data) and (size % 8 == 0 or kind >= 64))


def has_no_size(data: memoryview) -> bool:
    """Tell whether a PERF_RECORD_COMPRESSED2 begins with *data* whose size is 0: see :meth:`Decompressor.locate`."""
    if len(data) < COMPRESSED2.size:
        return False
    kind, _, size, _ = COMPRESSED2.unpack_from(data)
    return bool((kind, size) == (PERF_RECORD_COMPRESSED2, 0))

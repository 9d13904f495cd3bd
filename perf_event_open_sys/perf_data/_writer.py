"""Write a perf.data file."""

from __future__ import annotations

import os
from errno import ESPIPE
from stat import S_ISREG
from struct import pack

from .. import errors
from .._buffers import from_buffer
from .._names import nearest
from .._native import ffi, lib
from .._pointers import attr_pointer
from .._walk import name as name_of
from . import _build_id, _encode, _machine
from ._event import Event
from ._layout import FEATURE_NUMBERS, HEADER, MAGIC, PERF_RECORD_FINISHED_ROUND, RECORD_HEADER, SECTION
from ._sift import sift, whole_records
from ._synthesize import KERNEL_MAP, Synthesizer, module_name, processes
from ._tracing_data import tracing_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from .._native import _Buffer, _Bytes
    from ..bindings import perf_event_attr_p, perf_record_p

    _Event = tuple[perf_event_attr_p, Iterable[int], str]

_MAPS = (lib.PERF_RECORD_MMAP, lib.PERF_RECORD_MMAP2)
_LOSSES = (lib.PERF_RECORD_LOST, lib.PERF_RECORD_LOST_SAMPLES)
_NO_CODE = lib.PERF_RECORD_MISC_MMAP_DATA | lib.PERF_RECORD_MISC_MMAP_BUILD_ID  # or its build id is in the record
_FINISHED_ROUND = RECORD_HEADER.pack(PERF_RECORD_FINISHED_ROUND, 0, RECORD_HEADER.size)
_DATA_SIZE_AT = 48  # where the header has the size of the records
_ROOM = 1024  # the table of features has fewer bytes
_KERNEL = b"[kernel.kallsyms]"  # its name in the feature build_id
_MOST_FEATURES = 256
_MODE = 0o600  # as perf's: others are not to see what a user does


def create(
    path: str | os.PathLike[str], events: Iterable[_Event], *, features: Mapping[str | int, Any] | None = None
) -> Writer:
    """Create a perf.data file; return a :class:`Writer`, whose ``with`` block ends by closing the file.

    Several events must be told apart by readers: open all of them with ``PERF_SAMPLE_IDENTIFIER`` in their
    ``sample_type``, and with the same setting of ``sample_id_all``. In the file an attr is as short as its fields allow:
    perf refuses attrs that are longer than its own.

    Args:
        path: the file, which is emptied if it exists.
        events: an :class:`Event` for each event, or its three values: the attr that it was opened with; the ids of its
            file descriptors (from ``ioctls.id``); its name.
        features: what the header is to tell besides, by perf's names in lower case, as in ``{"cmdline": ["my",
            "program"]}``; most values can be those of a reader's ``features``, and all can be the bytes of the section. A
            feature that this module does not know has a number for a name. The writer
            itself adds ``hostname``, ``osrelease``, ``version``, ``arch``, ``nrcpus``, ``cpudesc``, ``total_mem``,
            ``cmdline``, ``pmu_mappings``, ``clockid``, ``event_desc``, ``build_id`` of all binaries that have been
            mapped as code, and, for tracepoints, ``tracing_data`` from tracefs. A value that is given replaces the
            writer's own, None leaves it out.

    Raises:
        OSError: the file cannot be written; or there are tracepoints, and tracefs is not mounted or closed to this
            user. A file that could not be begun is removed.
        ValueError: *events* is empty; there is no such feature; it cannot have this value; a tracepoint's id is not one
            of this machine.
    """
    return Writer(path, events, features or {})


class Writer:
    """A perf.data file that is being written, from :func:`create`. Its ``with`` block ends by closing it.

    After each call of a method, the file has all records that were given so far, even if the process is killed. Only
    the features, among them the names of the events, are found by readers no sooner than the file is closed.

    Attributes:
        n_samples: how many samples were written.
        lost: how many records the kernel had no room for, by the records of type LOST and LOST_SAMPLES.
        size: how many bytes the records have that were written.
    """

    def __init__(
        self, path: str | os.PathLike[str], events: Iterable[_Event], features: Mapping[str | int, Any]
    ) -> None:
        """Create the file; see :func:`create`."""
        self.n_samples: int = 0
        self.lost: int = 0
        self.size: int = 0
        self._path = path
        self._events = [Event(attr_pointer(attr), tuple(ids), name) for attr, ids, name in events]
        if not self._events:
            raise ValueError("events is empty: a perf.data file has one or more")
        self._synthesizer = Synthesizer(self._events[0].attr)
        # size, n_samples and lost before the last writes, the first of which has ended _ROOM bytes ago, or was the first.
        self._states: list[tuple[int, int, int]] = [(0, 0, 0)]
        self._has_kernel = False
        self._binaries: dict[bytes, int] = {}  # name -> PERF_RECORD_MISC_KERNEL or _USER, of what was mapped as code
        self._wants_build_ids = "build_id" not in features
        self._attr_size = _encode.attr_size(event.attr for event in self._events)
        self._sections: dict[int, tuple[int, int]] = {}  # number of a feature -> place and size of its content
        contents = self._features(features)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        self._is_regular = S_ISREG(os.fstat(self._fd).st_mode)
        try:
            self._begin(contents)
        except BaseException:
            self._close()
            if self._is_regular:
                os.unlink(path)
            raise

    def write(self, buffer: _Buffer) -> None:
        """Write records, as ``ring.read_into`` and ``ring.drain_into`` leave them in a buffer.

        Args:
            buffer: whole records, of the file's events.

        Raises:
            CorruptRecord: *buffer* has other bytes in it than whole records; nothing of it was written.
            OSError: ``ENOSPC``, …; of *buffer*, as many whole records were written as there was room for.
            ValueError: the file is closed.
        """
        view: memoryview | _Bytes = ffi.buffer(from_buffer(buffer))
        n_samples, others = sift(view)
        written, error = self._write_at(self._data + self.size, view)
        if error:
            view = memoryview(view)[: self._make_room(view, written)]
            n_samples, others = sift(view)
        self._states.append((self.size, self.n_samples, self.lost))
        while self.size - self._states[1][0] >= _ROOM:
            self._states.pop(0)
        self.size += len(view)
        self.n_samples += n_samples
        for record in others:
            self._note(record)
        self._write_at(_DATA_SIZE_AT, pack("=Q", self.size))
        if error:
            raise error

    def finished_round(self) -> None:
        """Say that every ring was read: records that are written later are no older than those before the last round.

        Readers sort the records by time: of what was written before the last but one call of this method, they know
        then that nothing older comes. Call it each time that all rings have been emptied (not if one was read in part).
        """
        _, error = self._write_at(self._data + self.size, _FINISHED_ROUND)
        if error:
            raise error
        self.size += len(_FINISHED_ROUND)

    def synthesize(self, pid: int | None = None) -> None:
        """Write records of what runs already, as the kernel would have written them when it began.

        These are the maps of the kernel's code and its modules (:meth:`synthesize_kernel`), FORK and COMM of each thread
        of the process, and MMAP2 of its executable maps. Their time is 0. Call it before the first
        :meth:`finished_round`.

        Args:
            pid: a process; None is for all that this user can see. A process that has ended is passed over, and so are
                maps that this user may not see.
        """
        self.synthesize_kernel()
        for process in processes() if pid is None else [pid]:
            self.write(b"".join(self._synthesizer.process(process)))

    def synthesize_kernel(self) -> None:
        """Write the maps of the kernel's code and its modules, unless this was done before.

        There are none if every event excludes the kernel, or if the kernel does not tell this user its addresses
        (``kernel.kptr_restrict``).
        """
        if not self._has_kernel and not all(event.attr.exclude_kernel for event in self._events):
            self._has_kernel = True
            self.write(b"".join(self._synthesizer.kernel()))

    def close(self) -> None:
        """Write the features, and close the file. A second call does nothing.

        Raises:
            OSError: ``ENOSPC``, …: the file has its records, and of the features those that there was room for.
        """
        if self._fd < 0:
            return
        try:
            end = self._data + self.size
            error = None
            for with_build_ids in (self._wants_build_ids, False):
                sections, tail = self._tail(with_build_ids=with_build_ids)
                _, failed = self._write_at(end, tail)
                if not failed:
                    break
                error = failed
                sections, tail = {}, b""
            self._truncate(end + len(tail))
            self._write_header(sections)
            if error:
                raise error
        finally:
            self._close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            import warnings

            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            self._close()

    def __repr__(self) -> str:
        return f"<perf.data writer, {self.n_samples} samples in {self.size} bytes>"

    def _features(self, given: Mapping[str | int, Any]) -> dict[int, bytes]:
        """Return the contents of the features, by number: of those *given*, and of those known without being given."""
        known = _machine.features(event.attr for event in self._events)
        known["event_desc"] = _encode.event_desc(self._events, self._attr_size)
        if "tracing_data" not in given:
            known["tracing_data"] = tracing_data(self._events) or None
        contents = {}
        for name, value in {**known, **given}.items():
            number = name if isinstance(name, int) else FEATURE_NUMBERS.get(name, 0)
            if not 0 < number < _MOST_FEATURES:
                raise ValueError(f"there is no feature {name!r}{nearest(str(name), FEATURE_NUMBERS)}")
            if value is not None:
                contents[number] = _encode.feature(name, value)
        return contents

    def _begin(self, contents: Mapping[int, bytes]) -> None:
        """Write what stands before the records: header, ids, attrs, and the contents of the features.

        perf writes the features behind the records. Only the table of their places must be there. What is written
        before cannot fail for want of room when the records are complete.
        """
        parts, table = [bytes(HEADER.size)], []
        place = HEADER.size
        for attr, ids, _ in self._events:
            parts.append(pack(f"={len(ids)}Q", *ids))
            table.append(_encode.attr_bytes(attr, self._attr_size) + SECTION.pack(place, len(parts[-1])))
            place += len(parts[-1])
        self._attrs = (place, sum(map(len, table)))
        parts += table
        place += self._attrs[1]
        for number, content in sorted(contents.items()):
            self._sections[number] = (place, len(content))
            parts.append(content + bytes(-len(content) % 8))
            place += len(parts[-1])
        self._data = place
        _, error = self._write_at(0, b"".join(parts))
        if error and error.errno == ESPIPE:
            errors.failed(ESPIPE, "perf_data.create", "a perf.data file is not written in order: it cannot be a pipe")
        if error:
            raise error
        self._write_header()

    def _write_header(self, sections: Iterable[int] = ()) -> None:
        """Write the header, by which readers find the records that were written so far, and these features."""
        bits = sum(1 << number for number in sections)
        words = pack("=4Q", *(bits >> shift & 0xFFFFFFFFFFFFFFFF for shift in range(0, 256, 64)))
        stride = self._attr_size + SECTION.size
        _, error = self._write_at(
            0, HEADER.pack(MAGIC, HEADER.size, stride, *self._attrs, self._data, self.size, 0, 0, words)
        )
        if error:
            raise error

    def _tail(self, *, with_build_ids: bool) -> tuple[dict[int, tuple[int, int]], bytes]:
        """Return the places of all features, and what stands behind the records: their table, and the build ids."""
        build_ids = self._build_ids() if with_build_ids else b""
        sections = dict(self._sections)
        if build_ids:
            table_size = SECTION.size * (len(sections) + 1)
            sections[FEATURE_NUMBERS["build_id"]] = (self._data + self.size + table_size, len(build_ids))
        table = b"".join(SECTION.pack(*sections[number]) for number in sorted(sections))
        return sections, table + build_ids

    def _build_ids(self) -> bytes:
        """Return the content of the feature ``build_id``, for each binary that has one."""
        entries = []
        for name, misc in sorted(self._binaries.items()):
            if name == KERNEL_MAP:
                name, identity = _KERNEL, _build_id.of_kernel()
            elif misc == lib.PERF_RECORD_MISC_KERNEL:
                identity = _build_id.of_module(module_name(os.fsdecode(name)))
            else:
                identity = _build_id.of_file(name)
            if identity:
                entries.append(_encode.build_id(identity, name, misc))
        return b"".join(entries)

    def _note(self, record: perf_record_p) -> None:
        """Take from a record that is no sample what the end of the file, or the user, is told."""
        header: Any = record.header
        if header.type in _LOSSES:
            losses: Any = record
            self.lost += losses.lost
        elif header.type in _MAPS and not header.misc & _NO_CODE:
            self._binaries[name_of(record)] = header.misc & lib.PERF_RECORD_MISC_CPUMODE_MASK

    def _make_room(self, view: _Buffer, written: int) -> int:
        """After a write of *view* that failed when *written* bytes of it were in the file, say how many to keep.

        They are whole records, and less than was written: on a full disk the table of features, too, needs room. If the
        little that was written is not enough, what the last calls wrote goes as well.
        """
        kept = whole_records(view, written - _ROOM)
        if not kept and self.size:
            self.size, self.n_samples, self.lost = self._states[0]
            del self._states[1:]  # they are of places at which other records may begin from now on
        self._truncate(self._data + self.size + kept)
        return kept

    def _write_at(self, place: int, data: bytes | memoryview | _Bytes) -> tuple[int, OSError | None]:
        """Write all of *data*, or what there is room for; return how many bytes, and the error that was in the way."""
        if self._fd < 0:
            raise ValueError("the perf.data file is closed")
        written = 0
        try:
            written = os.pwrite(self._fd, data, place)
            while written < len(data):
                written += os.pwrite(self._fd, memoryview(data)[written:], place + written)
        except OSError as error:
            error.filename = os.fspath(self._path)
            return written, error
        return written, None

    def _truncate(self, size: int) -> None:
        if self._is_regular:
            os.ftruncate(self._fd, size)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)

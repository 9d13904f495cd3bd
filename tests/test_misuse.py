"""What a program can do wrong without casting addresses of its own: an error, never a crash, a leak or a lost record."""

import errno
import mmap
import os
import resource
import sys
import threading
from typing import Any

import pytest
from support.encode import record, u64
from support.events import DUMMY, FAULTS
from support.processes import in_child
from support.rings import put, synthetic_ring

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ffi, records, ring, targets

SURROGATE = "\ud800"
LOOSE: Any = b  # for calls that type checkers refuse


def ring_of(*parts):
    """Return a ring in plain memory with these records."""
    page, area, _ = synthetic_ring()
    put(page, area, b"".join(parts))
    return page


def numbered(which, n, size):
    """Return *n* records of one size, each with the number of its ring and its own."""
    return [record(b.PERF_RECORD_LOST, u64(which, i) + bytes(size - 24)) for i in range(n)]


def test_a_ring_of_large_records_is_drained_beside_many_small_ones():
    """Its record is larger than an equal share, and the others never leave anything over."""
    large = ring_of(*numbered(0, 2, 2048))
    small = [ring_of(*numbered(1 + i, 60, 64)) for i in range(15)]
    buffer = bytearray(8192)
    taken = []
    for _ in range(2):
        before = ring.tail(large)
        assert ring.drain_into([large, *small], buffer)
        taken.append(ring.tail(large) - before)
        for i, page in enumerate(small):  # their records come back: they are always full
            page.data_tail, page.data_head = 0, 60 * 64
            assert ring.head(page) == 60 * 64, i
    assert taken == [2048, 2048]


def test_of_rings_whose_next_records_do_not_fit_together_none_waits_for_ever():
    """A buffer for one record, and three rings that are always full: they take turns."""
    pages = [ring_of(*numbered(i, 3, 512)) for i in range(3)]
    order = []
    for _ in range(9):
        buffer = bytearray(600)
        assert ring.drain_into(pages, buffer) == 512
        found: Any = records.at(buffer, 0)
        order.append(found.id)
    assert sorted(order[:3]) == sorted(order[3:6]) == sorted(order[6:]) == [0, 1, 2]


def test_a_page_given_twice_is_a_value_error(event):
    """Its records would come twice; through another pointer to it, too."""
    with ring.map(event(**DUMMY), 1) as page, ring.map(event(**DUMMY), 1) as other:
        for again in (page, ffi.cast("struct perf_event_mmap_page *", page)):
            with pytest.raises(ValueError, match="given twice") as caught:
                ring.drain_into([page, other, again], bytearray(100))
            error: Any = caught.value
            assert error.index == 2


def test_a_list_of_pages_that_changes_leaves_no_ring_out(event):
    """What is remembered for pages is that of all of them, whatever another thread does to the list."""

    class Changing(list[Any]):
        """A list that gives one page less the second time."""

        def __iter__(self):
            pages = list(super().__iter__())
            del self[1:]
            return iter(pages)

    pages = [ring.map(event(**DUMMY), 1) for _ in range(2)]
    ring.drain_into(Changing(pages), bytearray(100))
    bad = ring.map(event(**DUMMY), 1)
    ring.drain_into([*pages, bad], bytearray(100))
    ffi.release(bad)
    with pytest.raises(ValueError, match="unmapped"):
        ring.drain_into([*pages, bad], bytearray(100))
    for page in pages:
        ffi.release(page)


@pytest.mark.parametrize(
    "enum", [SURROGATE, f"perf_event_type{SURROGATE}", "perf_event_type\0x", "perf_event_type *", ""]
)
def test_a_name_that_is_no_c_is_a_value_error(enum):
    """A lone surrogate, on which cffi crashes, a NUL, a pointer, nothing."""
    with pytest.raises(ValueError, match="no enum"):
        LOOSE.name_of(enum, 1)
    with pytest.raises(ValueError, match="no PERF_MEM_"):
        LOOSE.PERF_MEM_S(enum, "x")


@pytest.mark.parametrize("ctype", [SURROGATE, "nonsense", "int", 5, None, "FILE", "struct perf_sample *"])
def test_dtype_of_what_is_no_struct_is_a_value_error(ctype):
    """``dtype`` of a pointer, a number or a name that is no struct's is a ValueError with the same message."""
    pytest.importorskip("numpy", reason="needs NumPy")
    with pytest.raises(ValueError, match="is no struct"):
        records.dtype(ctype)


def test_copy_of_a_page_that_is_gone_is_a_value_error(event):
    """``copy`` of a page that was unmapped is a ValueError, in this process and in a forked child."""
    page = ring.map(event(**DUMMY), 1)
    assert b.copy(page).data_size == mmap.PAGESIZE

    def in_the_child():
        with pytest.raises(ValueError, match="belongs to the parent"):
            b.copy(page)

    in_child(in_the_child)
    ffi.release(page)
    with pytest.raises(ValueError, match="unmapped"):
        b.copy(page)


def test_copy_of_a_query_goes_by_the_room_that_there_is():
    """``copy`` of a query copies the array that was allocated, not ids_len elements, and takes no overrides."""
    query = b.perf_event_query_bpf(3)
    query.ids[2], query.prog_cnt, query.ids_len = 9, 2, 1 << 20
    copied = b.copy(query)
    assert (copied.ids_len, copied.prog_cnt, copied.ids[2]) == (3, 2, 9)
    for fields in ({"nonsense": 5}, {"ids_len": 2**40}):
        with pytest.raises(TypeError):
            b.copy(query, **fields)


def test_a_struct_lives_as_long_as_the_call_that_it_is_given_to():
    """attr(...)[0] is nobody else's: its memory is not to be freed before it is read."""
    for _ in range(200):
        text = LOOSE.dump(b.perf_event_attr(type=1, config=2, sample_period=77)[0])
        assert "sample_period            77" in text
        data = record(b.PERF_RECORD_SAMPLE, u64(1, 5))
        attr = b.perf_event_attr(sample_type=b.PERF_SAMPLE_CALLCHAIN)
        assert list(records.callchain(data, records.parse(data, attr)[0][0])) == [5]


def test_at_gives_the_struct_of_the_type_that_was_checked():
    """A record whose type another thread changes is refused, or is what its size allows."""
    buffer = bytearray(record(b.PERF_RECORD_SWITCH))
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            buffer[0] = b.PERF_RECORD_NAMESPACES
            buffer[0] = b.PERF_RECORD_SWITCH

    flipper = threading.Thread(target=flip)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    flipper.start()
    try:
        found = set()
        for _ in range(20000):
            try:
                found.add(ffi.typeof(records.at(buffer, 0)).cname)
            except records.CorruptRecord:
                found.add("")
    finally:
        stop.set()
        flipper.join()
        sys.setswitchinterval(interval)
    assert found <= {"", "struct perf_record_switch *"}


def test_columns_ask_for_no_more_rows_than_there_are_samples():
    """Where the fixed fields say little of a sample's size, the samples are counted."""
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    attr = b.perf_event_attr(sample_type=b.PERF_SAMPLE_RAW)
    data = record(b.PERF_RECORD_SAMPLE, (60000).to_bytes(4, sys.byteorder) + bytes(60004)) * 100
    limit = resource.getrlimit(resource.RLIMIT_AS)

    def decode():
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), limit[1]))
        names = [name for name, field in ffi.typeof("struct perf_sample").fields]
        return records.columns(data, attr, names)["raw_count"].tolist()

    assert in_child(decode) == [60000] * 100
    assert numpy.__name__ == "numpy"


def test_a_ring_is_mapped_where_no_more_files_can_be_opened(event):
    """Mmap needs no file descriptor, and no module is imported for it."""
    fd = event(**FAULTS)

    def map_without_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 1, fd + 1))
        with ring.map(fd, 1) as page:
            return page.data_size

    assert in_child(map_without_files) == mmap.PAGESIZE


def test_no_more_files_is_not_taken_for_a_machine_without_pmus():
    """EMFILE is raised, not an empty list."""

    def list_pmus():
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        with pytest.raises(OSError, match="Too many open files") as caught:
            events.pmus()
        return caught.value.errno

    assert in_child(list_pmus) == errno.EMFILE


def test_a_command_that_is_forgotten_is_told_of():
    """As of subprocess: a ResourceWarning while it runs; one that has ended is reaped."""
    command = targets.Command(["sleep", "1000"])
    command.start()
    pid = command.pid
    with pytest.warns(ResourceWarning, match=f"command {pid} is still running"):
        del command
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    command = targets.Command(["true"])
    command.start()
    pid = command.pid
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    del command
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)

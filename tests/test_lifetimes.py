"""Rings that are gone, in this process or in a child, rings that lie, and files that are none: an error, never a crash."""

import gc
import mmap
import os
import signal
import subprocess
import sys
import threading

import pytest
from support.encode import record, u64
from support.events import DUMMY, FAULTS, PAGE_FAULTS
from support.machine import PAGE_SIZE, WORD
from support.marks import needs_events
from support.processes import in_child
from support.rings import address
from support.workloads import fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, ioctls, lib, records, ring

USES = {
    "head": lambda page: ring.head(page),
    "tail": lambda page: ring.tail(page),
    "set_tail": lambda page: ring.set_tail(page, 0),
    "data": lambda page: ring.data(page),
    "read_into": lambda page: ring.read_into(page, bytearray(64)),
    "read": lambda page: ring.read(page),
    "snapshot_into": lambda page: ring.snapshot_into(page, bytearray(64)),
    "map_aux": lambda page: ring.map_aux(0, page, 1),
    "read_aux_into": lambda page: ring.read_aux_into(page, ffi.new("uint8_t[]", 8), bytearray(64)),
    "read_user": lambda page: counters.read_user(page),
}


def mapped_areas():
    """Return this process's mappings, as /proc has them, of perf events."""
    with open("/proc/self/maps") as maps:
        return [line for line in maps if "[perf_event]" in line]


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_released_page_is_a_value_error(event, use):
    """Every function says that the ring was unmapped, also when another ring lies at its address."""
    fd = event(**DUMMY)
    page = ring.map(fd, 1)
    with page:
        assert ring.head(page) == 0
    with ring.map(fd, 1) as other:
        assert address(other) == address(page)
        with pytest.raises(ValueError, match="the ring was unmapped: its with block has ended, or it was released"):
            use(page)
        assert ring.head(other) == 0


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_page_of_the_parent_is_a_value_error_in_a_child(event, use):
    """The kernel does not copy the mapping; the ring of the parent goes on."""

    def in_the_child():
        with pytest.raises(ValueError, match="the ring belongs to the parent of this process"):
            use(page)

    with ring.map(event(**FAULTS), 8) as page:
        in_child(in_the_child)
        fault(5)
        assert len(list(records.iterate(ring.read(page)))) >= 5  # this process faults in pages of its own, too


def test_a_child_may_map_the_event_for_itself(event):
    """The file descriptor is inherited, and a mapping of the child's own is one like any other."""
    fd = event(**FAULTS)

    def in_the_child():
        with ring.map(fd, 8) as own:
            return len(list(records.iterate(ring.read(own))))

    with ring.map(fd, 8):
        fault(3)
        assert in_child(in_the_child) >= 3


@pytest.mark.parametrize("how", ["collected", "released", "view", "exit"])
def test_a_child_unmaps_nothing(event, how):
    """What the child maps where the parent's ring was stays there, however the child's copy of the page goes."""
    pages = 9

    def in_the_child():
        nonlocal page, view  # type: ignore[misc]
        area = mmap.mmap(-1, pages * PAGE_SIZE)
        found = [ffi.from_buffer(area)]
        taken = address(found[0]) == at
        while not taken and len(found) < 64:  # the kernel fills the gap sooner or later
            found.append(ffi.from_buffer(mmap.mmap(-1, pages * PAGE_SIZE)))
            taken = address(found[-1]) == at
        if how == "released":
            ffi.release(page)
        elif how == "view":
            view = None
        elif how == "collected":
            page = view = None  # type: ignore[assignment]
        gc.collect()
        for one in found:
            ffi.memmove(one, b"x" * pages * PAGE_SIZE, pages * PAGE_SIZE)
        return taken

    page = ring.map(event(**FAULTS), pages - 1)
    view = ring.data(page) if how == "view" else None
    at = address(page)
    if how == "view":
        ffi.release(page)
    assert in_child(in_the_child)
    view = None
    ffi.release(page)


def test_a_grandchild_unmaps_nothing(event):
    """A ring that a child has mapped is not its own child's: what that maps there stays."""
    fd = event(**FAULTS)

    def in_the_child():
        page = ring.map(fd, 8)

        def in_the_grandchild():
            areas = [ffi.from_buffer(mmap.mmap(-1, 9 * PAGE_SIZE)) for _ in range(64)]
            ffi.release(page)
            for area in areas:
                ffi.memmove(area, b"x" * 9 * PAGE_SIZE, 9 * PAGE_SIZE)
            return address(page) in map(address, areas)

        return in_child(in_the_grandchild)

    assert in_child(in_the_child)


@needs_events
@pytest.mark.parametrize("keep", ["page", "view", "both"])
def test_the_end_of_the_interpreter_is_silent(keep):
    """A ring, or a view of it, that lives to the end is unmapped without a word."""
    script = f"""
from perf_event_open_sys import bindings as b, perf_event_attr, perf_event_open, ring
attr = perf_event_attr(type=b.PERF_TYPE_SOFTWARE, config=b.PERF_COUNT_SW_DUMMY, exclude_kernel=1)
page = ring.map(perf_event_open(attr), 1)
view = ring.data(page) if {keep != "page"} else None
if {keep == "view"}:
    del page
class Late:
    def __del__(self, kept=list(filter(None, (globals().get("page"), view)))): pass
import sys
sys.late = Late()
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_view_keeps_the_mapping_until_it_is_gone(event):
    """After the with block the page is gone for every function, and the view still reads its memory."""
    before = len(mapped_areas())
    with ring.map(event(**FAULTS), 1) as page:
        fault(2)
        view, size = ring.data(page), ring.head(page)
    with pytest.raises(ValueError, match="the ring was unmapped"):
        ring.head(page)
    found = [record.header.type for record in records.iterate(view[:size])]
    assert found[:2] == [b.PERF_RECORD_SAMPLE] * 2
    assert len(mapped_areas()) == before + 1
    del view
    assert len(mapped_areas()) == before


def test_a_reader_in_another_thread_survives_the_release(event):
    """The memory stays until the calls that use it have returned."""
    fd = event(**FAULTS)
    pages, stop = [ring.map(fd, 64)], threading.Event()
    outcomes = set()

    def read():
        buffer = bytearray(1 << 20)
        while not stop.is_set():
            try:
                ring.read_into(pages[0], buffer)
                outcomes.add("read")
            except ValueError as error:
                outcomes.add(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    while "read" not in outcomes or len(outcomes) < 2:
        fault(50)
        ffi.release(pages[0])
        pages[0] = ring.map(fd, 64)
    stop.set()
    reader.join()
    ffi.release(pages[0])
    assert all(one == "read" or "the ring was unmapped" in one for one in outcomes)


def test_a_page_that_the_caller_mapped_is_taken_as_it_is(event):
    """Python's mmap of an event is a ring; a file that is none is not this module's to know."""
    fd = event(**FAULTS)
    with mmap.mmap(fd, 2 * PAGE_SIZE) as area:
        page = ffi.from_buffer("struct perf_event_mmap_page *", area)
        fault(3)
        assert len(list(records.iterate(ring.read(page)))) >= 3
        assert ring.data(page).nbytes == PAGE_SIZE
        ffi.release(page)


@pytest.mark.parametrize("field", ["data_size", "data_offset"])
@pytest.mark.parametrize("lie", [0, 8, PAGE_SIZE // 2, 2**30, 2**63])
def test_the_geometry_is_what_was_mapped(event, field, lie):
    """Whoever else has the file descriptor may write the page: the reader goes by the sizes of its own mapping."""
    fd = event(**FAULTS)
    with ring.map(fd, 2) as page, mmap.mmap(fd, 3 * PAGE_SIZE) as shared:
        other = ffi.from_buffer("struct perf_event_mmap_page *", shared)
        fault(4)
        truth = getattr(other, field)
        setattr(other, field, lie)
        assert ring.data(page).nbytes == 2 * PAGE_SIZE
        assert len(list(records.iterate(ring.read(page)))) >= 4
        setattr(other, field, truth)
        ffi.release(other)


@pytest.mark.parametrize("head", [2 ** (WORD - 1), 2**64 - 8, 3 * PAGE_SIZE])
def test_a_head_that_cannot_be_is_a_value_error(event, head):
    """A head further from the tail than the mapped ring is long is refused, whatever data_size says."""
    fd = event(**FAULTS, disabled=1)
    with ring.map(fd, 2) as page:
        page.data_size, page.data_head = 2**62, head
        with pytest.raises(ValueError, match="not a ring that is read forward"):
            ring.read_into(page, bytearray(1 << 20))
        assert ring.tail(page) == 0


@pytest.mark.parametrize("pages", [1, 1024])
def test_a_failed_map_aux_changes_nothing(event, pages):
    """An event without an AUX area refuses it, and the page is as it was."""
    fd = event(**FAULTS)
    with ring.map(fd, 1) as page:
        page.aux_offset, page.aux_size = 77, 78
        with pytest.raises(OSError, match="mmap of the AUX ring"):
            ring.map_aux(fd, page, pages)
        assert (page.aux_offset, page.aux_size) == (77, 78)


def test_an_aux_area_that_is_too_short_is_a_value_error():
    """The array's own length bounds what is read, whatever the page says."""
    area = mmap.mmap(-1, 2 * PAGE_SIZE)
    page = ffi.from_buffer("struct perf_event_mmap_page *", area)
    page.data_offset, page.data_size, page.aux_size, page.aux_head = PAGE_SIZE, PAGE_SIZE, 8 * PAGE_SIZE, 4 * PAGE_SIZE
    with pytest.raises(ValueError, match="not an AUX ring"):
        ring.read_aux_into(page, ffi.new("uint8_t[]", PAGE_SIZE), bytearray(8 * PAGE_SIZE))
    assert ring.read_aux_into(page, ffi.new("uint8_t[]", 8 * PAGE_SIZE), bytearray(8 * PAGE_SIZE)) == 4 * PAGE_SIZE


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_a_file_that_is_no_event_is_refused_before_it_is_mapped(tmp_path, size):
    """Empty or not, a memfd and a regular file stay as they were."""
    with open(tmp_path / "file", "w+b") as file:
        for fd in (file.fileno(), memfd := os.memfd_create("memfd")):
            os.ftruncate(fd, size)
            with pytest.raises(OSError, match="no perf event") as caught:
                ring.map(fd, 1)
            assert caught.value.args[1].startswith("mmap of the ring")
            assert mapped_areas() == [line for line in mapped_areas() if "memfd" not in line]
        os.close(memfd)


class Integer:
    """A number of pages as NumPy's int64 gives it: products of it wrap."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value

    def __mul__(self, other):
        return (self.value * other) % 2**64

    __rmul__ = __mul__


def test_a_number_of_pages_does_not_wrap(event):
    """2**60 pages are more than a size_t of bytes, of whatever type the number is."""
    for pages in (2**60, Integer(2**60), Integer(2**52)):
        with pytest.raises((OverflowError, OSError)):
            ring.map(event(**FAULTS), pages)  # type: ignore[arg-type]
    for pages in ("1", 1.0, None):  # type: ignore[assignment]
        with pytest.raises(TypeError):
            ring.map(event(**FAULTS), pages)  # type: ignore[arg-type]


def test_a_trailer_and_a_name_stay_inside_the_buffer():
    """A size that grows after iterate() has checked it does not lead beyond the bytes that are there."""
    buffer = bytearray(record(b.PERF_RECORD_SWITCH) * 9 + record(b.PERF_RECORD_COMM, u64(1) + b"name\0\0\0\0"))
    memory = memoryview(buffer + b"y" * 200)
    buffer = memory[: len(buffer)]  # type: ignore[assignment]
    [*_, comm] = records.iterate(buffer)
    assert records.name(comm) == b"name"
    buffer[-8:] = b"x" * 8
    comm.header.size = 65528
    assert records.name(comm) == b"x" * 8
    attr = b.perf_event_attr(sample_type=b.PERF_SAMPLE_TIME, sample_id_all=1)
    with pytest.raises(records.CorruptRecord):
        records.sample_id(comm, attr)


def test_fork_and_failed_exec_beside_a_ring_is_no_crash(event):
    """The mapping that the child made where the ring was is there when its Python ends."""
    page = ring.map(event(**FAULTS), 8)
    child = os.fork()
    if child == 0:
        try:
            areas = [mmap.mmap(-1, 9 * PAGE_SIZE) for _ in range(16)]
            page = None  # type: ignore[assignment]
            for area in areas:
                area[0] = 1
            os.execvp("/nonexistent", ["x"])
        except FileNotFoundError:
            areas[0][8 * PAGE_SIZE] = 1
        os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7, signal.Signals(os.WTERMSIG(status)).name
    ffi.release(page)


def test_the_counts_before_one_that_fails_are_decoded(event):
    """read_into names the one that failed by its index, and what was read before it is as it should be."""
    read_format = b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_ID
    fds = [event(**PAGE_FAULTS, read_format=read_format) for _ in range(3)]
    broken = os.open("/dev/null", os.O_WRONLY)
    out = ffi.new("struct perf_counts[]", 4)
    with pytest.raises(OSError, match=f"read of event {broken}") as caught:
        counters.read_into([*fds[:2], broken, fds[2]], read_format, out)
    os.close(broken)
    assert caught.value.index == 2  # type: ignore[attr-defined]
    assert [(one.id, one.time_running, one.lost) for one in out[0:2]] == [(ioctls.id(fd), 0, 0) for fd in fds[:2]]
    assert all(one.time_enabled > 0 for one in out[0:2])


def test_an_array_of_rows_is_no_larger_than_its_samples(monkeypatch):
    """One small record before a large rest asks for no room beyond the samples that are there."""
    asked = []
    monkeypatch.setattr(records, "new_uncleared", lambda ctype, n: asked.append(n) or ffi.new(ctype, n))  # type: ignore[func-returns-value]
    sample = record(b.PERF_RECORD_SAMPLE, u64(7))
    buffer = record(b.PERF_RECORD_SWITCH) + record(b.PERF_RECORD_LOST, bytes(60000)) + sample * 3
    found = records.parse(buffer, b.perf_event_attr(sample_type=b.PERF_SAMPLE_IP))
    assert ([one.ip for one in found], asked) == ([7, 7, 7], [3])


def test_a_view_of_read_only_bytes_is_a_copy():
    """Writing to what callchain() gave of a bytes object leaves the bytes alone; of a bytearray it is a view."""
    attr = b.perf_event_attr(sample_type=b.PERF_SAMPLE_CALLCHAIN)
    frozen = record(b.PERF_RECORD_SAMPLE, u64(2, 11, 12))
    for buffer in (frozen, bytearray(frozen)):
        [sample] = records.parse(buffer, attr)
        records.callchain(buffer, sample)[0] = 99
        [again] = records.parse(buffer, attr)
        assert list(records.callchain(buffer, again)) == [11 if buffer is frozen else 99, 12]


def test_an_attr_that_changes_during_the_decoding_leads_nowhere():
    """A thread that flips the sample_type of the attr gets samples or an error, and never what lies behind the buffer."""
    attr = b.perf_event_attr(sample_type=b.PERF_SAMPLE_IP)
    buffer = record(b.PERF_RECORD_SAMPLE, u64(7)) * 2000
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            attr.sample_type = (b.PERF_SAMPLE_MAX - 1) & ~b.PERF_SAMPLE_WEIGHT_STRUCT
            attr.sample_type = b.PERF_SAMPLE_IP

    flipper = threading.Thread(target=flip)
    flipper.start()
    outcomes = set()
    for _ in range(3000):
        try:
            outcomes.update(sample.ip for sample in records.parse(buffer, attr)[:1])
        except records.CorruptRecord as error:
            outcomes.add(error.offset)
    stop.set()
    flipper.join()
    assert outcomes <= {7, 0}


def test_a_query_without_room_is_an_empty_list_or_enospc(event, getpgid_tracepoint):
    """max_ids=0 asks for no id."""
    fd = event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint)
    assert ioctls.query_bpf(fd, 0) == []
    assert lib.PERF_EVENT_IOC_QUERY_BPF

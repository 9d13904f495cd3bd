"""The ring: mapping, draining, overwriting, AUX; nothing lost without being counted, nothing torn, nothing twice."""

import contextlib
import ctypes
import errno
import fcntl
import gc
import itertools
import mmap
import os
import random
import select
import signal
import struct
import threading

import pytest
from conftest import needs_root
from support import (
    CPUS,
    DUMMY,
    PAGE_FAULTS,
    PAGE_SIZE,
    WORD,
    child,
    fault,
    put,
    record,
    synthetic_ring,
    touch,
    u64,
    write_wrapped,
)

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, ioctls, lib, perf_event_attr, perf_event_open, records, ring

LOST = b.PERF_RECORD_LOST
FAULTS = {**PAGE_FAULTS, "sample_type": b.PERF_SAMPLE_ADDR | b.PERF_SAMPLE_TIME, "exclude_kernel": 1}


# A child that faults pages in until its standard input is closed.
PRODUCER = "import select\nwhile not select.select([sys.stdin], [], [], 0)[0]:\n    fault(500)"


def start(process):
    """Let a child go, and do not wait for it."""
    process.stdin.write(b"\n")
    process.stdin.flush()


def mappings():
    """Return the addresses of this process's perf mappings."""
    with open("/proc/self/maps") as maps:
        return {int(line.split("-")[0], 16) for line in maps if "[perf_event]" in line}


def address(pointer):
    """Return a pointer's address."""
    return int(ffi.cast("uintptr_t", pointer))


def numbered(numbers, sizes):
    """Return a record for each number, of the sizes in turn: the number, and bytes that follow from it."""
    sizes = itertools.cycle(sizes)
    return [record(LOST, u64(n, n) + bytes([n % 251]) * (next(sizes) - 24)) for n in numbers]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("how", ["with", "release", "collection"])
def test_a_mapping_ends_with_its_owner(event, how, overwrite):
    """`with`, ffi.release and collection unmap the ring; until then it is in /proc/self/maps."""
    page = ring.map(event(**DUMMY), 2, overwrite=overwrite)
    at = address(page)
    assert at in mappings()
    assert (page.data_offset, page.data_size) == (PAGE_SIZE, 2 * PAGE_SIZE)
    if how == "with":
        with page:
            assert at in mappings()
    elif how == "release":
        ffi.release(page)
    else:
        del page
        gc.collect()
    assert at not in mappings()


def test_a_mapping_at_the_address_of_a_read_only_one_is_writable(event):
    """Nothing remembers that an overwritten ring was mapped there before."""
    fd, other = event(**FAULTS), event(**FAULTS, write_backward=1)
    for _ in range(20):
        ffi.release(ring.map(other, 1, overwrite=True))
        with ring.map(fd, 1) as page:
            ring.read(page)


@pytest.mark.parametrize("data_pages", [-1, -8, 3, 6, 1023])
def test_data_pages_must_be_a_power_of_two(event, data_pages):
    """The kernel would say EINVAL; Python says why."""
    with pytest.raises(ValueError, match=f"data_pages is {data_pages}, and must be a power of two"):
        ring.map(event(**DUMMY), data_pages)


@pytest.mark.parametrize("data_pages", [0, 1, 2, 64])
def test_powers_of_two_and_the_control_page_alone_are_mapped(event, data_pages):
    """0 pages of data give the control page, for user-space reads of a counter."""
    with ring.map(event(**DUMMY), data_pages) as page:
        assert page.data_size == data_pages * PAGE_SIZE
        assert page.capabilities >= 0
        assert len(ring.data(page)) == data_pages * PAGE_SIZE
        assert (ring.head(page), ring.tail(page)) == (0, 0)
        if not data_pages:
            with pytest.raises(ValueError, match="not a ring"):
                ring.read(page)


def test_more_than_perf_event_mlock_kb_is_eperm_for_an_ordinary_user():
    """Beyond the allowance and RLIMIT_MEMLOCK the kernel refuses; root in a child gives up his privilege for it."""
    with open("/proc/sys/kernel/perf_event_mlock_kb") as file:
        allowed = int(file.read()) * 1024 * os.cpu_count()
    pages = 1 << (allowed // PAGE_SIZE).bit_length()
    script = f"""
import os, resource
from perf_event_open_sys import perf_event_attr, perf_event_open, ring
if os.geteuid() == 0:
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
fd = perf_event_open(perf_event_attr(type=1, config=9, exclude_kernel=1))
try:
    ring.map(fd, {pages})
except PermissionError as error:
    print(error.errno)
"""
    with child(script) as (process, go):
        go()
        assert process.stdout.read() == b"%d\n" % errno.EPERM


def test_an_inherited_event_of_a_task_cannot_be_mapped(event):
    """Its children would write from many CPUs at once: EINVAL, an OSError; per CPU it can."""
    with pytest.raises(OSError, match="mmap") as caught:
        ring.map(event(**DUMMY, inherit=1), 1)
    assert caught.value.errno == errno.EINVAL
    with ring.map(event(**DUMMY, inherit=1, cpu=CPUS[0]), 1) as page:
        assert ring.read(page) == b""


def test_a_ring_outlives_its_file_descriptor():
    """Closing the event leaves what was recorded, and goes on recording."""
    fd = perf_event_open(perf_event_attr(**FAULTS))
    with ring.map(fd, 8) as page:
        os.close(fd)
        ring.read(page)
        fault(5)
        assert len(records.parse(ring.read(page), perf_event_attr(**FAULTS))) >= 5


def test_two_sizes_of_one_ring_are_einval(event):
    """The second mapping of an event must be as large as the first, and is then the same ring."""
    fd = event(**FAULTS)
    with ring.map(fd, 2) as page, ring.map(fd, 2) as again:
        fault(1)
        first = ring.head(page)
        assert 0 < first <= ring.head(again)  # what looks at them may fault
        ring.set_tail(again, first)
        assert ring.tail(page) == first
        with pytest.raises(OSError, match="mmap"):
            ring.map(fd, 4)


def test_data_is_a_read_only_view_that_keeps_the_mapping(event):
    """A write through it would kill the process where the ring is mapped read-only: Python refuses it."""
    fd = event(**FAULTS)
    page = ring.map(fd, 8)
    fault(3)
    at = address(page)
    data = ring.data(page)
    assert len(data) == 8 * PAGE_SIZE
    assert data.readonly
    with pytest.raises(TypeError):
        data[0] = 1
    head = ring.head(page)
    del page
    gc.collect()
    assert at in mappings()
    assert len(records.parse(data[:head], perf_event_attr(**FAULTS))) >= 3
    del data
    gc.collect()
    assert at not in mappings()


def test_set_tail_gives_room_back(event):
    """A reader of his own looks at data() between tail and head, and moves the tail himself."""
    fd = event(**FAULTS)
    with ring.map(fd, 1) as page:
        seen = 0
        for _ in range(10):
            fault(50)
            head, tail = ring.head(page), ring.tail(page)
            twice = bytes(ring.data(page)) * 2
            at = tail % page.data_size
            seen += len(records.parse(twice[at : at + head - tail], perf_event_attr(**FAULTS)))
            ring.set_tail(page, head)
            assert ring.tail(page) == page.data_tail == head
        assert ring.read(page) == b""
        assert ring.head(page) > page.data_size
        assert seen >= 500


def test_head_and_tail_are_64_bit():
    """Positions are not cut to 32 bits, and not masked."""
    page, _, _ = synthetic_ring()
    page.data_head = 2**64 - 8
    ring.set_tail(page, 2**64 - 16)
    assert (ring.head(page), ring.tail(page)) == (2**64 - 8, 2**64 - 16)


@pytest.mark.parametrize("lap", [0, 3 * PAGE_SIZE, 2**32 - PAGE_SIZE, 2**64 - PAGE_SIZE])
def test_records_that_wrap_are_joined_at_every_position(lap):
    """Wherever in the ring they begin, and in whichever lap, what comes out is what went in."""
    page, area, _ = synthetic_ring()
    whole = b"".join(numbered(range(9), [24, 64, 40, 128]))
    buffer = bytearray(PAGE_SIZE)
    for start in range(lap, lap + PAGE_SIZE, 8):
        page.data_head = page.data_tail = start % 2**64
        put(page, area, whole)
        assert ring.read_into(page, buffer) == len(whole)
        assert buffer[: len(whole)] == whole
        assert ring.tail(page) == page.data_head == (start + len(whole)) % 2**64
        assert ring.read_into(page, buffer) == 0
        page.data_tail = start % 2**64
        assert ring.read(page) == whole


@pytest.mark.parametrize("room", [64, 72, 100, 127, 128, 129, 255])
def test_a_small_buffer_takes_whole_records_only(room):
    """Records come in order and uncut, over many calls and laps."""
    page, area, _ = synthetic_ring()
    rng = random.Random(room)
    waiting = numbered(range(2000), [rng.randrange(3, 9) * 8 for _ in range(97)])
    buffer, out = bytearray(room), []
    while waiting or page.data_head != page.data_tail:
        while waiting and PAGE_SIZE - (page.data_head - page.data_tail) >= len(waiting[0]):
            put(page, area, waiting.pop(0))
        for _ in range(rng.randrange(1, 9)):
            size = ring.read_into(page, buffer)
            out += [bytes(ffi.buffer(one, one.header.size)) for one in records.iterate(buffer[:size])]
    assert out == numbered(range(2000), [rng.randrange(3, 9) * 8 for rng in [random.Random(room)] for _ in range(97)])
    assert page.data_head > 10 * PAGE_SIZE


def test_a_full_ring_is_read_whole():
    """Head and tail may be as far apart as the ring is long."""
    page, area, _ = synthetic_ring(2)
    page.data_head = page.data_tail = 4000
    whole = b"".join(numbered(range(128), [64]))
    assert len(whole) == page.data_size
    put(page, area, whole)
    assert ring.read(page) == whole


def test_the_largest_record_is_read():
    """A record has at most 65,528 bytes, header included."""
    page, area, _ = synthetic_ring(16)
    page.data_head = page.data_tail = 65000
    [large] = numbered([1], [65528])
    put(page, area, large)
    with pytest.raises(BufferError, match=r"65528 bytes, and the buffer 65527"):
        ring.read_into(page, bytearray(65527))
    buffer = bytearray(65528)
    assert ring.read_into(page, buffer) == 65528
    assert buffer == large


@pytest.mark.parametrize("room", [0, 1, 8, 39])
def test_a_buffer_below_the_next_record_is_a_buffer_error(room):
    """The message has the size that it needs, and nothing is consumed."""
    page, area, _ = synthetic_ring()
    put(page, area, b"".join(numbered([1, 2], [40, 24])))
    buffer = bytearray(b"x" * room)
    with pytest.raises(BufferError, match=f"next record has 40 bytes, and the buffer {room}$"):
        ring.read_into(page, buffer)
    assert (ring.tail(page), ring.head(page)) == (0, 64)
    assert buffer == b"x" * room
    assert ring.read_into(page, bytearray(40)) == 40
    assert ring.tail(page) == 40


def test_only_a_writable_contiguous_buffer_is_filled():
    """bytes, a read-only view and one with gaps are refused before anything is consumed; any item size will do."""
    page, area, _ = synthetic_ring()
    put(page, area, b"".join(numbered(range(4), [24])))
    for bad in (bytes(100), memoryview(bytearray(100)).toreadonly(), memoryview(bytearray(200))[::2]):
        with pytest.raises(BufferError):
            ring.read_into(page, bad)
        assert ring.tail(page) == 0
    with pytest.raises(TypeError):
        ring.read_into(page, "text")
    for good in (
        bytearray(24),
        memoryview(bytearray(100))[10:34],
        (ctypes.c_uint64 * 3)(),
        ffi.buffer(ffi.new("uint64_t[3]")),
    ):
        assert ring.read_into(page, good) == 24
    assert ring.head(page) == ring.tail(page) == 96


def test_bytes_outside_the_result_stay_as_they_were():
    """Only the returned number of bytes is written."""
    page, area, _ = synthetic_ring()
    put(page, area, b"".join(numbered([1, 2], [24, 48])))
    buffer = bytearray(b"?" * 64)
    assert ring.read_into(page, buffer) == 24
    assert buffer[24:] == b"?" * 40


def test_the_tail_is_stored_once_with_all_that_was_moved():
    """A second reader of the page never sees a tail in the middle of a batch."""
    page, area, _ = synthetic_ring(64)
    seen, done = set(), threading.Event()

    def watch():
        while not done.is_set():
            seen.add(lib.ring_tail(page))

    batches = [b"".join(numbered(range(1000), [24, 32, 40])) for _ in range(50)]
    ends = set(itertools.accumulate((len(batch) for batch in batches), initial=0))
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for batch in batches:
            put(page, area, batch)
            assert ring.read_into(page, bytearray(page.data_size)) == len(batch)
    finally:
        done.set()
        watcher.join()
    assert seen <= ends


@pytest.mark.parametrize(
    "fields",
    [
        {"data_offset": 0},
        {"data_offset": 2 * PAGE_SIZE},
        {"data_offset": 2**63},
        {"data_size": 0},
        {"data_size": PAGE_SIZE - 8},
        {"data_size": PAGE_SIZE // 2},
        {"data_size": 3 * PAGE_SIZE},
        {"data_size": 2**64 - 1},
        {"data_head": PAGE_SIZE + 8},
        {"data_head": 2**64 - 8},
        {"data_head": 2**63 + 2**31},
        {"data_head": 0, "data_tail": 8},
        {"data_head": 0, "data_tail": 2**63 + 2**31},
        {"data_head": 4},
        {"data_head": 12, "data_tail": 4},
    ],
    ids=str,
)
def test_a_page_that_is_no_ring_is_a_value_error(fields):
    """Geometry that no kernel writes, and a head further from the tail than the ring is long, are not followed."""
    page, _, _ = synthetic_ring()
    page.data_head = 64
    for name, value in fields.items():
        setattr(page, name, value)
    tail = page.data_tail
    for call in (
        ring.read,
        lambda page: ring.read_into(page, bytearray(64)),
        lambda page: ring.read_into(page, bytearray(1)),
    ):
        with pytest.raises(ValueError, match="not a ring that is read forward"):
            call(page)
    assert page.data_tail == tail


@pytest.mark.parametrize("size", [0, 7, 12, 20, 48, 4096, 65535])
def test_a_header_that_cannot_be_is_a_corrupt_record(size):
    """Where the buffer must be cut: what came before is delivered, then the offset is named, and again."""
    page, area, _ = synthetic_ring()
    start = PAGE_SIZE - 24  # the second record wraps
    page.data_head = page.data_tail = start
    good = b"".join(numbered([1, 2], [24, 40]))
    put(page, area, good + record(LOST, bytes(16), size=size) + bytes(16))
    buffer = bytearray(72)
    assert ring.read_into(page, buffer) == 64
    assert buffer[:64] == good
    for _ in range(2):
        with pytest.raises(records.CorruptRecord, match="offset 40 ") as caught:
            ring.read_into(page, bytearray(32))
        assert caught.value.offset == (start + 64) % PAGE_SIZE == 40
        assert ring.tail(page) == start + 64
    # Nothing is looked at where everything fits; the decoder then says so.
    whole = ring.read(page)
    with pytest.raises(records.CorruptRecord):
        list(records.iterate(whole))


def test_noise_in_the_ring_never_hangs_a_reader():
    """Any bytes between tail and head are delivered or refused, in as many calls as there are records."""
    rng = random.Random(5)
    page, area, _ = synthetic_ring()
    for _ in range(500):
        area[:] = rng.randbytes(PAGE_SIZE)
        for at in range(0, PAGE_SIZE, 8):
            if rng.random() < 0.7:
                area[at + 6 : at + 8] = rng.choice([8, 16, 24, 32, 64]).to_bytes(2, "little")
        page.data_tail = 8 * rng.randrange(2**40)
        page.data_head = page.data_tail + 8 * rng.randrange(PAGE_SIZE // 8 + 1)
        buffer = bytearray(rng.randrange(8, 200))
        for _ in range(PAGE_SIZE):
            before = page.data_tail
            try:
                if not (size := ring.read_into(page, buffer)):
                    break
            except (BufferError, records.CorruptRecord):
                assert page.data_tail == before
                break
            assert page.data_tail == before + size
        else:
            pytest.fail("a reader would go on for ever")


def put_backward(page, area, data):
    """Write a record below the head, as the kernel does with attr.write_backward."""
    page.data_head = (page.data_head - len(data)) % 2**64
    write_wrapped(area, page.data_head, data)


def first(made, room):
    """Return the records that come first and fit into *room* bytes."""
    ends = itertools.accumulate(map(len, made))
    return [one for one, end in zip(made, ends, strict=True) if end <= room]


@pytest.mark.parametrize("sizes", [[24], [32, 24, 64], [24, 512, 40, 1000], [2504], [4096]], ids=str)
def test_snapshot_reads_newest_first_at_every_wrap_position(sizes):
    """After each record: those of the last lap, but not the oldest where it is torn."""
    page, area, _ = synthetic_ring()
    written = []
    for n, data in enumerate(numbered(range(700), sizes)):
        put_backward(page, area, data)
        written.insert(0, data)
        whole = b"".join(first(written, PAGE_SIZE))
        buffer = bytearray(PAGE_SIZE)
        assert ring.snapshot_into(page, buffer) == len(whole), n
        assert buffer[: len(whole)] == whole
        del written[200:]


def test_read_takes_what_comes_after_its_first_look(monkeypatch, event):
    """The kernel writes while the ring is read: one that was empty a moment ago is no BufferError."""

    class Late:
        """The C functions, with a head that is read just before the kernel stores it."""

        def __getattr__(self, name):
            return lib.ring_tail if name == "ring_head" else getattr(lib, name)

    fd = event(**FAULTS)
    with ring.map(fd, 8) as page:
        fault(20)
        ioctls.disable(fd)
        there = ring.head(page) - ring.tail(page)
        monkeypatch.setattr(ring, "lib", Late())
        assert len(ring.read(page)) == there > 0


def test_snapshot_into_a_small_buffer_takes_the_newest_whole_records():
    """What does not fit is older; nothing is consumed, so that the next call gives the same."""
    page, area, _ = synthetic_ring()
    made = numbered(range(100), [64, 24, 40])
    for data in made:
        put_backward(page, area, data)
    for room in (64, 87, 88, 100, 4000):
        newest = list(itertools.takewhile(room.__ge__, itertools.accumulate(map(len, reversed(made)))))
        for _ in range(2):
            buffer = bytearray(room)
            size = ring.snapshot_into(page, buffer)
            assert size == newest[-1]
            assert buffer[:size] == b"".join(reversed(made))[:size]
    with pytest.raises(BufferError, match="newest record does not fit into 63 bytes"):
        ring.snapshot_into(page, bytearray(63))


def test_snapshot_of_a_ring_without_records_is_empty():
    """Head 0: the kernel wrote nothing yet."""
    page, _, _ = synthetic_ring()
    assert ring.snapshot_into(page, bytearray(64)) == 0


@pytest.mark.parametrize("head", [*([8, 2**63 - 8] if WORD == 64 else []), 2**64 - 4])
def test_snapshot_of_a_ring_that_is_written_forward_is_a_value_error(head):
    """A head above 0 is no backward ring's, one off the words is nobody's."""
    page, _, _ = synthetic_ring()
    page.data_head = head
    with pytest.raises(ValueError, match="not a ring that is written backward"):
        ring.snapshot_into(page, bytearray(64))


@pytest.mark.parametrize("size", [0, 7, 12, 65535])
def test_snapshot_stops_at_a_header_that_cannot_be(size):
    """Torn or corrupt is the same here: what is newer is delivered."""
    page, area, _ = synthetic_ring()
    [old, new] = numbered([1, 2], [24, 40])
    put_backward(page, area, old)
    put_backward(page, area, record(LOST, bytes(16), size=size))
    put_backward(page, area, new)
    buffer = bytearray(PAGE_SIZE)
    assert ring.snapshot_into(page, buffer) == 40
    assert buffer[:40] == new


def test_snapshot_of_a_real_ring_has_the_newest_page_faults_first(event):
    """Over several laps, after each fault: addresses go down from the last one, and none is torn."""
    attr = {**FAULTS, "write_backward": 1}
    fd = event(**attr, disabled=1)
    buffer = bytearray(PAGE_SIZE)
    with ring.map(fd, 1, overwrite=True) as page, mmap.mmap(-1, 1000 * PAGE_SIZE) as area:
        where = ffi.from_buffer(area)
        begin = address(where)
        for n in range(0, 1000, 3):
            ioctls.enable(fd)
            for i in range(n, min(n + 3, 1000)):
                area[i * PAGE_SIZE] = 1
            ioctls.disable(fd)
            size = ring.snapshot_into(page, buffer)
            samples = records.parse(memoryview(buffer)[:size], perf_event_attr(**attr))
            faults = [(one.addr - begin) // PAGE_SIZE for one in samples if 0 <= one.addr - begin < len(area)]
            assert faults[0] == min(n + 2, 999)
            assert faults == list(range(faults[0], faults[0] - len(faults), -1))
            times = [one.time for one in samples]
            assert times == sorted(times, reverse=True)
            if -page.data_head % 2**WORD > 2 * PAGE_SIZE:
                assert size > PAGE_SIZE - 3 * 24
        ffi.release(where)
        assert -page.data_head % 2**WORD > 4 * PAGE_SIZE


def test_a_snapshot_while_the_kernel_writes_leaves_out_what_is_torn(event):
    """The event's own count goes down by one from record to record, to the oldest, while another process faults pages in.

    A few may fail in thousands, where the writer lost its CPU between a record and its head: nothing tells of it.
    """
    kind = b.PERF_SAMPLE_READ | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME
    attr = {**PAGE_FAULTS, "exclude_kernel": 1, "sample_type": kind, "write_backward": 1}
    buffer = bytearray(PAGE_SIZE)
    with child(PRODUCER) as (process, _):
        fd = event(**attr, pid=process.pid)
        with ring.map(fd, 1, overwrite=True) as page:
            start(process)
            snapshots = torn = 0
            while -ring.head(page) % 2**WORD < 300 * PAGE_SIZE or snapshots < 2000:
                size = ring.snapshot_into(page, buffer)
                snapshots += 1
                samples = records.parse(memoryview(buffer)[:size], perf_event_attr(**attr))
                counts = [records.counts(buffer, one)[0].value for one in samples[-4:]]
                torn += any(newer - older != 1 for newer, older in itertools.pairwise(counts))
            process.stdin.close()
            assert process.wait(60) == 0
    assert torn <= snapshots // 200, snapshots


def test_a_read_only_ring_refuses_what_would_write_its_tail(event):
    """A ValueError that names the way, not a SIGSEGV."""
    with ring.map(event(**FAULTS, write_backward=1), 1, overwrite=True) as page:
        fault(3)
        for call in (
            ring.read,
            lambda page: ring.read_into(page, bytearray(4096)),
            lambda page: ring.set_tail(page, 0),
        ):
            with pytest.raises(ValueError, match="use snapshot_into"):
                call(page)
        with pytest.raises(ValueError, match="use snapshot_into"):
            ring.read_aux_into(page, ffi.NULL, bytearray(8))
        assert ring.snapshot_into(page, bytearray(4096)) > 0


@pytest.mark.skipif(WORD < 64, reason="the sign of a position of 32 bits tells nothing")
def test_an_overwritten_ring_read_forward_is_a_value_error(event):
    """Without write_backward the oldest record cannot be found."""
    with ring.map(event(**FAULTS), 1, overwrite=True) as page:
        fault(3)
        with pytest.raises(ValueError, match="not a ring that is written backward"):
            ring.snapshot_into(page, bytearray(4096))


def lost_in(buffer):
    """Return the sum of the LOST records."""
    return sum(one.lost for one in records.iterate(buffer) if one.header.type == LOST)


def test_samples_and_lost_add_up_to_what_was_counted(event):
    """A ring of one page overflows; each drain that finds room for one more record learns what was dropped."""
    fd = event(**FAULTS, read_format=b.PERF_FORMAT_LOST, disabled=1)
    attr = perf_event_attr(**FAULTS)
    got = lost = 0
    with ring.map(fd, 1) as page:
        ioctls.enable(fd)
        for n in (1000, 1, 3000, 1, 10, 5000):
            fault(n)
            buffer = ring.read(page)
            got, lost = got + len(records.parse(buffer, attr)), lost + lost_in(buffer)
        fault(1)
        ioctls.disable(fd)
        buffer = ring.read(page)
        got, lost = got + len(records.parse(buffer, attr)), lost + lost_in(buffer)
    [counts] = counters.read(fd, b.PERF_FORMAT_LOST)
    assert lost > 5000
    assert got > 100
    assert got + lost == counts.value
    assert lost == counts.lost


def test_a_million_real_records_add_up(event):
    """Through map, read_into and parse_into, some overflowing: samples + LOST is exactly what the event counted."""
    attr = perf_event_attr(**FAULTS)
    fd = event(**FAULTS, read_format=b.PERF_FORMAT_LOST, disabled=1)
    buffer = bytearray(256 * 1024)
    out = ffi.new("struct perf_sample[]", 16 * 1024)
    got = lost = rounds = 0
    last = 0
    with ring.map(fd, 32) as page, mmap.mmap(-1, 7000 * PAGE_SIZE) as area:
        ioctls.enable(fd)
        while got < 1_000_000:
            rounds += 1
            touch(area, 7000 if rounds % 10 == 0 else 5000)
            area.madvise(mmap.MADV_DONTNEED)
            while size := ring.read_into(page, buffer):
                data = memoryview(buffer)[:size]
                n, consumed = records.parse_into(data, attr, out)
                assert consumed == size
                assert last <= out[0].time <= out[n - 1].time
                last = out[n - 1].time
                got += n
                if size != n * out[0].size:
                    lost += lost_in(data)
        ioctls.disable(fd)
        rest = ring.read(page)
        got, lost = got + len(records.parse(rest, attr)), lost + lost_in(rest)
    [counts] = counters.read(fd, b.PERF_FORMAT_LOST)
    unwritten = counts.lost - lost  # dropped since the last record that found room
    assert lost > 0
    assert 0 <= unwritten < 7000
    assert got + lost + unwritten == counts.value
    assert got >= 1_000_000


def test_set_output_gathers_events_in_one_ring(event):
    """Three counters of page faults write to the first one's ring; each sample says whose it is."""
    attr = {**FAULTS, "sample_type": FAULTS["sample_type"] | b.PERF_SAMPLE_IDENTIFIER, "disabled": 1}
    fds = [event(**attr), event(**attr), event(**attr)]
    with ring.map(fds[0], 16) as page:
        for fd in fds[1:]:
            ioctls.set_output(fd, fds[0])
        for n, fd in enumerate(fds, 1):
            # One at a time: of several that one fault hits, all samples may carry the first one's id (Linux 6.18).
            ioctls.enable(fd)
            fault(20 * n)
            ioctls.disable(fd)
        buffer = ring.read(page)
    ids = [ioctls.id(fd) for fd in fds]
    samples = records.parse(buffer, dict.fromkeys(ids, perf_event_attr(**attr)))
    found = [sum(sample.id == one for sample in samples) for one in ids]
    assert found == [counters.read(fd)[0].value for fd in fds]
    assert all(n >= least for n, least in zip(found, (20, 40, 60), strict=True))


def test_a_breakpoint_writes_where_it_was_told_to(event):
    """Each write to a watched word is a sample with its address."""
    word = ffi.new("uint64_t *")
    view = memoryview(ffi.buffer(word)).cast("B").cast("Q")
    attr = {
        "type": b.PERF_TYPE_BREAKPOINT,
        "bp_type": b.HW_BREAKPOINT_W,
        "bp_addr": address(word),
        "bp_len": b.HW_BREAKPOINT_LEN_8,
        "sample_period": 1,
        "sample_type": b.PERF_SAMPLE_ADDR | b.PERF_SAMPLE_TID,
        "exclude_kernel": 1,
    }
    try:
        fd = event(**attr)
    except OSError as error:
        pytest.skip(f"no breakpoint to be had: {os.strerror(error.errno)}")
    with ring.map(fd, 8) as page:
        for n in range(50):
            view[0] = n
        buffer = ring.read(page)
    samples = records.parse(buffer, perf_event_attr(**attr))
    assert {(one.addr, one.tid) for one in samples} == {(address(word), threading.get_native_id())}
    assert len(samples) == counters.read(fd)[0].value == 50


@needs_root
def test_a_tracepoint_counts_every_context_switch(event, tracefs):
    """A per-task tracepoint, drained in between: the samples are as many as were counted."""
    with open(os.path.join(tracefs, "events", "sched", "sched_switch", "id")) as file:
        attr = {"type": b.PERF_TYPE_TRACEPOINT, "config": int(file.read()), "sample_period": 1, "disabled": 1}
    attr["sample_type"] = b.PERF_SAMPLE_RAW | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CPU
    fd = event(**attr)
    seen = 0
    with ring.map(fd, 1) as page:
        ioctls.enable(fd)
        for _ in range(200):
            select.select([], [], [], 0.0001)
            samples = records.parse(ring.read(page), perf_event_attr(**attr))
            assert {one.cpu for one in samples} <= set(CPUS)
            seen += len(samples)
        ioctls.disable(fd)
        seen += len(records.parse(ring.read(page), perf_event_attr(**attr)))
    assert seen == counters.read(fd)[0].value >= 100  # a wait that is over before it begins is no switch


def test_poll_is_woken_by_a_record(event):
    """With wakeup_events = 1, one sample makes the event readable."""
    fd = event(**FAULTS, wakeup_events=1, disabled=1)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    with ring.map(fd, 8) as page:
        assert poll.poll(0) == []
        ioctls.enable(fd)
        fault(1)
        ioctls.disable(fd)
        assert poll.poll(60_000) == [(fd, select.POLLIN)]
        assert ring.read(page)


def test_poll_waits_for_the_watermark(event):
    """With wakeup_watermark, that many bytes do."""
    fd = event(**FAULTS, watermark=1, wakeup_watermark=PAGE_SIZE // 2, disabled=1)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    with ring.map(fd, 8) as page:
        ioctls.enable(fd)
        while not poll.poll(0):
            fault(1)
        ioctls.disable(fd)
        assert PAGE_SIZE // 2 <= ring.head(page) < PAGE_SIZE


def test_sigio_is_sent_for_a_record(event):
    """With O_ASYNC the wakeup is a signal that names the file."""
    fd = event(**FAULTS, wakeup_events=1, disabled=1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
    try:
        with ring.map(fd, 8) as page:
            # F_SETOWN_EX, F_OWNER_TID: to this thread, since others do not block it; F_SETSIG
            fcntl.fcntl(fd, 15, struct.pack("=ii", 0, threading.get_native_id()))
            fcntl.fcntl(fd, 10, signal.SIGRTMIN)
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
            ioctls.enable(fd)
            fault(1)
            ioctls.disable(fd)
            info = signal.sigtimedwait({signal.SIGRTMIN}, 60)
            assert info is not None
            assert info.si_band & select.POLLIN
            assert ring.read(page)
            fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    finally:
        signal.signal(signal.SIGRTMIN, signal.SIG_IGN)  # another may be on its way, and would end the process
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_exit_of_the_task_is_pollhup_and_the_ring_stays_readable(event):
    """A reader waits for records and the end with one poll, and then drains what is left."""
    attr = {**FAULTS, "sample_type": FAULTS["sample_type"] | b.PERF_SAMPLE_TID, "wakeup_events": 2**31}
    with child("fault(50)") as (process, go):
        fd = event(**attr, pid=process.pid)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        with ring.map(fd, 32) as page:
            assert poll.poll(0) == []
            go()
            [(_, happened)] = poll.poll(60_000)
            assert happened & select.POLLHUP
            samples = records.parse(ring.read(page), perf_event_attr(**attr))
            assert len(samples) >= 50
            assert {one.pid for one in samples} == {process.pid}


@pytest.mark.parametrize("lap", [0, 2**32 - PAGE_SIZE, 2**64 - 3 * PAGE_SIZE])
@pytest.mark.parametrize("room", [1, 100, 1000, PAGE_SIZE, 4 * PAGE_SIZE])
def test_aux_is_drained_over_many_laps(lap, room):
    """The tail is monotonic, never masked; the bytes are a stream, whatever the buffer's size."""
    page, _, area = synthetic_ring(1, aux_pages=2)
    aux = ffi.from_buffer("uint8_t[]", area)
    rng = random.Random(room)
    page.aux_head = page.aux_tail = lap
    written, read, done = bytearray(), bytearray(), 0
    buffer = bytearray(room)
    while len(written) < 10 * len(area) and done < 3000:
        done += 1
        free = len(area) - (page.aux_head - page.aux_tail) % 2**64
        data = rng.randbytes(rng.randrange(min(free, 4 * room) + 1))
        write_wrapped(area, page.aux_head, data)
        page.aux_head = (page.aux_head + len(data)) % 2**64
        written += data
        size = ring.read_aux_into(page, aux, buffer)
        assert size == min(room, len(written) - len(read))
        read += buffer[:size]
        assert page.aux_tail == (lap + len(read)) % 2**64
    while size := ring.read_aux_into(page, aux, buffer):
        read += buffer[:size]
    assert read == written
    assert page.aux_tail == page.aux_head
    ffi.release(aux)


@pytest.mark.parametrize(
    "fields",
    [
        {"aux_size": 0},
        {"aux_size": 3 * PAGE_SIZE},
        {"aux_head": 2 * PAGE_SIZE + 1},
        {"aux_tail": 9},
        {"aux_head": 2**63 + 2**31},
    ],
    ids=str,
)
def test_a_page_without_an_aux_ring_is_a_value_error(fields):
    """Size, head and tail are checked before a byte is read."""
    page, _, area = synthetic_ring(1, aux_pages=2)
    page.aux_head = 8
    for name, value in fields.items():
        setattr(page, name, value)
    tail = page.aux_tail
    with pytest.raises(ValueError, match="not an AUX ring"):
        ring.read_aux_into(page, ffi.from_buffer("uint8_t[]", area), bytearray(8))
    assert page.aux_tail == tail


def test_aux_goes_into_writable_buffers_only():
    """A read-only buffer consumes nothing."""
    page, _, area = synthetic_ring(1, aux_pages=1)
    page.aux_head = 8
    with pytest.raises(BufferError):
        ring.read_aux_into(page, ffi.from_buffer("uint8_t[]", area), bytes(8))
    assert page.aux_tail == 0


@pytest.mark.parametrize("aux_pages", [0, -1, 3])
def test_aux_pages_must_be_a_power_of_two(event, aux_pages):
    """As data_pages, and at least one."""
    fd = event(**DUMMY)
    with ring.map(fd, 1) as page, pytest.raises(ValueError, match=f"aux_pages is {aux_pages}"):
        ring.map_aux(fd, page, aux_pages)


def test_an_event_without_aux_area_refuses_to_map_one(event):
    """Software events have none: an OSError, and the data ring goes on."""
    fd = event(**FAULTS)
    with ring.map(fd, 8) as page:
        with pytest.raises(OSError, match="mmap"):
            ring.map_aux(fd, page, 1)
        fault(1)
        assert ring.read(page)


def test_a_consumer_and_eight_producers(event):
    """Nothing torn, nothing twice, time monotonic per CPU; what is missing was counted as lost.

    Eight processes fault pages in; each has an event per CPU, and all events of a CPU write to one ring. A sample has
    its event's own count: of each event, they go up, and how many are missing LOST says.
    """
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    seconds = float(os.environ.get("PERF_EVENT_SOAK_SECONDS", "3"))
    fields = {
        **PAGE_FAULTS,
        "exclude_kernel": 1,
        "sample_type": b.PERF_SAMPLE_IDENTIFIER
        | b.PERF_SAMPLE_TID
        | b.PERF_SAMPLE_TIME
        | b.PERF_SAMPLE_CPU
        | b.PERF_SAMPLE_READ
        | b.PERF_SAMPLE_ADDR,
        "read_format": b.PERF_FORMAT_ID | b.PERF_FORMAT_LOST,
        "wakeup_events": 64,
    }
    attr = perf_event_attr(**fields)
    with contextlib.ExitStack() as stack:
        producers = [stack.enter_context(child(PRODUCER)) for _ in range(8)]
        owner, rings = {}, {}
        for cpu in CPUS:
            fds = [event(**fields, pid=process.pid, cpu=cpu) for process, _ in producers]
            rings[cpu] = stack.enter_context(ring.map(fds[0], 64)), fds[0]
            for fd, (process, _) in zip(fds, producers, strict=True):
                if fd != fds[0]:
                    ioctls.set_output(fd, fds[0])
                owner[ioctls.id(fd)] = (process.pid, cpu, fd)
        attrs = dict.fromkeys(owner, attr)
        stop = threading.Event()
        result = {
            "values": dict.fromkeys(owner, 0),
            "time": dict.fromkeys(CPUS, 0),
            "samples": 0,
            "lost": 0,
            "error": None,
        }

        def drain(cpu, page, buffer, out):
            size = ring.read_into(page, buffer)
            if not size:
                return
            data = memoryview(buffer)[:size]
            n, consumed = records.parse_into(data, attrs, out)
            assert consumed == size
            if size != n * out[0].size:
                result["lost"] += lost_in(data)
            rows = records.to_numpy(out)[:n]
            assert (rows["cpu"] == cpu).all()
            times = numpy.concatenate([[result["time"][cpu]], rows["time"]]).astype(numpy.int64)
            assert (numpy.diff(times) > 0).all()
            result["time"][cpu] = times[-1]
            values = numpy.frombuffer(data, numpy.uint64)[rows["read_offset"] // 8]
            for one in numpy.unique(rows["id"]):
                mine = rows["id"] == one
                assert (rows["pid"][mine] == owner[int(one)][0]).all()
                counted = numpy.concatenate([[result["values"][int(one)]], values[mine]]).astype(numpy.int64)
                assert (numpy.diff(counted) >= 1).all()
                result["values"][int(one)] = int(counted[-1])
            result["samples"] += n

        def consume():
            try:
                buffer, out = bytearray(64 * PAGE_SIZE), ffi.new("struct perf_sample[]", PAGE_SIZE)
                poll = select.poll()
                for _, fd in rings.values():
                    poll.register(fd, select.POLLIN)
                while not stop.is_set():
                    poll.poll(100)
                    for cpu, (page, _) in rings.items():
                        drain(cpu, page, buffer, out)
                for cpu, (page, _) in rings.items():
                    drain(cpu, page, buffer, out)
            except BaseException as error:
                result["error"] = error

        consumer = threading.Thread(target=consume)
        consumer.start()
        for process, _ in producers:
            start(process)
        consumer.join(seconds)
        for process, _ in producers:
            process.stdin.close()
        for process, _ in producers:
            assert process.wait(60) == 0
        stop.set()
        consumer.join()
        if result["error"]:
            raise result["error"]
        counts = [counters.read(fd, fields["read_format"])[0] for _, _, fd in owner.values()]
    counted, lost = (sum(getattr(one, field) for one in counts) for field in ("value", "lost"))
    print(f"{result['samples']} samples, {lost} lost, of {counted} counted")
    assert result["samples"] + lost == counted
    assert result["lost"] <= lost
    assert result["samples"] > 10_000

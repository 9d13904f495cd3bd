"""Mapping a ring, and what its owner may do with it."""

import errno
import gc
import os
import resource

import pytest
from support.events import DUMMY, FAULTS
from support.machine import CPUS, PAGE_SIZE
from support.marks import needs_events, needs_events_of_users
from support.processes import as_user
from support.rings import address, synthetic_ring
from support.workloads import fault

from perf_event_open_sys import ffi, ioctls, lib, perf_event_attr, perf_event_open, records, ring


def mappings():
    """Return the addresses of this process's perf mappings."""
    with open("/proc/self/maps") as maps:
        return {int(line.split("-")[0], 16) for line in maps if "[perf_event]" in line}


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


def test_a_pointer_in_the_place_of_one_that_is_gone_is_another(event):
    """Nothing is remembered of a ring whose pointer was collected: Python gives its id to the next one."""
    mapped = ring.map(event(**DUMMY), 1)
    number = id(mapped)
    del mapped
    page, _, _ = synthetic_ring()
    page.data_head = 8
    pointers = [ffi.gc(page, lambda _: None) for _ in range(10_000)]
    assert number in map(id, pointers)
    assert {ring.head(pointer) for pointer in pointers} == {8}


@pytest.mark.parametrize("data_pages", [-1, -8, 3, 6, 1023])
def test_data_pages_must_be_a_power_of_two(event, data_pages):
    """A number of data pages that is no power of two is a ValueError that says so; the kernel would only say EINVAL."""
    with pytest.raises(ValueError, match=f"data_pages is {data_pages}, and must be a power of two"):
        ring.map(event(**DUMMY), data_pages)


@pytest.mark.parametrize("data_pages", [0, 1, 2, 64])
def test_powers_of_two_and_the_control_page_alone_are_mapped(event, data_pages):
    """0 pages of data give the control page, for user-space reads of a counter."""
    with ring.map(event(**DUMMY), data_pages) as page:
        assert page.data_size == data_pages * PAGE_SIZE
        assert len(ring.data(page)) == data_pages * PAGE_SIZE
        assert (ring.head(page), ring.tail(page)) == (0, 0)
        if not data_pages:
            with pytest.raises(ValueError, match="not a ring"):
                ring.read(page)


@needs_events_of_users
def test_more_than_perf_event_mlock_kb_is_eperm_for_an_ordinary_user():
    """Beyond the allowance and RLIMIT_MEMLOCK the kernel refuses."""
    with open("/proc/sys/kernel/perf_event_mlock_kb") as file:
        allowed = int(file.read()) * 1024 * os.cpu_count()  # type: ignore[operator]

    def map_more():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        fd = perf_event_open(perf_event_attr(**DUMMY, exclude_kernel=1))
        ring.map(fd, 1 << (allowed // PAGE_SIZE).bit_length())

    with pytest.raises(PermissionError) as caught:
        as_user(map_more)
    assert caught.value.errno == errno.EPERM


def test_an_inherited_event_of_a_task_cannot_be_mapped(event):
    """Its children would write from many CPUs at once: EINVAL, an OSError; per CPU it can."""
    with pytest.raises(OSError, match="mmap") as caught:
        ring.map(event(**DUMMY, inherit=1), 1)
    assert caught.value.errno == errno.EINVAL
    with ring.map(event(**DUMMY, inherit=1, cpu=CPUS[0]), 1) as page:
        assert ring.read(page) == b""


@needs_events
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
    fd = event(**FAULTS, disabled=1)
    with ring.map(fd, 1) as page:
        seen = 0
        for _ in range(10):
            ioctls.enable(fd)
            fault(50)
            ioctls.disable(fd)
            head, tail = ring.head(page), ring.tail(page)
            twice = bytes(ring.data(page)) * 2
            at = tail % page.data_size
            seen += len(records.parse(twice[at : at + head - tail], perf_event_attr(**FAULTS)))
            ring.set_tail(page, head)
            assert ring.tail(page) == page.data_tail == head
        ioctls.disable(fd)
        ring.set_tail(page, ring.head(page))
        assert ring.read(page) == b""
        assert ring.head(page) > page.data_size
        assert seen >= 500


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

"""Rings that the kernel overwrites: the newest records first, none torn."""

import itertools
import subprocess

import pytest
from support.compilers import TESTS, WARNINGS, compiler, sources
from support.encode import record
from support.events import FAULTS
from support.machine import PAGE_SCALE, PAGE_SIZE, WORD
from support.rings import first, numbered, put_backward, synthetic_ring
from support.workloads import fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, ring

LOST = b.PERF_RECORD_LOST


@pytest.mark.parametrize("sizes", [[24], [32, 24, 64], [24, 512, 40, 1000], [2504], [4096]], ids=str)
def test_snapshot_reads_newest_first_at_every_wrap_position(sizes):
    """After each record: those of the last lap, but not the oldest where it is torn."""
    page, area, _ = synthetic_ring()
    written = []
    sizes = [min(size * PAGE_SCALE, 65528) for size in sizes]
    for n, data in enumerate(numbered(range(700), sizes)):
        put_backward(page, area, data)
        written.insert(0, data)
        whole = b"".join(first(written, PAGE_SIZE))
        buffer = bytearray(PAGE_SIZE)
        assert ring.snapshot_into(page, buffer) == len(whole), n
        assert buffer[: len(whole)] == whole
        del written[200:]


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


def test_a_snapshot_goes_into_writable_buffers_only():
    """A read-only buffer is refused, and stays as it is."""
    page, area, _ = synthetic_ring()
    put_backward(page, area, numbered([1], [24])[0])
    buffer = bytes(64)
    with pytest.raises(BufferError):
        ring.snapshot_into(page, buffer)
    assert buffer == bytes(64)


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
    """A snapshot ends before a record that is torn or corrupt; the newer records before it are delivered."""
    page, area, _ = synthetic_ring()
    [old, new] = numbered([1, 2], [24, 40])
    put_backward(page, area, old)
    put_backward(page, area, record(LOST, bytes(16), size=size))
    put_backward(page, area, new)
    buffer = bytearray(PAGE_SIZE)
    assert ring.snapshot_into(page, buffer) == 40
    assert buffer[:40] == new


def test_a_read_only_ring_refuses_what_would_write_to_it(event):
    """A page mapped with overwrite=True is refused by functions that write to it: a ValueError, not a SIGSEGV."""
    fd = event(**FAULTS, write_backward=1)
    with ring.map(fd, 1, overwrite=True) as page:
        fault(3)
        for call in (
            ring.read,
            lambda page: ring.read_into(page, bytearray(4096)),
            lambda page: ring.set_tail(page, 0),
            lambda page: ring.map_aux(fd, page, 1),
        ):
            with pytest.raises(ValueError, match="use snapshot_into"):
                call(page)
        with pytest.raises(ValueError, match="use snapshot_into"):
            ring.read_aux_into(page, ffi.NULL, bytearray(8))  # type: ignore[arg-type]
        assert ring.snapshot_into(page, bytearray(4096)) > 0


@pytest.mark.skipif(WORD < 64, reason="the sign of a position of 32 bits tells nothing")
def test_an_overwritten_ring_read_forward_is_a_value_error(event):
    """Without write_backward the oldest record cannot be found."""
    with ring.map(event(**FAULTS), 1, overwrite=True) as page:
        fault(3)
        with pytest.raises(ValueError, match="not a ring that is written backward"):
            ring.snapshot_into(page, bytearray(4096))


@pytest.mark.skipif(WORD < 64, reason="positions of 32 bits are loaded in another way")
def test_snapshot_leaves_out_what_the_kernel_overwrites_meanwhile(tmp_path):
    """Of a ring that is written at every moment of the copy, the records that are intact, and no other."""
    program = tmp_path / "snapshot"
    command = [compiler("cc", tmp_path), "-std=gnu11", *WARNINGS, f"-I{sources()[0].parent}", "-o", program]
    built = subprocess.run([*command, TESTS / "snapshot.c"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")

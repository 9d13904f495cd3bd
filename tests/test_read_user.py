"""Reads without the kernel: the arithmetic everywhere, the instructions where a PMU allows them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machine import MACHINE

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, lib, ring

USER_READ = MACHINE in ("x86_64", "i686", "aarch64", "riscv64")
U64 = 2**64 - 1
FIELDS = {
    "time_enabled": U64,
    "time_running": U64,
    "time_offset": U64,
    "time_cycles": U64,
    "time_mask": U64,
    "pmc": U64,
    "cycles": U64,
    "index": 3,
    "time_mult": 2**32 - 1,
    "pmc_width": 64,
    "time_shift": 40,
    "cap_user_time": 1,
    "cap_user_time_short": 1,
}


def expected(read):
    """The man page's formulas, in integers without bounds."""
    value, enabled, running = read["offset"], read["time_enabled"], read["time_running"]
    if read["index"] and read["pmc_width"]:
        pmc = read["pmc"] % 2 ** read["pmc_width"]
        value += pmc - 2 ** read["pmc_width"] if pmc >> (read["pmc_width"] - 1) else pmc
    if read["cap_user_time"] and (read["index"] or enabled != running):
        cycles = read["cycles"]
        if read["cap_user_time_short"]:
            cycles = (read["time_cycles"] + ((cycles - read["time_cycles"]) & read["time_mask"])) & U64
        delta = read["time_offset"] + (cycles * read["time_mult"] >> read["time_shift"])
        enabled += delta
        running += delta if read["index"] else 0
    return value & U64, enabled & U64, running & U64


@settings(max_examples=500)
@given(
    st.fixed_dictionaries(
        {name: st.integers(0, limit) for name, limit in FIELDS.items()} | {"offset": st.integers(-(2**63), 2**63 - 1)}
    )
)
def test_the_arithmetic_is_the_man_pages(read):
    """Sign extension by pmc_width, the cycle clock in 96 bits, short clocks: as with integers without bounds."""
    out = ffi.new("struct perf_counts *")
    lib.counters_compute_user(ffi.new("struct perf_user_read *", read), out)
    assert (out.value, out.time_enabled, out.time_running) == expected(read)


@pytest.mark.parametrize("shift", [0, 1, 31, 32, 33, 63, 64, 65, 94, 95, 96, 97, 255])
def test_the_cycle_clock_has_96_bits(shift):
    """Whatever the shift: cycles of 64 bits by a mult of 32."""
    fields = {"cycles": U64, "time_mult": 2**32 - 1, "time_shift": shift, "cap_user_time": 1, "index": 1}
    out = ffi.new("struct perf_counts *")
    lib.counters_compute_user(ffi.new("struct perf_user_read *", fields), out)
    assert out.time_enabled == (U64 * (2**32 - 1) >> shift) & U64


@pytest.mark.parametrize(
    ("width", "value"), [(0, 7), (1, 6), (63, 7 - 2**62), (64, 7 - 2**63), (65, 7), (2**16 - 1, 7)]
)
def test_a_width_that_no_counter_has_leaves_the_offset(width, value):
    """1 to 64 bits are a counter's, the topmost its sign; with any other width there is nothing to add."""
    pmc = 1 << (min(max(width, 1), 64) - 1)
    read = ffi.new("struct perf_user_read *", {"index": 1, "pmc_width": width, "pmc": pmc, "offset": 7})
    out = ffi.new("struct perf_counts *")
    lib.counters_compute_user(read, out)
    assert out.value == value & U64


def test_a_counter_of_48_bits_is_sign_extended():
    """A pmc that counts up to its overflow reads as the negative number it stands for."""
    read = ffi.new("struct perf_user_read *", {"index": 1, "pmc_width": 48, "pmc": 2**48 - 5, "offset": 100})
    out = ffi.new("struct perf_counts *")
    lib.counters_compute_user(read, out)
    assert out.value == 95


def test_a_software_event_has_no_user_space_read(event):
    """The kernel gives no capability for a software event: None, and the file is to be read."""
    fd = event(type=b.PERF_TYPE_SOFTWARE, config=b.PERF_COUNT_SW_TASK_CLOCK)
    with ring.map(fd, 0) as page:
        assert counters.read_user(page) is None


@pytest.mark.skipif(not USER_READ, reason=f"no user-space read on {MACHINE}")
def test_an_event_without_a_counter_reads_what_the_page_has():
    """With index 0 no instruction is executed: the offset is the count."""
    page = b.perf_event_mmap_page(cap_user_rdpmc=1, index=0, offset=1234, time_enabled=7, time_running=7)
    out = ffi.new("struct perf_counts *")
    assert counters.read_user(page, out) is out
    assert (out.value, out.time_enabled, out.time_running) == (1234, 7, 7)
    assert counters.read_user(page).value == 1234


@pytest.mark.skipif(not USER_READ, reason=f"no user-space read on {MACHINE}")
def test_the_cycle_clock_extends_the_time_enabled():
    """An event that waits for its counter has been enabled for longer than its page says, and run no longer."""
    page = b.perf_event_mmap_page(cap_user_rdpmc=1, cap_user_time=1, time_enabled=9, time_running=5, time_mult=1)
    first, second = counters.read_user(page), counters.read_user(page)
    assert 9 < first.time_enabled < second.time_enabled
    assert (first.time_running, second.time_running) == (5, 5)


@pytest.mark.skipif(not USER_READ, reason=f"no user-space read on {MACHINE}")
def test_every_field_of_the_clock_is_the_pages():
    """A mask of 0 leaves the page's time_cycles, whatever the clock says: the times are known to the last bit."""
    page = b.perf_event_mmap_page(
        cap_user_rdpmc=1, cap_user_time=1, cap_user_time_short=1, time_enabled=9, time_running=5
    )
    page.time_offset, page.time_cycles, page.time_mask, page.time_mult, page.time_shift = 1000, 70, 0, 6, 2
    counts = counters.read_user(page)
    assert (counts.value, counts.time_enabled, counts.time_running) == (0, 9 + 1000 + 70 * 6 // 4, 5)
    page.cap_user_time = 0
    assert counters.read_user(page).time_enabled == 9


@pytest.mark.skipif(not USER_READ, reason=f"no user-space read on {MACHINE}")
def test_a_page_without_user_reads_has_none():
    """Where the kernel allows none, the rest of the page says nothing, and what was given is left as it was."""
    page, out = b.perf_event_mmap_page(cap_user_time=1, offset=7), ffi.new("struct perf_counts *", {"value": 3})
    assert counters.read_user(page, out) is None
    assert out.value == 3
    assert lib.counters_read_user(page, out) == 0
    page.cap_user_rdpmc = 1
    assert lib.counters_read_user(page, out) == 1
    assert out.value == 7


def test_a_hardware_counter_reads_the_same_with_and_without_the_kernel(event):
    """Between two reads of the file, the user-space read lies between them."""
    # On arm64 config1 bit 1 asks for user access; elsewhere nothing is asked.
    config1 = 2 if MACHINE == "aarch64" else 0
    fields = {"type": b.PERF_TYPE_HARDWARE, "config": b.PERF_COUNT_HW_CPU_CYCLES, "exclude_kernel": 1}
    try:
        fd = event(**fields, config1=config1)
    except FileNotFoundError:
        pytest.skip("no hardware PMU counts cycles here")
    with ring.map(fd, 0) as page:
        before = counters.read(fd)[0].value
        counts = counters.read_user(page)
        after = counters.read(fd)[0].value
        if counts is None:
            pytest.skip("the kernel allows no user-space read: kernel.perf_user_access, /sys/…/cpu/rdpmc")
        assert before <= counts.value <= after
        assert counts.time_running <= counts.time_enabled

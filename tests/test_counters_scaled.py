"""Scaling a count by the share of the time that the event ran."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.events import DUMMY, PAGE_FAULTS

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, perf_event_attr

WORD = st.integers(0, 2**64 - 1)


@settings(max_examples=500)
@given(value=WORD, enabled=WORD, running=st.integers(1, 2**64 - 1))
@example(value=2**64 - 1, enabled=2**64 - 1, running=1)
@example(value=2**64 - 1, enabled=2**64 - 2, running=2**64 - 1)
@example(value=2**64 - 1, enabled=2**64 - 1, running=2**63)
def test_scaled_is_exact(value, enabled, running):
    """The estimate is Python's own value * enabled // running, for products of 128 bits."""
    counts = ffi.new("struct perf_counts *", {"value": value, "time_enabled": enabled, "time_running": running})
    assert counters.scaled(counts) == value * enabled // running


@given(value=WORD, enabled=st.integers(1, 2**64 - 1))
def test_scaled_is_none_where_nothing_was_measured(value, enabled):
    """Enabled and never running: there is no estimate, and 0 would be a lie."""
    assert counters.scaled(ffi.new("struct perf_counts *", {"value": value, "time_enabled": enabled})) is None


def test_scaled_is_the_value_where_the_format_has_no_times(event):
    """Without times the value stands as it is."""
    [counts] = counters.read(event(**PAGE_FAULTS, disabled=1))
    counts.value = 123
    assert counters.scaled(counts) == 123


def test_scaled_takes_an_element_of_an_array(event):
    """What read_into filled can be scaled in place."""
    read_format = b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_TOTAL_TIME_RUNNING
    out = ffi.new("struct perf_counts[]", 1)
    counters.read_into([event(**DUMMY, read_format=read_format)], read_format, out)
    out[0].value, out[0].time_enabled, out[0].time_running = 10, 30, 15
    assert counters.scaled(out + 0) == 20


@pytest.mark.parametrize("counts", [None, 0, b"", perf_event_attr()], ids=["None", "0", "bytes", "attr"])
def test_scaled_takes_a_pointer_to_counts(counts):
    """Anything else is a TypeError."""
    with pytest.raises(TypeError):
        counters.scaled(counts)

"""The attr fields of events that many tests open, and helpers that read such an event."""

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ffi, records

from .machine import PAGE_SCALE

PAGE_FAULTS = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_PAGE_FAULTS}
EVERY_FAULT = {**PAGE_FAULTS, "sample_period": 1}
FAULTS = {**EVERY_FAULT, "sample_type": b.PERF_SAMPLE_ADDR | b.PERF_SAMPLE_TIME, "exclude_kernel": 1}
FAULT_SIZE = 24 * PAGE_SCALE  # the bytes of a sample of FAULTS: a ring of as many pages takes as many everywhere
if PAGE_SCALE > 1:
    FAULTS["sample_type"] |= b.PERF_SAMPLE_STACK_USER
    FAULTS["sample_stack_user"] = FAULT_SIZE - 40
DUMMY = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_DUMMY}


def value(fd):
    """Return the count of an event that was opened without a read_format."""
    [counts] = counters.read(fd)
    return counts.value


def of_type(found, tag):
    """Return those records of *found*, as ``records.iterate`` gives them, that are of one type."""
    return [one for one in found if ffi.typeof(one).cname == f"struct perf_record_{tag} *"]


def lost_in(buffer):
    """Return the sum of the LOST records."""
    return sum(one.lost for one in records.iterate(buffer) if one.header.type == b.PERF_RECORD_LOST)  # type: ignore[attr-defined]

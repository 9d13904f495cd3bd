"""Tracepoints by their fields: the formats of this kernel, its samples, and the filters that it refuses."""

import contextlib
import errno
import os
import sys
import threading

import hypothesis
import pytest
from hypothesis import strategies
from support.marks import needs_events

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ioctls, perf_event_attr, perf_event_open, records, ring


def test_every_tracepoint_of_this_kernel_has_a_format(tracefs):
    """Each parses, with the id that opens it, and fields that do not reach into each other."""
    names = events.tracepoints(tracefs=tracefs)
    assert len(names) > 100
    for system, _, name in (point.partition(":") for point in names):
        form = events.tracepoint_format(system, name, tracefs=tracefs)
        assert form.id == events.tracepoint_id(system, name, tracefs=tracefs)
        assert [field.name for field in form.fields[:4]] == [
            "common_type", "common_flags", "common_preempt_count", "common_pid",
        ]  # fmt: skip
        ends = [0, *(field.offset + field.size for field in form.fields)]
        assert all(field.offset >= end for field, end in zip(form.fields, ends, strict=False)), (system, name)


def test_samples_of_a_system_call_have_its_arguments(tracefs, event):
    """Of two events in one ring, decode and columns say what the program gave the call and what it returned."""
    if "raw_syscalls:sys_enter" not in events.tracepoints(tracefs=tracefs):
        pytest.skip("the kernel has no tracepoints of system calls (CONFIG_FTRACE_SYSCALLS)")
    enter, leave = (
        events.tracepoint_format("raw_syscalls", name, tracefs=tracefs) for name in ("sys_enter", "sys_exit")
    )
    sampling = {"type": b.PERF_TYPE_TRACEPOINT, "sample_type": b.PERF_SAMPLE_RAW, "sample_period": 1, "disabled": 1}
    fds = [event(config=form.id, **sampling) for form in (enter, leave)]
    with ring.map(fds[0], 64) as page:
        ioctls.set_output(fds[1], fds[0])
        for fd in fds:
            ioctls.enable(fd)
        for pid in range(-20, -10):
            with contextlib.suppress(ProcessLookupError):
                os.getpgid(pid)
        for fd in fds:
            ioctls.disable(fd)
        buffer = ring.read(page)
    samples = records.parse(buffer, perf_event_attr(**sampling))
    entered, left = [], []
    for sample in samples:
        raw = records.raw(buffer, sample)
        (entered if raw[:2] == enter.id.to_bytes(2, sys.byteorder) else left).append(raw)
    calls = [enter.decode(raw) for raw in entered]
    results = [leave.decode(raw) for raw in left]
    ours = [call["id"] for call in calls if call["args"][0] & 0xFFFFFFFF == 2**32 - 20]
    assert len(ours) == 1
    assert {call["common_pid"] for call in calls} == {threading.get_native_id()}
    pids = [call["args"][0] & 0xFFFFFFFF for call in calls if call["id"] == ours[0]]
    assert pids == [2**32 + pid for pid in range(-20, -10)]
    assert [result["ret"] for result in results if result["id"] == ours[0]] == [-errno.ESRCH] * 10
    pytest.importorskip("numpy")
    for form, decoded in ((enter, calls), (leave, results)):
        columns = form.columns(buffer, samples)
        assert {name: columns[name].tolist() for name in columns.dtype.names} == {
            name: [one[name] for one in decoded] for name in columns.dtype.names
        }


def filters(fields):
    """A made-up filter, right or wrong, of a tracepoint's fields and of others."""
    field = strategies.sampled_from([*fields, "CPU", "COMM", "stacktrace", "nope", fields[-1][:-1], "x.ustring", "1"])
    operator = strategies.sampled_from(
        ["==", "!=", "<", "<=", ">", ">=", "~", "&", "=", "===", "=~", "<>", "", "!", "^"]
    )
    space = strategies.sampled_from(["", " "])
    value = strategies.sampled_from(
        ["1", "-1", "0x1f", '"a"', "'a*'", "abc", "CPUS{0}", "1 2", '""', "12abc", "-x", "."]
    )
    predicate = strategies.tuples(field, space, operator, space, value).map("".join)

    def larger(inner):
        joined = strategies.tuples(inner, strategies.sampled_from(["&&", " || ", "&", " and ", ""]), inner)
        wrapped = strategies.tuples(
            strategies.sampled_from(["(", "!", "!(", "! "]), inner, strategies.sampled_from([")", ""])
        )
        return strategies.one_of(joined, wrapped).map("".join)

    return strategies.recursive(predicate, larger, max_leaves=4)


@needs_events
@pytest.mark.parametrize("point", ["sched:sched_switch", "sched:sched_process_exec", "syscalls:sys_enter_openat"])
def test_what_is_wrong_with_a_filter_is_refused_by_the_kernel(tracefs, point):
    """Whatever explain_filter has to say of, the kernel takes no filter of."""
    system, _, name = point.partition(":")
    if point not in events.tracepoints(tracefs=tracefs):
        pytest.skip(f"the kernel has no {point}")
    fields = [field.name for field in events.tracepoint_format(system, name, tracefs=tracefs).fields]
    explained = []

    @hypothesis.given(filters(fields))
    @hypothesis.settings(max_examples=100)
    def check(text):
        said = events.explain_filter(system, name, text, tracefs=tracefs)
        fd = perf_event_open(events.attr(point, tracefs=tracefs))
        try:
            if said:
                explained.append(said)
                with pytest.raises(OSError, match="SET_FILTER"):
                    ioctls.set_filter(fd, text)
        finally:
            os.close(fd)

    check()
    assert len(set(explained)) > 5

"""The ioctls of tracepoints: filters and BPF programs, seen to have their effect."""

import contextlib
import errno
import os

import pytest
from support.bpf import PROG_TYPE_SOCKET_FILTER, counting_program, load, program_id, returning
from support.events import value
from support.marks import needs_root

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ioctls


@needs_root
@pytest.mark.parametrize("text", ["pid == 1", b"pid == 1"], ids=["str", "bytes"])
def test_set_filter_lets_only_matching_hits_through(event, getpgid_tracepoint, text):
    """Of the calls of getpgid(2), only those with the filter's argument count."""
    fd = event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint)
    os.getpgid(0)
    assert value(fd) == 1
    ioctls.set_filter(fd, text)
    for pid in (0, 1, os.getpid(), 1, 0):
        os.getpgid(pid)
    assert value(fd) == 3


@needs_root
def test_set_filter_that_does_not_parse_is_refused(event, getpgid_tracepoint):
    """A field that the tracepoint lacks is EINVAL."""
    fd = event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint)
    with pytest.raises(OSError, match=r"PERF_EVENT_IOC_SET_FILTER: .* \(the filter does not parse") as caught:
        ioctls.set_filter(fd, "no_such_field == 1")
    assert caught.value.errno == errno.EINVAL


@needs_root
def test_a_filter_is_set_only_once(event, getpgid_tracepoint):
    """A second filter is EEXIST."""
    fd = event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint)
    ioctls.set_filter(fd, "pid == 1")
    with pytest.raises(FileExistsError, match=r"PERF_EVENT_IOC_SET_FILTER: .* \(the event has a filter"):
        ioctls.set_filter(fd, "pid == 2")


@needs_root
def test_a_program_is_set_only_once(event, getpgid_tracepoint):
    """A second program for the same event is EEXIST, and a program of another type EINVAL."""
    fds = [event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint) for _ in range(2)]
    with counting_program() as (program, _):
        ioctls.set_bpf(fds[0], program)
        with pytest.raises(FileExistsError, match=r"PERF_EVENT_IOC_SET_BPF: .* \(the event has a program already\)"):
            ioctls.set_bpf(fds[0], program)
    program = load(PROG_TYPE_SOCKET_FILTER, returning(0))
    try:
        with pytest.raises(OSError, match=r"PERF_EVENT_IOC_SET_BPF: .* \(the type of the program") as caught:
            ioctls.set_bpf(fds[1], program)
    finally:
        os.close(program)
    assert caught.value.errno == errno.EINVAL


@needs_root
def test_set_bpf_attaches_a_program_that_then_runs(event, getpgid_tracepoint):
    """The program counts every hit from then on, beside the event."""
    fd = event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint)
    with counting_program() as (program, runs):
        os.getpgid(0)
        assert runs() == 0
        ioctls.set_bpf(fd, program)
        for _ in range(3):
            os.getpgid(0)
        assert (runs(), value(fd)) == (3, 4)


@needs_root
def test_set_bpf_program_that_returns_zero_hides_the_hit(event, getpgid_tracepoint):
    """What the program returns decides whether the event counts."""
    fd = event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint)
    with counting_program(verdict=0) as (program, runs):
        ioctls.set_bpf(fd, program)
        os.getpgid(0)
        assert (runs(), value(fd)) == (1, 0)


@needs_root
def test_query_bpf_lists_the_programs(event, getpgid_tracepoint):
    """First none, then the ids of all programs of the tracepoint, whichever event they were attached with."""
    fds = [event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint) for _ in range(2)]
    with counting_program() as (first, _), counting_program() as (second, _):
        assert ioctls.query_bpf(fds[0]) == []
        ioctls.set_bpf(fds[0], first)
        assert ioctls.query_bpf(fds[0]) == [program_id(first)]
        ioctls.set_bpf(fds[1], second)
        assert sorted(ioctls.query_bpf(fds[0])) == sorted([program_id(first), program_id(second)])
        assert len(ioctls.query_bpf(fds[0], 2)) == 2


@needs_root
def test_query_bpf_with_too_little_room_says_how_many_there_are(event, getpgid_tracepoint):
    """ENOSPC, with the real number in its message."""
    fds = [event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint) for _ in range(3)]
    with contextlib.ExitStack() as programs:
        for fd in fds:
            program, _ = programs.enter_context(counting_program())
            ioctls.set_bpf(fd, program)
        with pytest.raises(OSError, match=r"PERF_EVENT_IOC_QUERY_BPF.*\b3\b") as caught:
            ioctls.query_bpf(fds[0], 1)
    assert caught.value.errno == errno.ENOSPC


@needs_root
def test_set_bpf_with_what_is_no_program_is_refused(event, getpgid_tracepoint, foreign_fd):
    """A descriptor that is no BPF program is an OSError with the call's name."""
    fd = event(type=b.PERF_TYPE_TRACEPOINT, config=getpgid_tracepoint)
    with pytest.raises(OSError, match="PERF_EVENT_IOC_SET_BPF"):
        ioctls.set_bpf(fd, foreign_fd)

"""The twelve ioctls, each on a real event and seen to have its effect."""

import ctypes
import errno
import fcntl
import os
import signal
import struct
from types import SimpleNamespace

import pytest
from support.events import PAGE_FAULTS, value
from support.machine import IS_COMPAT
from support.marks import needs_breakpoints, needs_root
from support.workloads import fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, ioctls, perf_event_attr, perf_event_header

SAMPLING = PAGE_FAULTS | {"sample_type": b.PERF_SAMPLE_TID}


def watch(event, cell, **fields):
    """Open a breakpoint that counts the writes to *cell*, a ``c_long``: ctypes makes one store of each."""
    return event(
        type=b.PERF_TYPE_BREAKPOINT,
        bp_type=b.HW_BREAKPOINT_W,
        bp_addr=ctypes.addressof(cell),
        bp_len=ctypes.sizeof(ctypes.c_long),
        exclude_kernel=1,
        exclude_hv=1,
        **fields,
    )


@needs_breakpoints
def test_enable_and_disable_start_and_stop_the_count(event):
    """Writes count only between enable and disable, and the count stays."""
    cell = ctypes.c_long()
    fd = watch(event, cell, disabled=1)
    cell.value = 1
    ioctls.enable(fd)
    cell.value = 2
    cell.value = 3
    ioctls.disable(fd)
    cell.value = 4
    assert value(fd) == 2


@needs_breakpoints
def test_reset_sets_the_count_to_zero_and_leaves_the_times(event):
    """The count begins anew; time_enabled and time_running go on."""
    cell = ctypes.c_long()
    times = b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_TOTAL_TIME_RUNNING
    fd = watch(event, cell, read_format=times)
    cell.value = 1
    [before] = counters.read(fd, times)
    ioctls.reset(fd)
    [after] = counters.read(fd, times)
    assert (before.value, after.value) == (1, 0)
    assert after.time_enabled >= before.time_enabled > 0
    assert after.time_running >= before.time_running > 0


@pytest.fixture
def group(event):
    """A leader and two siblings that count page faults, each of them disabled."""
    leader = event(**PAGE_FAULTS, disabled=1)
    return [leader, *(event(**PAGE_FAULTS, disabled=1, group_fd=leader) for _ in range(2))]


def counting(group):
    """Which members of the group count now."""
    before = [value(fd) for fd in group]
    fault(10)
    return [value(fd) >= count + 10 for fd, count in zip(group, before, strict=True)]


@pytest.mark.parametrize("member", range(3))
def test_enable_with_the_group_flag_starts_all_members(group, member):
    """Whichever member the flag is used on, the whole group counts, and stops with disable."""
    assert counting(group) == [False, False, False]
    ioctls.enable(group[member], b.PERF_IOC_FLAG_GROUP)
    assert counting(group) == [True, True, True]
    ioctls.disable(group[member], b.PERF_IOC_FLAG_GROUP)
    assert counting(group) == [False, False, False]


def test_enable_and_disable_without_the_group_flag_mean_one_member(group):
    """Only the event itself starts and stops; a sibling counts only while its leader does."""
    leader, sibling, _ = group
    ioctls.enable(leader)
    assert counting(group) == [True, False, False]
    ioctls.enable(sibling)
    assert counting(group) == [True, True, False]
    ioctls.disable(sibling)
    assert counting(group) == [True, False, False]


def test_reset_without_and_with_the_group_flag(group):
    """Reset empties one member; with the flag, used on any, all of them."""
    ioctls.enable(group[0], b.PERF_IOC_FLAG_GROUP)
    fault(10)
    ioctls.disable(group[0], b.PERF_IOC_FLAG_GROUP)
    ioctls.reset(group[1])
    assert [value(fd) > 0 for fd in group] == [True, False, True]
    ioctls.reset(group[1], b.PERF_IOC_FLAG_GROUP)
    assert [value(fd) for fd in group] == [0, 0, 0]


def test_refresh_gives_exactly_n_overflows(event, ring):
    """After n samples the event is disabled; it can be refreshed again."""
    fd = event(**SAMPLING, sample_period=1, disabled=1)
    samples = ring(fd)
    for count in (3, 1):
        ioctls.refresh(fd, count)
        fault(20)
        assert len(samples.samples()) == count
    fault(20)
    assert samples.samples() == []


def test_refresh_signals_poll_hup_with_the_last_overflow(event, ring):
    """A signal per overflow: POLL_IN for all but the last, whose POLL_HUP says that the event is disabled."""
    poll_in, poll_hup = 1, 6
    fd = event(**SAMPLING, sample_period=1, wakeup_events=1, disabled=1)
    ring(fd)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGRTMIN)
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        ioctls.refresh(fd, 3)
        fault(20)
        ioctls.disable(fd)
        codes = []
        while info := signal.sigtimedwait([signal.SIGRTMIN], 0):
            codes.append(info.si_code)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert codes[-1] == poll_hup
    assert set(codes[:-1]) <= {poll_in}


def test_refresh_of_an_inherited_event_is_refused(event):
    """The kernel cannot refresh the copies of an event: EINVAL."""
    fd = event(**SAMPLING, sample_period=1, inherit=1, disabled=1)
    with pytest.raises(
        OSError, match=r"PERF_EVENT_IOC_REFRESH: .* \(an inherited event cannot be refreshed\)"
    ) as caught:
        ioctls.refresh(fd, 1)
    assert caught.value.errno == errno.EINVAL


def test_period_changes_the_rate(event, ring):
    """One sample in 100 faults becomes one in 10. The first comes at once, the second after the old period."""
    fd = event(**SAMPLING, sample_period=100)
    samples = ring(fd)
    fault(1000)
    assert 10 <= len(samples.samples()) < 15
    ioctls.period(fd, 10)
    fault(1000)
    assert 90 <= len(samples.samples()) < 110


@pytest.mark.parametrize("fields", [{"sample_period": 100}, {}], ids=["period 0", "no sampling event"])
def test_period_of_zero_or_of_a_counting_event_is_refused(event, fields):
    """The kernel takes no period of 0, and none for an event that takes no samples."""
    fd = event(**SAMPLING, **fields)
    with pytest.raises(OSError, match=r"PERF_EVENT_IOC_PERIOD: .* \(the event must be a sampling one") as caught:
        ioctls.period(fd, 0 if fields else 10)
    assert caught.value.errno == errno.EINVAL


def test_period_goes_through_a_pointer(event):
    """A period above 32 bits arrives whole, and one with the top bit is the kernel's EINVAL."""
    fd = event(**SAMPLING, sample_period=1, read_format=0)
    ioctls.period(fd, 2**63 - 1)
    with pytest.raises(OSError, match="PERF_EVENT_IOC_PERIOD"):
        ioctls.period(fd, 2**63)
    with pytest.raises(OverflowError):
        ioctls.period(fd, 2**64)


def test_set_output_redirects_and_minus_one_detaches(event, ring):
    """The samples of an event come in another's ring until it is detached; it counts on."""
    fields = {"type": b.PERF_TYPE_SOFTWARE, "sample_type": b.PERF_SAMPLE_ID}
    owner = event(**fields, config=b.PERF_COUNT_SW_DUMMY, sample_period=1)
    guest = event(**fields, config=b.PERF_COUNT_SW_PAGE_FAULTS, sample_period=1)
    shared = ring(owner)
    fault(10)
    assert shared.samples() == []
    ioctls.set_output(guest, owner)
    fault(10)
    got = [struct.unpack("=Q", body)[0] for body in shared.samples()]
    assert len(got) >= 10
    assert set(got) == {ioctls.id(guest)}
    if IS_COMPAT:
        return  # the kernel's code for 32-bit processes makes of -1 a file descriptor that nobody has
    ioctls.set_output(guest, -1)
    shared.samples()
    before = value(guest)
    fault(10)
    assert shared.samples() == []
    assert value(guest) >= before + 10


def test_set_output_names_its_call_and_a_bad_target(event, closed_fd, foreign_fd):
    """A target that is closed is EBADF, one that is no event EINVAL; to itself is EINVAL too."""
    fd = event(**SAMPLING, sample_period=1)
    hints = {
        errno.EBADF: "one of the two file descriptors is not open",
        errno.EINVAL: "both events must be on the same CPU",
    }
    for target, codes in ((closed_fd, {errno.EBADF}), (foreign_fd, set(hints)), (fd, {errno.EINVAL})):
        with pytest.raises(OSError, match="PERF_EVENT_IOC_SET_OUTPUT: ") as caught:
            ioctls.set_output(fd, target)
        assert caught.value.errno in codes
        assert f"({hints[caught.value.errno]}" in str(caught.value)


def test_detaching_in_a_32_bit_process_is_explained(monkeypatch, closed_fd):
    """A 64-bit kernel takes its -1 for a large number: EBADF, which only there has that reason."""
    for size, output_fd, reason in (
        (8, -1, "one of the two"),
        (4, -1, "a 64-bit kernel"),
        (4, closed_fd, "one of the two"),
    ):
        monkeypatch.setattr(ioctls, "ffi", SimpleNamespace(errno=errno.EBADF, sizeof={"long": size}.get))
        with pytest.raises(OSError, match=rf"PERF_EVENT_IOC_SET_OUTPUT: .* \({reason}") as caught:
            ioctls.set_output(closed_fd, output_fd)
        assert caught.value.errno == errno.EBADF


def test_pause_output_stops_the_ring_and_lets_it_go_on(event, ring):
    """While paused nothing is written, though the event counts."""
    fd = event(**SAMPLING, sample_period=1)
    samples = ring(fd)
    ioctls.pause_output(fd, True)
    samples.samples()
    before = value(fd)
    fault(10)
    assert samples.samples() == []
    assert value(fd) >= before + 10
    ioctls.pause_output(fd, False)
    fault(10)
    assert len(samples.samples()) >= 10


def test_pause_output_needs_a_ring(event):
    """Without a mapping there is nothing to pause: EINVAL."""
    fd = event(**SAMPLING, sample_period=1)
    with pytest.raises(OSError, match=r"PERF_EVENT_IOC_PAUSE_OUTPUT: .* \(the event has no mapped ring\)") as caught:
        ioctls.pause_output(fd, True)
    assert caught.value.errno == errno.EINVAL


def test_id_equals_the_id_that_is_read(event):
    """PERF_EVENT_IOC_ID gives what PERF_FORMAT_ID gives, another for each event."""
    fds = [event(**PAGE_FAULTS, read_format=b.PERF_FORMAT_ID) for _ in range(2)]
    ids = [ioctls.id(fd) for fd in fds]
    assert ids == [counters.read(fd, b.PERF_FORMAT_ID)[0].id for fd in fds]
    assert len({0, *ids}) == 3


def test_set_filter_of_an_event_without_filters_is_refused(event):
    """A software event takes no filter, and a filter has no null byte."""
    fd = event(**PAGE_FAULTS)
    with pytest.raises(OSError, match=r"PERF_EVENT_IOC_SET_FILTER: .* \(the filter does not parse, or") as caught:
        ioctls.set_filter(fd, "pid == 1")
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(ValueError, match="null byte"):
        ioctls.set_filter(fd, "pid\0")


@needs_breakpoints
def test_modify_attributes_moves_a_breakpoint(event):
    """The breakpoint counts writes to its new address, and no more those to the old one."""
    old, new = ctypes.c_long(), ctypes.c_long()
    fd = watch(event, old)
    old.value = 1
    new.value = 1
    assert value(fd) == 1
    attr = perf_event_attr(
        type=b.PERF_TYPE_BREAKPOINT,
        bp_type=b.HW_BREAKPOINT_W,
        bp_addr=ctypes.addressof(new),
        bp_len=ctypes.sizeof(ctypes.c_long),
        exclude_kernel=1,
        exclude_hv=1,
    )
    ioctls.modify_attributes(fd, attr)
    before = value(fd)
    old.value = 2
    new.value = 2
    new.value = 3
    assert value(fd) - before == 2


def test_modify_attributes_of_another_event_is_refused(event):
    """Only breakpoints can be changed."""
    fd = event(**PAGE_FAULTS)
    with pytest.raises(
        OSError, match=r"PERF_EVENT_IOC_MODIFY_ATTRIBUTES: .* \(only a breakpoint can be changed"
    ) as caught:
        ioctls.modify_attributes(fd, perf_event_attr(**PAGE_FAULTS))
    assert caught.value.errno in (errno.EINVAL, errno.EOPNOTSUPP)


CALLS = {
    "ENABLE": ioctls.enable,
    "DISABLE": ioctls.disable,
    "RESET": ioctls.reset,
    "REFRESH": lambda fd: ioctls.refresh(fd, 1),
    "PERIOD": lambda fd: ioctls.period(fd, 1),
    "SET_OUTPUT": lambda fd: ioctls.set_output(fd, -1),
    "SET_FILTER": lambda fd: ioctls.set_filter(fd, "pid == 1"),
    "ID": ioctls.id,
    "SET_BPF": lambda fd: ioctls.set_bpf(fd, 0),
    "PAUSE_OUTPUT": lambda fd: ioctls.pause_output(fd, False),
    "QUERY_BPF": ioctls.query_bpf,
    "MODIFY_ATTRIBUTES": lambda fd: ioctls.modify_attributes(fd, perf_event_attr()),
}


@needs_root
def test_query_bpf_of_a_software_event_is_refused(event):
    """Only tracepoints and probes have programs to list: EINVAL."""
    with pytest.raises(OSError, match=r"PERF_EVENT_IOC_QUERY_BPF: .* \(only tracepoints, kprobes and") as caught:
        ioctls.query_bpf(event(**PAGE_FAULTS))
    assert caught.value.errno == errno.EINVAL


def test_all_twelve_are_here():
    """What follows tries each ioctl of the header."""
    assert {f"PERF_EVENT_IOC_{name}" for name in CALLS} == {n for n in dir(b) if n.startswith("PERF_EVENT_IOC_")}


@pytest.mark.parametrize("name", CALLS)
def test_closed_and_foreign_files_are_refused_by_name(name, closed_fd, foreign_fd):
    """A closed file is EBADF, one that is no event ENOTTY; the message names the call."""
    for fd, code in ((closed_fd, errno.EBADF), (foreign_fd, errno.ENOTTY)):
        with pytest.raises(OSError, match=f"PERF_EVENT_IOC_{name}\\b") as caught:
            CALLS[name](fd)  # type: ignore[operator]
        assert caught.value.errno == code
    assert str(caught.value).endswith("(the file descriptor is no perf event)")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fd", [None, "3", 1.5, perf_event_attr()], ids=["None", "str", "float", "pointer"])
def test_a_file_descriptor_is_an_int(name, fd):
    """Anything else is a TypeError, before the kernel sees it."""
    with pytest.raises(TypeError):
        CALLS[name](fd)  # type: ignore[operator]


@pytest.mark.parametrize("attr", [None, 0, 4096, b"", perf_event_header()], ids=["None", "0", "int", "bytes", "header"])
def test_modify_attributes_takes_a_pointer_to_an_attr(event, attr):
    """None, an int or another struct is a TypeError."""
    fd = event(**PAGE_FAULTS)
    with pytest.raises(TypeError):
        ioctls.modify_attributes(fd, attr)


def test_arguments_that_do_not_fit_are_refused(event):
    """A number that its C type does not hold is an OverflowError, not another number."""
    fd = event(**PAGE_FAULTS)
    for call in (
        lambda: ioctls.enable(fd, 2**32),
        lambda: ioctls.refresh(fd, 2**31),
        lambda: ioctls.set_output(fd, 2**31),
        lambda: ioctls.set_bpf(fd, -(2**31) - 1),
        lambda: ioctls.query_bpf(fd, 2**32),
        lambda: ioctls.enable(2**31),
    ):
        with pytest.raises(OverflowError):
            call()

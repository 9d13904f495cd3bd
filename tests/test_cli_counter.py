"""The counters of ``stat``: how their events are opened, what is shown of those that are not, and what is read."""

import errno
import os

import pytest
from support.kernel import Kernel
from support.marks import needs_events

from perf_event_open_sys import bindings as b
from perf_event_open_sys import counters, events
from perf_event_open_sys._cli import counter
from perf_event_open_sys._cli.count import NOT_COUNTED, NOT_SUPPORTED
from perf_event_open_sys._cli.counter import Counter, Event, open_in_group, refuse

pytestmark = needs_events
ME, ABSENT_THREAD = (0, -1, b.PERF_FLAG_FD_CLOEXEC), (4194305, -1, b.PERF_FLAG_FD_CLOEXEC)


@pytest.fixture
def made():
    """Make a counter of an event's text; it is closed at the end."""
    all_made = []

    def make(text, modifiers="", **fields):
        event = Event(text, events.attr(text, **counter.COUNTING | fields), modifiers=modifiers)
        all_made.append(Counter(event))
        return all_made[-1]

    yield make
    for one in all_made:
        one.close()


def denied(attr):
    """Refuse what is counted in the kernel, as to an ordinary user."""
    return 0 if attr.exclude_kernel else errno.EACCES


@pytest.mark.parametrize(
    ("text", "modifiers", "shown"),
    [
        ("page-faults", "", "page-faults:u"),
        ("page-faults:H", "H", "page-faults:Hu"),
        ("software/config=2/", "", "software/config=2/u"),
        ("page-faults:u", "u", "page-faults:u"),
    ],
)
def test_what_is_denied_in_the_kernel_is_counted_in_user_space(text, modifiers, shown, made, monkeypatch):
    """Its name says so, as if the user had asked for it."""
    monkeypatch.setattr(counter, "lib", Kernel(denied))
    one = made(text, modifiers)
    one.open([ME])
    assert (one.name, one.reason, one.event.attr.exclude_kernel) == (shown, "", 1)
    assert one.read()[0].name == shown


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM])
def test_what_is_denied_in_user_space_too_is_refused_as_it_was_asked_for(number, made, monkeypatch):
    """The error is that of the event itself, whose attr and name are what they were."""

    def refused(attr, *_):
        raise OSError(errno.EACCES, f"exclude_kernel={attr.exclude_kernel}")

    monkeypatch.setattr(counter, "lib", Kernel(lambda attr: number if attr.exclude_kernel else errno.EACCES))
    monkeypatch.setattr(counter, "perf_event_open", refused)
    one = made("page-faults")
    one.open([ME])
    assert (one.name, one.reason, one.fds) == ("page-faults", "exclude_kernel=0", [])
    assert one.refusal


@pytest.mark.parametrize(
    ("text", "fields"),
    [("page-faults", {"type": b.PERF_TYPE_TRACEPOINT}), ("page-faults:k", {}), ("page-faults:u", {})],
)
def test_what_has_nothing_to_count_in_user_space_is_not_tried_there(text, fields, made, monkeypatch):
    """A tracepoint, an event of the kernel alone, and one of user space already: the refusal stands."""
    asked = []

    def denying(attr):
        asked.append(attr.exclude_kernel)
        return errno.EACCES

    def refused(*_):
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(counter, "lib", Kernel(denying))
    monkeypatch.setattr(counter, "perf_event_open", refused)
    one = made(text, **fields)
    one.open([ME])
    assert (len(asked), one.reason) == (1, "no")


def test_an_event_that_the_machine_lacks_is_not_supported(made):
    """It has a reason, but is no refusal: the others are counted."""
    one = made("software/config=999/u")
    one.open([ME])
    assert one.refusal is None
    (count,) = one.read()
    assert (count.value, count.state, count.reason) == (None, NOT_SUPPORTED, one.reason)
    assert "No such file or directory" in one.reason


def test_of_many_threads_one_may_have_ended(made):
    """The others are counted; a thread that is the only one is missed."""
    one = made("page-faults:u")
    one.open([ABSENT_THREAD, ME])
    assert [fd >= 0 for fd in one.fds] == [False, True]
    assert len(one.open_fds()) == 1
    one.close()
    assert one.fds == []
    one.open([ABSENT_THREAD])
    assert (one.fds, one.refusal and one.refusal.errno) == ([], errno.ESRCH)


def test_a_member_is_open_where_its_leader_is(made):
    """On the same targets, in the leader's group; and has the leader's reason where that is not open at all."""
    leader, member = made("page-faults:u"), made("dummy:u")
    leader.open([ABSENT_THREAD, ME])
    open_in_group(member, leader, [ME, ME])
    assert [fd >= 0 for fd in member.fds] == [False, True]
    missing, other = made("software/config=999/u"), made("dummy:u")
    missing.open([ME])
    open_in_group(other, missing, [ME])
    assert (other.reason, other.fds, other.targets) == (missing.reason, [], [ME])


@pytest.mark.parametrize("modifiers", ["uW", "u"])
def test_a_member_of_a_weak_group_stands_alone_if_it_must(modifiers, made):
    """``:W``: it is opened for itself, and enabled as the leader is; of another group it is not counted."""
    leader, member = made("software/config=999/u", modifiers), made("dummy:u")
    leader.event.attr.enable_on_exec = 1
    leader.open([ME])
    open_in_group(member, leader, [ME])
    attr = member.event.attr
    if "W" in modifiers:
        assert (len(member.fds), member.reason, attr.disabled, attr.enable_on_exec) == (1, "", 1, 1)
    else:
        assert (member.fds, member.reason, attr.disabled) == ([], leader.reason, 0)


def test_events_that_are_refused_are_named_by_their_reasons(made):
    """Each reason once, with all events that it is for, in lines of the subcommand's."""
    refused = [made(name) for name in ("dummy", "page-faults", "cs")]
    for one, reason in zip(refused, ("first", "second", "first"), strict=True):
        one.reason = reason
    with pytest.raises(ValueError, match=r"^dummy, cs: first\nstat: page-faults: second$"):
        refuse("stat", refused)
    refuse("stat", [])


def test_counters_are_enabled_and_disabled_on_all_targets(made):
    """The event of each target counts in between, and its file is closed at the end."""
    one = made("task-clock:u", disabled=1)
    one.open([ME, ME])
    one.enable()
    sum(range(100_000))
    one.disable()
    (first,) = one.read()
    assert first.enabled_ns == first.running_ns > 0
    assert first.raw > 0
    (second,) = one.read()
    assert (second.value, second.enabled_ns, second.reason) == (None, 0, "what it counts did not run")
    fds = one.open_fds()
    one.close()
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_an_event_that_was_never_on_its_pmu_says_so(made):
    """It was enabled, and did not run: there is no count, though there is a time."""
    (count,) = [made("dummy:u")._count((0, 5, 0), (0, 2, 0), None)]
    assert (count.value, count.state, count.enabled_ns) == (None, NOT_COUNTED, 3)
    assert count.reason == "enabled, but never on its PMU"


def test_a_pinned_event_that_lost_its_counter_says_so(made, monkeypatch):
    """Reading it is the end of a file: no count, and the reason, on each CPU that it was to be counted on."""

    def ended(*_):
        raise EOFError("lost")

    one = made("dummy:u")
    one.open([ME, ME])
    one.targets, one.per_cpu = [(-1, 0, 0), (-1, 3, 0)], True
    monkeypatch.setattr(counters, "read_into", ended)
    assert [(count.cpu, count.state, count.reason) for count in one.read()] == [
        (0, NOT_COUNTED, "lost"),
        (3, NOT_COUNTED, "lost"),
    ]


def test_a_count_is_scaled_to_the_time_enabled(made):
    """And then to its unit; the raw value stays, and a number without a unit is exact."""
    one = made("dummy:u")
    large = one._count((2**63 + 1, 1, 1), (0, 0, 0), None)
    assert (large.value, large.state, large.reason) == (2**63 + 1, "", "")
    half = one._count((30, 40, 20), (10, 20, 10), 3)
    assert (half.value, half.raw, half.enabled_ns, half.running_ns, half.cpu) == (40, 20, 20, 10, 3)
    one.event.scale, one.event.unit = 0.25, "J"
    half = one._count((30, 40, 20), (10, 20, 10), None)
    assert (half.value, half.raw, half.unit, half.scale) == (10, 20, "J", 0.25)


def test_kinds_of_cpu_are_no_kinds_of_event(made):
    """Of a hybrid machine's events the high half of config is the PMU: a ratio is of the same event on any."""
    one = made("cycles", config=5 << 32)
    assert one._count((0, 0, 0), (0, 0, 0), None).kind == (b.PERF_TYPE_HARDWARE, b.PERF_COUNT_HW_CPU_CYCLES)
    raw = made("software/config=0x500000001/u")
    assert raw._count((0, 0, 0), (0, 0, 0), None).kind == (b.PERF_TYPE_SOFTWARE, 0x500000001)

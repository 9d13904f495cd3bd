"""The attrs of the events that ``record`` samples, by its options: rates, fields, side-band, and what a kernel knows."""

import errno
from types import SimpleNamespace
from typing import Any

import pytest
from support.kernel import Kernel
from support.marks import needs_events

from perf_event_open_sys import bindings as b
from perf_event_open_sys._cli import sampling
from perf_event_open_sys._cli.sampling import Sampling

pytestmark = needs_events
ALWAYS = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME
SIDE_BAND = ("mmap", "mmap2", "comm", "comm_exec", "task", "ksymbol", "bpf_event")


def attrs(text, *, of_cpus=False, of_command=True, **options) -> list[Any]:
    """Return the attrs of all events that are sampled for a text, in order."""
    given = SimpleNamespace(**{"frequency": 0, "count": None, "data": 0, "call_graph": ""} | options)
    groups = Sampling(given, of_cpus=of_cpus, of_command=of_command).groups(text)
    return [event.attr for group in groups for event in group]


@pytest.mark.parametrize(
    ("text", "options", "rate"),
    [
        ("page-faults", {}, {"freq": 1, "sample_freq": sampling.DEFAULT_HZ}),
        ("page-faults", {"frequency": 99}, {"freq": 1, "sample_freq": 99}),
        ("page-faults", {"count": 7}, {"freq": 0, "sample_period": 7}),
        ("mem:0x10:w", {}, {"freq": 0, "sample_period": 1}),
        ("mem:0x10:w", {"frequency": 99}, {"freq": 1, "sample_freq": 99}),
        ("mem:0x10:w", {"count": 7}, {"freq": 0, "sample_period": 7}),
        ("software/config=2,period=5/", {"count": 7}, {"freq": 0, "sample_period": 5}),
        ("software/config=2,freq=5/", {"count": 7}, {"freq": 1, "sample_freq": 5}),
    ],
)
def test_how_often_an_event_is_sampled(text, options, rate):
    """By its own terms, or else by -c or -F; or else 4,000 times a second, and each time where it is rare."""
    (attr,) = attrs(text, **options)
    assert {name: getattr(attr, name) for name in rate} == rate
    assert bool(attr.sample_type & b.PERF_SAMPLE_PERIOD) == bool(attr.freq)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, 0),
        ({"of_cpus": True, "of_command": False}, b.PERF_SAMPLE_CPU | b.PERF_SAMPLE_IDENTIFIER),
        ({"of_command": False}, b.PERF_SAMPLE_IDENTIFIER),
        ({"data": 1}, b.PERF_SAMPLE_ADDR),
        ({"call_graph": "fp"}, b.PERF_SAMPLE_CALLCHAIN),
    ],
)
def test_the_fields_of_a_sample(options, more):
    """Address, thread and time; besides what the options ask for, and the id where there is more than one event."""
    for attr in attrs("page-faults", count=1, **options):
        assert attr.sample_type == ALWAYS | more
        assert attr.sample_id_all == 1
        assert attr.inherit == (not options.get("of_cpus"))
        assert attr.read_format == sampling._known_to_the_kernel()[0]
    first, second = attrs("page-faults,cs", count=1)
    assert {first.sample_type, second.sample_type} == {ALWAYS | b.PERF_SAMPLE_IDENTIFIER}


@pytest.mark.usefixtures("tracefs")
def test_the_fields_of_a_tracepoints_sample():
    """Its data and the CPU too; and each hit is sampled."""
    (attr,) = attrs("sched:sched_switch")
    assert attr.sample_type == ALWAYS | b.PERF_SAMPLE_RAW | b.PERF_SAMPLE_CPU
    assert (attr.freq, attr.sample_period) == (0, 1)


def test_a_command_enables_the_leaders_by_its_exec():
    """And the first event has the side-band. Members are enabled from the start: they count with their leaders."""
    first, member, other = attrs("{page-faults,cs},cpu-clock")
    assert [(attr.disabled, attr.enable_on_exec) for attr in (first, member, other)] == [(1, 1), (0, 0), (1, 1)]
    for attr, side_band in ((first, 1), (member, 0), (other, 0)):
        assert {getattr(attr, name) for name in SIDE_BAND} == {side_band}
    assert (first.mmap_data, attrs("page-faults", data=2)[0].mmap_data) == (0, 1)


@pytest.mark.parametrize("of_cpus", [True, False])
def test_what_runs_already_has_an_event_of_its_own_for_the_side_band(of_cpus):
    """The last: a dummy of user space, which every user may open."""
    *others, dummy = attrs("{page-faults,cs}", of_cpus=of_cpus, of_command=False)
    assert [(attr.disabled, attr.enable_on_exec) for attr in (*others, dummy)] == [(1, 0), (0, 0), (1, 0)]
    assert (dummy.type, dummy.config, dummy.sample_period) == (b.PERF_TYPE_SOFTWARE, b.PERF_COUNT_SW_DUMMY, 1)
    assert (dummy.exclude_kernel, dummy.exclude_hv, dummy.inherit) == (1, 1, not of_cpus)
    for attr, side_band in ((others[0], 0), (others[1], 0), (dummy, 1)):
        assert {getattr(attr, name) for name in SIDE_BAND} == {side_band}


def test_a_leader_is_sampled_for_its_group():
    """``:S``: members have no rate of their own; nothing is inherited, and the counts are read in their own format."""
    leader, member = attrs("{page-faults,cs}:S", count=3)
    assert (leader.sample_period, member.sample_period) == (3, 0)
    assert leader.sample_type & b.PERF_SAMPLE_READ
    assert leader.inherit == 0
    assert not leader.read_format & b.PERF_FORMAT_LOST
    leader, member = attrs("{page-faults,cs}", count=3)
    assert (leader.sample_period, member.sample_period) == (3, 3)


@pytest.mark.parametrize(
    ("limit", "asked", "rate"), [("100000", 0, 4000), ("3000", 0, 3000), ("3000", 3000, 3000), ("", 0, 4000)]
)
def test_the_kernel_limits_the_rate(limit, asked, rate, monkeypatch):
    """The default is no more than kernel.perf_event_max_sample_rate; to ask for more is an error."""
    monkeypatch.setattr(sampling, "contents", {"/proc/sys/kernel/perf_event_max_sample_rate": limit}.get)
    assert sampling._frequency(asked) == rate
    too_many = int(limit or sampling.DEFAULT_HZ) + 1
    message = f"^-F {too_many}: kernel.perf_event_max_sample_rate is {limit or sampling.DEFAULT_HZ} here$"
    with pytest.raises(ValueError, match=message):
        sampling._frequency(too_many)


def test_probes_are_rare_where_there_are_any(monkeypatch):
    """Their types are numbers of this boot, in sysfs; tracepoints and breakpoints have fixed ones."""
    devices = "/sys/bus/event_source/devices"
    always = {b.PERF_TYPE_TRACEPOINT, b.PERF_TYPE_BREAKPOINT}
    for known, rare in (
        ({f"{devices}/kprobe/type": "6", f"{devices}/uprobe/type": "7"}, always | {6, 7}),
        ({f"{devices}/uprobe/type": "7"}, always | {7}),
        ({}, always),
    ):
        monkeypatch.setattr(sampling, "contents", lambda path, known=known: known.get(path, ""))
        assert sampling._rare() == rare


@pytest.mark.parametrize(
    ("kernel", "read_format", "n_side_band"),
    [
        (Kernel(lambda attr: errno.EINVAL if attr.read_format else 0), 0, 7),
        (Kernel(lambda attr: errno.EINVAL if attr.ksymbol else 0), 0, 5),
        (Kernel(lambda _: errno.EACCES), b.PERF_FORMAT_LOST, 7),
    ],
    ids=["before 6.0", "before 5.1", "refusing"],
)
def test_an_older_kernel_is_asked_for_what_it_knows(kernel, read_format, n_side_band, monkeypatch):
    """No counts of lost records before Linux 6.0, no records of the kernel's symbols before 5.1."""
    monkeypatch.setattr(sampling, "lib", kernel)
    assert sampling._known_to_the_kernel() == (read_format, SIDE_BAND[:n_side_band])

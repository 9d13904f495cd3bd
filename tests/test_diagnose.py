"""The rules of perf_event_open that a diagnosis names: each where it is broken, none where it is kept, at its edges."""

import errno
from pathlib import Path
from time import CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW

import pytest

from perf_event_open_sys import _diagnose, errors, perf_event_attr
from perf_event_open_sys import bindings as b
from perf_event_open_sys._files import parse_cpu_list

W, R, RW, X = b.HW_BREAKPOINT_W, b.HW_BREAKPOINT_R, b.HW_BREAKPOINT_RW, b.HW_BREAKPOINT_X
CGROUP = b.PERF_FLAG_PID_CGROUP
RATE = int(Path("/proc/sys/kernel/perf_event_max_sample_rate").read_text())
LAST_CPU = parse_cpu_list(Path("/sys/devices/system/cpu/possible").read_text())[-1]
TRACEPOINT = {"type": b.PERF_TYPE_TRACEPOINT, "use_clockid": 1}
STACK, BRANCHES = {"sample_type": b.PERF_SAMPLE_STACK_USER}, {"sample_type": b.PERF_SAMPLE_BRANCH_STACK}


def broken(pid=0, cpu=-1, group_fd=-1, flags=0, **fields):
    """Return every rule that this call breaks."""
    return list(_diagnose._broken_rules(perf_event_attr(**fields), pid, cpu, group_fd, flags))


KEPT = [
    {"sample_type": b.PERF_SAMPLE_WEIGHT},
    {"sample_type": b.PERF_SAMPLE_WEIGHT_STRUCT},
    {"sample_type": b.PERF_SAMPLE_MAX - 1 & ~b.PERF_SAMPLE_WEIGHT, "branch_sample_type": b.PERF_SAMPLE_BRANCH_ANY},
    {"read_format": b.PERF_FORMAT_MAX - 1},
    {**BRANCHES, "branch_sample_type": b.PERF_SAMPLE_BRANCH_ANY | b.PERF_SAMPLE_BRANCH_USER},
    {"branch_sample_type": b.PERF_SAMPLE_BRANCH_USER},
    {**STACK, "sample_stack_user": 65528},
    {"sample_stack_user": 7},
    {"inherit": 1, "inherit_thread": 1, "sample_type": b.PERF_SAMPLE_READ},
    {"inherit": 1},
    {"sample_type": b.PERF_SAMPLE_READ},
    {"remove_on_exec": 1},
    {"enable_on_exec": 1},
    {"sigtrap": 1, "remove_on_exec": 1},
    {"freq": 1, "sample_freq": RATE},
    {"sample_period": 2**63 - 1},
    {"sample_period": RATE + 1},
    {"pid": -1, "cpu": 0},
    {"pid": 1, "cpu": LAST_CPU},
    {"pid": 3, "cpu": 0, "flags": CGROUP},
    {"flags": b.PERF_FLAG_FD_NO_GROUP | b.PERF_FLAG_FD_OUTPUT | b.PERF_FLAG_FD_CLOEXEC},
    {**TRACEPOINT, "clockid": CLOCK_MONOTONIC},
    {**TRACEPOINT, "clockid": CLOCK_MONOTONIC_RAW},
    {"type": b.PERF_TYPE_SOFTWARE, "use_clockid": 1, "clockid": CLOCK_BOOTTIME},
    {"aux_sample_size": 8},
    {"pinned": 1, "exclusive": 1},
    {"group_fd": 3},
]


@pytest.mark.parametrize("call", KEPT, ids=str)
def test_a_rule_that_is_kept_is_not_named(call):
    """Calls that come close to a rule without breaking it: one of two flags that exclude each other, the largest value."""
    assert broken(**call) == []


BROKEN = [
    ({"flags": 16}, "flags 0x10"),
    ({"__reserved_1": 1}, "__reserved_1"),
    ({"__reserved_2": 1}, "__reserved_2"),
    ({"__reserved_3": 1}, "__reserved_3"),
    ({"sample_type": b.PERF_SAMPLE_MAX}, "sample_type 0x"),
    ({"read_format": b.PERF_FORMAT_MAX}, "read_format 0x"),
    ({**BRANCHES}, "branch_sample_type needs"),
    ({**BRANCHES, "branch_sample_type": b.PERF_SAMPLE_BRANCH_PLM_ALL}, "branch_sample_type needs"),
    ({**STACK, "sample_stack_user": 12}, "sample_stack_user must"),
    ({**STACK, "sample_stack_user": 65536}, "sample_stack_user must"),
    ({"sample_type": b.PERF_SAMPLE_WEIGHT | b.PERF_SAMPLE_WEIGHT_STRUCT}, "PERF_SAMPLE_WEIGHT and"),
    ({"inherit_thread": 1}, "inherit_thread needs"),
    ({"remove_on_exec": 1, "enable_on_exec": 1}, "remove_on_exec and"),
    ({"sigtrap": 1}, "sigtrap needs"),
    ({"sigtrap": 1, "remove_on_exec": 1, "pid": -1, "cpu": 0}, "sigtrap needs"),
    ({"freq": 1, "sample_freq": RATE + 1}, "sample_freq is above"),
    ({"sample_period": 2**63}, "sample_period must"),
    ({"pid": -1}, "pid=-1 and cpu=-1"),
    ({"flags": CGROUP, "pid": 3}, "a cgroup"),
    ({"flags": CGROUP, "pid": -1, "cpu": 0}, "a cgroup"),
    ({"cpu": LAST_CPU + 1}, "this machine has no CPU"),
    ({"cpu": -2}, "this machine has no CPU -2"),
    ({"inherit": 1, "sample_type": b.PERF_SAMPLE_READ}, "PERF_SAMPLE_READ with inherit"),
    ({**TRACEPOINT, "clockid": CLOCK_BOOTTIME}, "tracepoints and breakpoints take"),
    ({"aux_pause": 1}, "aux_pause, aux_resume"),
    ({"aux_resume": 1}, "aux_pause, aux_resume"),
    ({"sample_type": b.PERF_SAMPLE_AUX, "aux_sample_size": 8}, "aux_pause, aux_resume"),
    ({"pinned": 1, "group_fd": 3}, "only the leader"),
    ({"exclusive": 1, "group_fd": 0}, "only the leader"),
]


@pytest.mark.parametrize(("call", "rule"), BROKEN, ids=[str(call) for call, _ in BROKEN])
def test_a_rule_that_is_broken_is_named_alone(call, rule):
    """A call that breaks one rule is explained by that rule alone."""
    [found] = broken(**call)
    assert found.startswith(rule)


def breakpoint_rules(kind, length, address=0x1000, *, x86_long=8, **fields):
    """Return the rules that a breakpoint breaks."""
    attr = perf_event_attr(type=b.PERF_TYPE_BREAKPOINT, bp_type=kind, bp_addr=address, bp_len=length, **fields)
    return list(_diagnose._broken_breakpoint(attr, x86_long))


@pytest.mark.parametrize("kind", [W, RW])
@pytest.mark.parametrize("length", range(10))
def test_x86_watches_1_2_4_or_8_aligned_bytes(kind, length):
    """Any other length is named, and with one of these an address that is not aligned to it."""
    if length not in (1, 2, 4, 8):
        assert breakpoint_rules(kind, length) == [f"bp_len must be 1, 2, 4 or 8; it is {length}"]
    else:
        assert breakpoint_rules(kind, length) == []
        odd = breakpoint_rules(kind, length, 0x1001)
        assert odd == ([f"bp_addr 0x1001 is not aligned to bp_len {length}"] if length > 1 else [])
    assert breakpoint_rules(kind, length, 0x1001, x86_long=0) == []


def test_breakpoint_types_that_cannot_be_are_named():
    """bp_type 0, unknown bits, execute with read; on x86 also reads alone, and execute with another bp_len than a long's."""
    for kind in (0, X | R, X | W, X | 8, 8):
        [rule] = breakpoint_rules(kind, 8)
        assert rule.startswith("bp_type must be"), kind
        assert breakpoint_rules(kind, 8, x86_long=0) == [rule]
    for size in (4, 8):  # of the kernel's long
        assert breakpoint_rules(X, size, 0x1001, x86_long=size) == []
        [rule] = breakpoint_rules(X, 1, x86_long=size)
        assert rule.startswith(f"bp_len must be {size}, the size of a long")
    [rule] = breakpoint_rules(R, 8)
    assert rule.startswith("x86 has no breakpoint for reads alone")
    assert breakpoint_rules(R, 8, x86_long=0) == breakpoint_rules(X, 1, x86_long=0) == []


def test_an_address_of_the_kernel_needs_the_kernel():
    """A breakpoint at a kernel address is wrong only with exclude_kernel."""
    [rule] = breakpoint_rules(W, 8, 1 << 63, exclude_kernel=1)
    assert rule.startswith("bp_addr 0x8000000000000000 is in the kernel")
    assert breakpoint_rules(W, 8, 1 << 63) == []
    assert breakpoint_rules(W, 8, (1 << 63) - 8, exclude_kernel=1) == []


def test_the_first_broken_rule_is_the_diagnosis():
    """EINVAL of several broken rules names the one that the kernel looks at first."""
    fields = {"sample_type": b.PERF_SAMPLE_MAX, "__reserved_2": 1}
    assert errors.diagnose(errno.EINVAL, perf_event_attr(**fields), -1, -1, -1, 0) == "__reserved_2 must be 0"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.EPERM, "5 pages and the user's other rings are more than kernel.perf_event_mlock_kb"),
        (errno.EINVAL, "an event that is inherited and on no CPU"),
        (errno.ENOMEM, "there is no memory for 5 pages"),
        (errno.EBADF, "-1 is no open file"),
    ],
)
def test_a_ring_that_is_not_mapped_is_explained_by_its_errno(code, text):
    """Each errno of mmap(2) has its reason; the pages are those of the call."""
    assert _diagnose.of_map(code, -1, 5).startswith(text)

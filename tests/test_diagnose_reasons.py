"""What a refusal is explained by: the errno, the type of the event, and what an ordinary user may not have."""

import errno
import os
import re

import pytest
from support.events import DUMMY
from support.trees import device

from perf_event_open_sys import _diagnose, _files, errors, ffi, perf_event_attr
from perf_event_open_sys import bindings as b
from perf_event_open_sys._files import DEVICES

CGROUP = b.PERF_FLAG_PID_CGROUP
NO_FILE = 999


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """The sysfs of a machine with the PMUs of probes and one that counts cycles of the TSC."""
    for name, kind in (("kprobe", 7), ("uprobe", 8), ("msr", 77)):
        device(tmp_path, name, kind)
    monkeypatch.setattr(_diagnose, "_DEVICES", str(tmp_path / DEVICES))


HARDWARE = "no PMU of this machine counts this event, as is usual for PERF_TYPE_HARDWARE in a virtual machine"


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        *(({"type": kind}, HARDWARE) for kind in (b.PERF_TYPE_HARDWARE, b.PERF_TYPE_HW_CACHE, b.PERF_TYPE_RAW)),
        ({"type": b.PERF_TYPE_SOFTWARE, "config": 99}, "this kernel has no software event 99"),
        ({"type": b.PERF_TYPE_BREAKPOINT}, "this kernel has no hardware breakpoints"),
        ({"type": 7}, "kprobe: there is no such function"),
        ({"type": 8}, "uprobe: there is no such file"),
        ({"type": 77, "config": 31}, "PMU msr has no event 0x1f"),
        ({"type": 78}, "no PMU has type 78. Types change from boot to boot"),
    ],
)
def test_what_is_not_counted_is_named(fields, reason):
    """ENOENT is explained by the type: a PMU's by its name."""
    assert errors.diagnose(errno.ENOENT, perf_event_attr(**fields), 0, -1, -1, 0).startswith(reason)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"size": 136, "config3": 1}, "attr.size was below 64 or above a page, or the group has grown too large"),
        ({"size": 128, "config3": 1}, "this kernel knows 128 bytes of perf_event_attr: it is too old for config3$"),
        ({"size": 128, "config3": 1, "config4": 1}, "this kernel knows 128 bytes of .* too old for config3, config4$"),
        ({"size": 64, "sample_regs_user": 3}, "this kernel knows 64 bytes .* too old for sample_regs_user$"),
    ],
)
def test_the_fields_beyond_the_kernels_attr_are_named(fields, reason):
    """After E2BIG attr.size is what the kernel knows: fields beyond it that are not 0 are too new."""
    assert re.match(reason, errors.diagnose(errno.E2BIG, perf_event_attr(**fields), 0, -1, -1, 0))


@pytest.mark.parametrize(
    ("code", "call", "reason"),
    [
        (errno.ESRCH, {"pid": 4194305}, "there is no process or thread 4194305, or it has exited"),
        (errno.ENODEV, {"cpu": 7}, r"CPU 7 is not online; [-,\d]+ are$"),
        (errno.EBADF, {"group_fd": NO_FILE}, "group_fd: 999 is no open file$"),
        (errno.EBADF, {"group_fd": NO_FILE, "flags": CGROUP, "pid": 3}, "group_fd: 999 is no open file$"),
        (errno.EBADF, {"flags": CGROUP, "pid": 3}, "PERF_FLAG_PID_CGROUP makes of pid a file .*, and 3 is none$"),
        (errno.EIO, {}, "$"),
    ],
)
def test_an_errno_is_explained_by_the_call(code, call, reason):
    """Whom and where it asked for stands in the reason; what nothing is known of has none."""
    arguments = {"pid": 0, "cpu": -1, "group_fd": -1, "flags": 0} | call
    assert re.match(reason, errors.diagnose(code, perf_event_attr(), **arguments))


def test_of_a_cgroup_in_a_group_the_cgroup_is_to_blame(event):
    """Where the leader is an event, EBADF is the cgroup's."""
    text = errors.diagnose(errno.EBADF, perf_event_attr(), 3, 0, event(**DUMMY), CGROUP)
    assert text.endswith("a file descriptor of a cgroup's directory, and 3 is none")


@pytest.mark.parametrize("size", [0, 64, 144])
def test_what_is_behind_the_attr_is_no_part_of_it(size):
    """A reserved field is looked at only where attr.size says that it is there; a size of 0 stands for 64."""
    fields = {"type": b.PERF_TYPE_SOFTWARE, "__reserved_2": 1, "sample_period": 2**63, "size": size}
    text = errors.diagnose(errno.EINVAL, perf_event_attr(**fields), 0, -1, -1, 0)
    assert text == ("__reserved_2 must be 0" if size == 144 else "sample_period must be below 2**63")


def test_rules_are_looked_at_after_einval_only():
    """A call that breaks a rule, and was refused before the kernel looked at it, has another reason."""
    attr = perf_event_attr(**DUMMY | {"__reserved_2": 1})
    assert errors.diagnose(errno.EINVAL, attr, 0, -1, -1, 0) == "__reserved_2 must be 0"
    assert "__reserved_2 must be 0" not in errors.diagnose(errno.EOPNOTSUPP, attr, 0, -1, -1, 0)


NOBODYS = 2**31 - 8  # the type of no PMU


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"type": b.PERF_TYPE_SOFTWARE, "config": 99},
            "PERF_TYPE_SOFTWARE does not take config 0x63, or a combination",
        ),
        ({"type": NOBODYS, "config": 5}, f"PMU {NOBODYS} does not take config 0x5, or a combination"),
        ({"type": NOBODYS + 1, "config": 5}, "PMU odd does not take config 0x5, or a combination"),
        ({"type": NOBODYS + 2}, "a uprobe needs uprobe_path, a regular file"),
        ({"type": b.PERF_TYPE_TRACEPOINT, "config": 999999}, "no tracepoint has the id 999999"),
    ],
)
def test_where_no_field_is_to_blame_the_event_is(tmp_path, monkeypatch, fields, reason):
    """EINVAL without a broken rule names the PMU, by its name or its type, and what selects the event."""
    for number, name in enumerate(("odd", "uprobe"), NOBODYS + 1):
        device(tmp_path, name, number)
    monkeypatch.setattr(_diagnose, "_DEVICES", str(tmp_path / DEVICES))
    assert errors.diagnose(errno.EINVAL, perf_event_attr(**fields), 0, -1, -1, 0).startswith(reason)


@pytest.mark.parametrize("group_fd", [-1, 999])
def test_only_a_member_of_a_group_cannot_be_pinned(group_fd):
    """A pinned event that leads its group breaks no rule."""
    text = errors.diagnose(errno.EINVAL, perf_event_attr(**DUMMY, pinned=1), 0, -1, group_fd, 0)
    assert text.startswith("only the leader of a group can be pinned") == (group_fd != -1)


def test_a_diagnosis_that_fails_adds_nothing(monkeypatch):
    """The kernel's own error is raised, whatever happens on the way to its reason."""
    monkeypatch.delattr(_diagnose, "of_call")
    ffi.errno = errno.EINVAL
    with pytest.raises(OSError, match=rf"PERF_EVENT_IOC_REFRESH: {os.strerror(errno.EINVAL)}$") as caught:
        errors.refused("PERF_EVENT_IOC_REFRESH")
    assert caught.value.errno == errno.EINVAL


USER = {"exclude_kernel": 1}
RAW = USER | {"type": b.PERF_TYPE_TRACEPOINT, "sample_type": b.PERF_SAMPLE_RAW}
PHYSICAL = USER | {"sample_type": b.PERF_SAMPLE_PHYS_ADDR}
PROBES = "namespaces, kprobes and uprobes need CAP_PERFMON at any level"
KERNEL, EVERYBODY = "counting in the kernel needs 1 or less", "counting everybody on a CPU (pid=-1) needs 0 or less"


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize(
    ("fields", "pid", "paranoid", "wants"),
    [
        (USER, 0, 2, []),
        ({}, 0, 1, []),
        ({}, 0, 2, [KERNEL]),
        (USER, -1, 0, []),
        (USER, -1, 1, [EVERYBODY]),
        ({}, -1, 2, [KERNEL, EVERYBODY]),
        (USER | {"namespaces": 1}, 0, -1, [PROBES]),
        (USER | {"type": 7}, 0, -1, [PROBES]),
        (USER | {"type": 8}, 0, -1, [PROBES]),
        (USER | {"type": 77}, 0, 2, []),
        (RAW, 0, -1, []),
        (RAW, 0, 0, ["raw tracepoint samples need -1"]),
        (RAW | {"sample_type": b.PERF_SAMPLE_IP}, 0, 2, []),
        (RAW | {"type": b.PERF_TYPE_SOFTWARE}, 0, 2, []),
        (PHYSICAL, 0, 1, []),
        (PHYSICAL, 0, 2, ["physical addresses need 1 or less"]),
        (USER, 0, 3, ["some distributions' kernels deny everything from 3 on"]),
        (USER, os.getpid(), 2, []),
        (USER, 4194305, 2, []),
    ],
)
def test_what_an_ordinary_user_may_not_have_is_named(fields, pid, paranoid, wants):
    """Each thing from the level on that forbids it, and nothing that this level allows."""
    found = list(_diagnose._wants(perf_event_attr(**fields), pid, paranoid))
    assert len(found) == len(wants)
    assert all(text.startswith(want) for text, want in zip(found, wants, strict=True))


INITIAL, OTHER = "0 0 4294967295", "0 1000 1"
NOT_THAT, FILTER = "it is not for want of CAP_PERFMON: ", "a seccomp filter is set on this process"
LEVEL = r"kernel.perf_event_paranoid is 2: .*CAP_PERFMON \(root has it\) lifts this"


@pytest.mark.parametrize(
    ("capabilities", "users", "seccomp", "fields", "text"),
    [
        (1 << 38, INITIAL, 0, {}, rf"{NOT_THAT}a security module"),
        (1 << 21, INITIAL, 0, {}, rf"{NOT_THAT}a security module"),
        (1 << 38, INITIAL, 2, {}, rf"{NOT_THAT}{FILTER}"),
        (1 << 38, OTHER, 0, {}, rf"{LEVEL}$"),
        (1 << 36, INITIAL, 0, {}, rf"{LEVEL}$"),
        (2**64 - 1 - (1 << 38 | 1 << 21), INITIAL, 0, {}, rf"{LEVEL}$"),
        (0, INITIAL, 2, {}, rf"{LEVEL}; {FILTER}"),
        (0, INITIAL, 1, {}, rf"{LEVEL}$"),
        (0, INITIAL, 0, {}, r"kernel.perf_event_paranoid is 2: counting in the kernel needs .*\. CAP_PERFMON"),
        (0, INITIAL, 0, USER, r"kernel.perf_event_paranoid is 2: it does not forbid this by itself\. CAP_PERFMON"),
    ],
)
def test_who_is_refused_is_told_what_is_missing(monkeypatch, capabilities, users, seccomp, fields, text):
    """The capability, in the first user namespace; the filter; or the level. A process's name may have colons in it."""
    files = {
        "/proc/self/status": f"Name:\tCapEff: 1:2\nCapEff:\t{capabilities:016x}\nSeccomp:\t{seccomp}\n",
        "/proc/self/uid_map": f"{users}\n",
        "/proc/sys/kernel/perf_event_paranoid": "2\n",
    }
    monkeypatch.setattr(_files, "read_file", lambda path: files.get(path, "").encode())
    assert re.match(text, errors.diagnose(errno.EACCES, perf_event_attr(**fields), 0, -1, -1, 0))


@pytest.mark.parametrize(("cpu", "reason"), [(11, ""), (12, "this machine has no CPU 12 (it has 0-3,8-11)")])
def test_a_cpu_beyond_the_last_is_named(monkeypatch, cpu, reason):
    """The last of several ranges is what counts; the kernel's own list is shown."""
    monkeypatch.setattr(_files, "read_file", lambda _path: b"0-3,8-11\n")
    assert "".join(_diagnose._broken_rules(perf_event_attr(), 0, cpu, -1, 0)) == reason


@pytest.mark.parametrize("another", [0, 1])
def test_a_process_of_another_user_is_named(monkeypatch, another):
    """The owner of a process is compared with the user that the kernel asks for."""
    owner = os.stat("/proc/1").st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + another)
    assert list(_diagnose._wants(perf_event_attr(**USER), 1, 2)) == ["process 1 is another user's"] * another

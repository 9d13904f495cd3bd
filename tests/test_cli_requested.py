"""What a command line asks for: its events, and the directories of its cgroups."""

from types import SimpleNamespace

import pytest

from perf_event_open_sys._cli import requested
from perf_event_open_sys._cli.requested import cgroup_directory, event_of

V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"
V1 = "cgroup /cg/perf_event cgroup rw,nosuid,perf_event,cpu 0 0\n"
OTHERS = "proc /proc proc rw 0 0\ncgroup /cg/memory cgroup rw,memory 0 0\ntmpfs /tmp tmpfs rw,perf_event 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "directory"),
    [
        (OTHERS + V2, "/sys/fs/cgroup/job"),
        (OTHERS + V1, "/cg/perf_event/job"),
        (OTHERS + V2 + V1, "/cg/perf_event/job"),
        (V1 + V2 + V1.replace("/cg", "/again") + OTHERS, "/cg/perf_event/job"),
        (r"none /a\040b\011c\012d\134e cgroup2 rw 0 0" + "\n", "/a b\tc\nd\\e/job"),
    ],
)
def test_a_cgroup_is_below_the_hierarchy_that_perf_events_know(mounts, directory, monkeypatch):
    """Version 1's for perf_event if there is one, version 2's otherwise; the first mount of several of the same."""
    monkeypatch.setattr(requested, "contents", {"/proc/self/mounts": mounts}.get)
    assert cgroup_directory("job") == cgroup_directory(directory) == directory
    root = directory.removesuffix("/job")
    assert cgroup_directory(root) == root


def test_a_machine_without_cgroups_is_an_error(monkeypatch):
    """It says what is not mounted."""
    monkeypatch.setattr(requested, "contents", {"/proc/self/mounts": OTHERS}.get)
    with pytest.raises(OSError, match="no cgroups are mounted") as caught:
        cgroup_directory("job")
    assert caught.value.strerror == "no cgroups are mounted that perf events know: neither version 2 nor perf_event's"


@pytest.mark.parametrize(("pmu", "cpumask"), [(SimpleNamespace(cpumask=(1, 3)), (1, 3)), (None, ())])
def test_an_event_keeps_all_that_its_text_says(pmu, cpumask):
    """Name, attr, scale, unit and modifiers; and the CPUs of its PMU, if it is on some only."""
    known = {"name": "n", "attr": object(), "scale": 2.5, "unit": "J", "modifiers": "u"}
    event = event_of(SimpleNamespace(**known, pmu=pmu))
    assert {name: getattr(event, name) for name in known} == known
    assert event.cpumask == cpumask

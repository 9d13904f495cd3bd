"""Tracepoints, from trees of tracefs and the mount table."""

import os

import pytest
from support.processes import become_ordinary, in_child
from support.trees import tracing

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events


def test_tracepoints_of_a_tree_are_read(tmp_path):
    """A tracepoint is SYSTEM:NAME with the content of its id; globs are several."""
    root = tracing(tmp_path, sched__switch="314\n", sched__wakeup="315\n", irq__entry="9\n")
    (tmp_path / "events" / "sched" / "enable").write_text("0")
    assert events.tracepoints(tracefs=root) == ["irq:entry", "sched:switch", "sched:wakeup"]
    assert events.tracepoint_id("sched", "switch", tracefs=root) == 314
    attr = events.attr("sched:switch:u", tracefs=root)
    assert (attr.type, attr.config, attr.exclude_kernel) == (b.PERF_TYPE_TRACEPOINT, 314, 1)
    groups = events.parse("sched:*:u,*:entry", tracefs=root)
    assert [event.name for [event] in groups] == ["sched:switch:u", "sched:wakeup:u", "*:entry"]
    with pytest.raises(ValueError, match="no tracepoint sched:swich; did you mean switch"):
        events.attr("sched:swich", tracefs=root)
    with pytest.raises(ValueError, match="nor any of shed; did you mean sched"):
        events.attr("shed:switch", tracefs=root)
    with pytest.raises(ValueError, match="no tracepoint matches"):
        events.attr("x*:*", tracefs=root)


@pytest.mark.parametrize("text", ["", "nonsense", "-1", "\0"])
def test_a_tracepoint_without_a_number_is_a_clear_error(tmp_path, text):
    """An id file of nonsense is as good as none."""
    with pytest.raises(ValueError, match="no tracepoint sched:switch"):
        events.tracepoint_id("sched", "switch", tracefs=tracing(tmp_path, sched__switch=text))


def test_a_tracefs_that_is_not_there_is_a_file_not_found_error(tmp_path):
    """An empty directory where tracefs should be, and a mount table without it."""
    with pytest.raises(FileNotFoundError, match="no tracefs is there"):
        events.tracepoint_id("sched", "switch", tracefs=str(tmp_path))
    (tmp_path / "mounts").write_text("proc /proc proc rw 0 0\n\nnonsense\n")
    with pytest.raises(FileNotFoundError, match="mount -t tracefs nodev /sys/kernel/tracing"):
        events.tracefs(mounts=str(tmp_path / "mounts"))


def test_a_closed_tracefs_is_a_permission_error(tmp_path):
    """A directory that this user may not read says what would open it."""
    root = tracing(tmp_path, sched__switch="1")
    os.chmod(tmp_path / "events", 0)
    with pytest.raises(PermissionError, match=rf"{root}/events: .* mode= or gid="):
        in_child(lambda: events.tracepoint_id("sched", "switch", tracefs=root), setup=become_ordinary)
    os.chmod(tmp_path / "events", 0o700)


def test_tracefs_is_found_in_the_mount_table(tmp_path):
    """The table's escapes are undone; under debugfs it is the directory tracing."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"d {tmp_path}/debug\\040fs debugfs rw 0 0\nt /else\\040where tracefs rw 0 0\n")
    assert events.tracefs(mounts=str(mounts)) == "/else where"
    mounts.write_text(f"d {tmp_path}/debug\\040fs debugfs rw 0 0\n")
    (tmp_path / "debug fs" / "tracing").mkdir(parents=True)
    assert events.tracefs(mounts=str(mounts)) == f"{tmp_path}/debug fs/tracing"
    mounts.write_text("t /a\\040b\\011c\\012d\\043e\\134f\\134040 tracefs rw 0 0\n")
    assert events.tracefs(mounts=str(mounts)) == "/a b\tc\nd#e\\f\\040"


def test_of_several_debugfs_the_first_with_tracing_is_taken(tmp_path):
    """A debugfs without a directory ``tracing`` is passed over, and so is such a directory of another file system."""
    for name in ("other", "first", "second"):
        (tmp_path / name / "tracing").mkdir(parents=True)
    lines = [f"x {tmp_path}/{name} debugfs rw 0 0\n" for name in ("empty", "first", "second")]
    (tmp_path / "mounts").write_text(f"x {tmp_path}/other ext4 rw 0 0\n{''.join(lines)}")
    assert events.tracefs(mounts=str(tmp_path / "mounts")) == f"{tmp_path}/first/tracing"
    (tmp_path / "mounts").write_text(f"x {tmp_path}/other ext4 rw 0 0\n")
    with pytest.raises(FileNotFoundError, match=r"tracefs: .* as root, mount"):
        events.tracefs(mounts=str(tmp_path / "mounts"))


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ("..", "events/sched/switch"),
        ("sched", "../sched/switch"),
        ("", "sched/switch"),
        ("sched", "."),
        ("sched\0", "switch"),
    ],
)
def test_a_name_that_is_a_path_is_no_tracepoint(tmp_path, system, name):
    """Nothing but SYSTEM/NAME below events is looked at."""
    root = tracing(tmp_path, sched__switch="314")
    (tmp_path / "events" / "sched" / "id").write_text("315")
    for function in (events.tracepoint_id, events.tracepoint_format):
        with pytest.raises(ValueError, match="no tracepoint"):
            function(system, name, tracefs=root)


def test_a_mount_point_may_have_any_name(tmp_path):
    """Bytes that are no UTF-8 and what Python takes for the end of a line are parts of a name."""
    (tmp_path / "mounts").write_bytes(b"proc /a\xe2\x80\xa8b proc rw 0 0\nt /\xff\x0c\xe2\x80\xa8x tracefs rw 0 0\n")
    assert os.fsencode(events.tracefs(mounts=str(tmp_path / "mounts"))) == b"/\xff\x0c\xe2\x80\xa8x"


def test_a_system_whose_name_begins_with_a_digit_is_read(tmp_path):
    """9p is a system of tracepoints, and no type of events."""
    root = tracing(tmp_path, **{"9p__9p_client_req": "77"})
    assert events.attr("9p:9p_client_req:u", tracefs=root).config == 77

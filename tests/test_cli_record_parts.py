"""The parts of ``record``: sizes and times in its options, sizes as they are shown, and the names of its file."""

import mmap
import os
import re
import stat

import pytest
from support.machine import CPUS
from support.marks import needs_events, needs_root
from support.workloads import fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, perf_data, perf_event_attr, records, ring
from perf_event_open_sys._cli import record, recorder
from perf_event_open_sys._cli.counter import Event
from perf_event_open_sys._cli.record import Destination
from perf_event_open_sys._cli.sampling import _known_to_the_kernel

EVENTS = [perf_data.Event(perf_event_attr(type=1, sample_type=1), (1,), "event")]
PAGES_OF_4M = (4 << 20) // mmap.PAGESIZE


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("1", 1),
        ("128", 128),
        (str(1 << 30), 1 << 30),
        ("4M", PAGES_OF_4M),
        ("4m", PAGES_OF_4M),
        ("4096K", PAGES_OF_4M),
        ("1G", PAGES_OF_4M * 256),
        ("1k", 1),  # rounded up to a page
    ],
)
def test_the_size_of_a_ring(text, pages):
    """A number of pages, or of bytes with their unit, which are rounded up to pages."""
    assert record._pages(text) == pages


@pytest.mark.parametrize("text", ["3", "0", "3M", "M", "", "-1", "4T", str(1 << 31)])
def test_a_ring_that_cannot_be(text):
    """A power of two is needed, of at most 2^30 pages."""
    with pytest.raises(ValueError, match=r"^not a "):
        record._pages(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2", 2), ("0.5", 0.5), (".5", 0.5), ("2.", 2), ("9" * 18, float("9" * 18))]
)
def test_a_time(text, seconds):
    """Decimal seconds, with or without a point."""
    assert record._seconds(text) == seconds


@pytest.mark.parametrize("text", ["0", "0.0", ".", "", "-1", "1e3", "inf", "nan", "1.2.3", "²", "9" * 19])
def test_a_time_that_is_none(text):
    """It is above 0, and written in digits."""
    with pytest.raises(ValueError, match=r"^not a number of seconds"):
        record._seconds(text)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (3 << 40, "3072.0 GiB"),
    ],
)
def test_a_size_is_shown_in_its_unit(size, shown):
    """The largest in which it is one or more, up to GiB."""
    assert record._bytes(size) == shown


def test_a_file_has_its_name_when_it_is_kept(tmp_path):
    """Before that, what is there is not touched; then it becomes FILE.old, unless it is empty."""
    path = tmp_path / "data"
    for content, names in ((None, ["data"]), ("", ["data"]), ("old", ["data", "data.old"])):
        if content is not None:
            path.write_text(content)
        with Destination(str(path)) as destination:
            with destination.create(EVENTS, {}):
                assert sorted(os.listdir(tmp_path))[-1] == f"data.{os.getpid()}"
                assert (path.read_text() if path.exists() else None) == content
            destination.keep()
        assert sorted(os.listdir(tmp_path)) == names
        with perf_data.open(path) as file:
            assert [event.name for event in file.events] == ["event"]
    assert (tmp_path / "data.old").read_text() == "old"


def test_a_file_that_is_not_kept_is_removed(tmp_path):
    """Nothing was recorded: all is as it was."""
    path = tmp_path / "data"
    path.write_text("old")
    with Destination(str(path)) as destination, destination.create(EVENTS, {}):
        pass
    assert os.listdir(tmp_path) == ["data"]
    assert path.read_text() == "old"


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    """And not the name that it has until it is kept."""
    path = str(tmp_path / "nowhere" / "data")
    with pytest.raises(FileNotFoundError, match=re.escape(repr(path))), Destination(path) as destination:
        destination.create(EVENTS, {})
    with pytest.raises(FileNotFoundError, match="other"), Destination(path):
        raise FileNotFoundError(2, "No such file or directory", "other")


@needs_root
def test_what_is_no_file_is_written_itself(tmp_path):
    """A device keeps its name, and is neither renamed nor removed."""
    path = tmp_path / "null"  # one of our own: it would be a pity for the machine's
    os.mknod(path, 0o600 | stat.S_IFCHR, os.stat(os.devnull).st_rdev)
    with Destination(str(path)) as destination:
        with destination.create(EVENTS, {}):
            pass
        destination.keep()
    assert os.listdir(tmp_path) == ["null"]
    assert path.is_char_device()


@pytest.mark.parametrize(
    ("kib", "pages"),
    [
        (str(mmap.PAGESIZE // 1024 * 129), 128),
        (str(mmap.PAGESIZE // 1024 * 128), 64),
        (str(mmap.PAGESIZE // 1024 * 2), 1),
        ("0", 1),
        ("", 1 << (516 * 1024 // mmap.PAGESIZE - 1).bit_length() - 1),
    ],
)
def test_the_ring_that_every_user_may_have(kib, pages, monkeypatch):
    """The largest that fits beside its control page into kernel.perf_event_mlock_kb; one page at the least."""
    monkeypatch.setattr(recorder, "contents", {"/proc/sys/kernel/perf_event_mlock_kb": kib}.get)
    assert recorder._free_pages() == pages


def test_groups_are_described_by_their_places():
    """Each that has members: the number of its first event, and how many it has."""
    events = [Event(name, EVENTS[0].attr) for name in "abcdef"]
    groups = [events[:1], events[1:3], events[3:4], events[4:]]
    assert recorder.Recorder(groups, 1).group_desc() == [("{anon_group}", 1, 2), ("{anon_group}", 4, 2)]


@needs_events
def test_all_that_is_sampled_on_a_cpu_shares_its_ring():
    """One for each CPU, however many events and threads there are; all are closed at the end."""
    groups = [[Event(name, events.attr(name, sample_period=1))] for name in ("page-faults:u", "dummy:u")]
    one = recorder.Recorder(groups, 1)
    try:
        one.open([(0, cpu, b.PERF_FLAG_FD_CLOEXEC) for cpu in CPUS] * 2)
        one.map()
        assert len(one.rings) == len(CPUS)
        assert [len(counter.open_fds()) for counter in one.counters] == [2 * len(CPUS)] * 2
    finally:
        one.close()
    assert one.rings == []


@needs_events
def test_the_recorder_knows_what_a_full_ring_has_lost():
    """As the events' files count it, if they were opened to; what was lost and what is in the ring is all."""
    for read_format, pages in ((_known_to_the_kernel()[0], 2000), (0, 100)):
        attr = events.attr(
            "page-faults:u", read_format=read_format, sample_period=1, sample_type=b.PERF_SAMPLE_IP, disabled=0
        )
        one = recorder.Recorder([[Event("page-faults:u", attr)]], 1)
        try:
            one.open([(0, -1, b.PERF_FLAG_FD_CLOEXEC)])
            one.map()
            fault(pages)
            one.disable()
            buffer = bytearray(1 << 16)
            n_samples = len(records.parse(memoryview(buffer)[: ring.drain_into(one.rings, buffer)], attr))
            lost = one.lost()
        finally:
            one.close()
        assert n_samples > 0
        assert (lost > 0) == bool(read_format)
        assert not read_format or pages <= n_samples + lost < 2 * pages

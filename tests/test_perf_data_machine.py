"""What a perf.data file says of the machine, and of binaries and tracepoints: build ids, and what tracefs has."""

import os
import resource
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.encode import record
from support.machine import PAGE_SIZE, WORD
from support.marks import needs_root
from support.perf_files import read_file
from support.processes import in_child

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, perf_data, perf_event_attr
from perf_event_open_sys.perf_data import _build_id, _layout, _machine

ID = bytes(range(1, 21))
ORDER = 1 if sys.byteorder == "little" else 2


def note(name, content, kind):
    """Return an ELF note."""
    padded = (part + bytes(-len(part) % 4) for part in (name, content))
    return struct.pack("=3I", len(name), len(content), kind) + b"".join(padded)


def elf(notes, bits=64, order=ORDER, n_headers=3):
    """Return an ELF file whose last program header is of a segment with these notes."""
    size = {32: 32, 64: 56}[bits]
    begin = 64 + size * n_headers
    if bits == 64:
        header = struct.pack("=4sBB26xQ14x2H", b"\x7fELF", 2, order, 64, size, n_headers)
        segment = struct.pack("=I4xQ16xQ16x", 4, begin, len(notes))
    else:
        header = struct.pack("=4sBB22xI10x2H", b"\x7fELF", 1, order, 64, size, n_headers)
        segment = struct.pack("=2I8xI12x", 4, begin, len(notes))
    return header.ljust(64, b"\0") + bytes(size * (n_headers - 1)) + segment + notes


NOTES = note(b"Some vendor\0\0", b"12345", 3) + note(b"GNU\0", b"abcd", 1) + note(b"GNU\0", ID, 3)


@pytest.mark.parametrize("bits", [32, 64])
def test_the_build_id_is_found_among_notes(bits, tmp_path):
    """It is of type 3, by GNU; others may be of type 3 by somebody else."""
    (tmp_path / "elf").write_bytes(elf(NOTES, bits))
    assert _build_id.of_file(bytes(tmp_path / "elf")) == ID


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#!/bin/sh",
        b"\x7fELF",
        elf(NOTES, order=3 - ORDER),
        elf(note(b"GNU\0", ID, 4)),
        elf(struct.pack("=3I", 2**32 - 1, 2**32 - 1, 3)),
        b"\x7fELF\2" + bytes([ORDER]) + b"\xff" * 58,
    ],
)
def test_what_has_no_build_id_has_none(content, tmp_path):
    """Neither nonsense nor the other byte order is an error."""
    (tmp_path / "file").write_bytes(content)
    assert _build_id.of_file(bytes(tmp_path / "file")) == b""


@pytest.mark.parametrize("path", [".", "fifo", "absent", "/dev/zero"])
def test_what_is_no_file_has_no_build_id(path, tmp_path):
    """A directory, a FIFO, which is not waited for, a name that nothing has, a device."""
    os.mkfifo(tmp_path / "fifo")
    assert _build_id.of_file(bytes(tmp_path / path)) == b""


def test_every_cut_of_a_file_is_read_without_an_error(tmp_path):
    """The whole has a build id, its beginnings have none."""
    whole = elf(NOTES)
    found = []
    for size in range(len(whole) + 1):
        (tmp_path / "file").write_bytes(whole[:size])
        found.append(_build_id.of_file(bytes(tmp_path / "file")))
    assert set(found[:-20]) == {b""}
    assert found[-1] == ID


def test_build_ids_of_what_was_mapped_are_a_feature(tmp_path):
    """An entry for each binary that has one, by the name in the record; memory without a file has none."""
    (tmp_path / "elf").write_bytes(elf(NOTES))
    body = struct.pack("=2I3Q2I2Q2I", 1, 1, 2, 3, 4, 5, 6, 7, 8, 5, 2)
    maps = [
        record(b.PERF_RECORD_MMAP2, body + name + bytes(8 - len(name) % 8), b.PERF_RECORD_MISC_USER)
        for name in (bytes(tmp_path / "elf"), b"//anon", b"/absent", bytes(tmp_path / "elf"))
    ]
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP)
    with perf_data.create(tmp_path / "data", [(attr, [], "")]) as writer:
        writer.write(b"".join(maps))
    content = read_file(tmp_path / "data").features[_layout.FEATURE_NUMBERS["build_id"]]
    header = struct.unpack_from("=IHHi20sB", content)
    assert header == (0, b.PERF_RECORD_MISC_USER | 1 << 15, len(content), -1, ID, len(ID))
    assert content[36:].rstrip(b"\0") == bytes(tmp_path / "elf")
    # What was mapped as data is no code; where the record has the build id, it need not be looked for.
    for misc in b.PERF_RECORD_MISC_MMAP_DATA, b.PERF_RECORD_MISC_MMAP_BUILD_ID:
        name = bytes(tmp_path / "elf").ljust(200, b"\0")
        with perf_data.create(tmp_path / "data", [(attr, [], "")]) as writer:
            writer.write(record(b.PERF_RECORD_MMAP2, body + name, b.PERF_RECORD_MISC_USER | misc))
        assert _layout.FEATURE_NUMBERS["build_id"] not in read_file(tmp_path / "data").features
    assert len(content[36:]) % 64 == 0


def test_build_ids_of_kernel_modules_are_those_of_sysfs(monkeypatch, tmp_path):
    """By the module's name: of one that is installed its file has it, with other dashes; of another the record."""
    notes = {f"/sys/module/{name}/notes/.note.gnu.build-id": note(b"GNU\0", ID, 3) for name in ("a_b", "c_d")}
    monkeypatch.setattr(_build_id, "read_file", lambda path: notes.get(path, b""))
    names = [b"/lib/modules/1/a-b.ko.xz", b"[c_d]", b"[gone]"]
    body = struct.pack("=2I3Q", 2**32 - 1, 0, 1, 2, 0)
    with perf_data.create(tmp_path / "data", [(perf_event_attr(), [], "")]) as writer:
        for name in names:
            writer.write(record(b.PERF_RECORD_MMAP, body + name.ljust(32, b"\0"), b.PERF_RECORD_MISC_KERNEL))
    with perf_data.open(tmp_path / "data") as reader:
        found = reader.features["build_id"]
    assert sorted(found) == [(-1, ID, os.fsdecode(name)) for name in names[:2]]


def test_a_disk_too_full_for_the_build_ids_leaves_the_other_features(tmp_path):
    """Closing raises; what is there can be read."""
    (tmp_path / "elf").write_bytes(elf(NOTES))
    mapped = struct.pack("=2I3Q", 1, 1, 2, 3, 4) + bytes(tmp_path / "elf").ljust(256, b"\0")
    features: dict[Any, Any] = {name: None for name in _layout.FEATURE_NUMBERS if name != "build_id"}
    features["hostname"] = "here"

    def fill():
        writer = perf_data.create(tmp_path / "data", [(perf_event_attr(), [], "")], features=features)
        writer.write(record(b.PERF_RECORD_MMAP, mapped, b.PERF_RECORD_MISC_USER))
        size = os.path.getsize(tmp_path / "data") + 40
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        writer.close()

    with pytest.raises(OSError, match="File too large"):
        in_child(fill)
    with perf_data.open(tmp_path / "data") as reader:
        assert reader.features == {"hostname": "here"}
        assert len(list(reader.chunks())) == 1


def test_build_ids_that_are_given_have_their_kind(tmp_path):
    """That of the kernel, by its name or its modules' directory, or that of programs."""
    names = {
        "[kernel.kallsyms]": b.PERF_RECORD_MISC_KERNEL,
        "/lib/modules/1/a.ko": b.PERF_RECORD_MISC_KERNEL,
        "/bin/a": b.PERF_RECORD_MISC_USER,
    }
    given = [(-1, ID, name) for name in names]
    with perf_data.create(tmp_path / "data", [(perf_event_attr(), [], "")], features={"build_id": given}):
        pass
    content = read_file(tmp_path / "data").features[_layout.FEATURE_NUMBERS["build_id"]]
    entries = [struct.unpack_from("=IHH", content, at) for at in range(0, len(content), 100)]  # names have 64 bytes
    assert entries == [(0, misc | 1 << 15, 100) for misc in names.values()]
    with perf_data.open(tmp_path / "data") as reader:
        assert reader.features["build_id"] == given


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nvendor_id\t: A\nmodel name\t: B: 3 GHz\n\nprocessor\t: 1\nmodel name\t: C\n", "B: 3 GHz"),
        ("Processor\t: ARMv7 rev 4\nvendor_id\t: A\ncpu\t: C\n", "ARMv7 rev 4"),
        ("processor\t: 0\ncpu\t\t: POWER9\nvendor_id: A\n", "POWER9"),
        ("vendor_id       : IBM/S390\nuarch: a\n", "IBM/S390"),
        ("hart\t: 0\nuarch\t: sifive,u74\n", "sifive,u74"),
        ("processor\t: 0\n", None),
    ],
)
def test_the_cpu_has_the_name_that_its_architecture_gives_it(text, expected, monkeypatch, tmp_path):
    """That of the first CPU; the feature is not there where /proc/cpuinfo has no name."""
    monkeypatch.setattr(_machine, "contents", {"/proc/cpuinfo": text}.__getitem__)
    with perf_data.create(tmp_path / "data", [(perf_event_attr(), [], "")]):
        pass
    with perf_data.open(tmp_path / "data") as reader:
        assert reader.features.get("cpudesc") == expected
        assert reader.features["version"] == "perf_event_open_sys"
        assert reader.features["total_mem"] * 1024 == os.sysconf("SC_PHYS_PAGES") * PAGE_SIZE


def test_the_resolution_of_the_events_clock_is_a_feature(tmp_path):
    """In nanoseconds, of the first event's that has a clock of its own; where none has, the feature is not there."""
    coarse = 6  # CLOCK_MONOTONIC_COARSE, whose resolution is a tick of the kernel
    attrs = [perf_event_attr()] + [
        perf_event_attr(use_clockid=1, clockid=one) for one in (coarse, time.CLOCK_MONOTONIC)
    ]
    for chosen, clock in (attrs, coarse), (attrs[::2], time.CLOCK_MONOTONIC), (attrs[:1], None):
        with perf_data.create(tmp_path / "data", [(attr, [], "") for attr in chosen]):
            pass
        with perf_data.open(tmp_path / "data") as reader:
            assert reader.features.get("clockid") == (
                None if clock is None else round(time.clock_getres(clock) * 10**9)
            )


def test_tracing_data_that_is_not_wanted_is_not_looked_for(tmp_path):
    """Tracefs may be closed to this user, or the tracepoint be another machine's."""
    point = perf_event_attr(type=b.PERF_TYPE_TRACEPOINT, config=65535)
    with perf_data.create(tmp_path / "data", [(point, [], "a:b")], features={"tracing_data": None}):
        pass
    with perf_data.open(tmp_path / "data") as reader:
        assert "tracing_data" not in reader.features


@needs_root
def test_a_tracepoint_brings_its_format(tracefs, tmp_path):
    """From tracefs, by its id, whatever the event is called."""
    attr = events.attr("sched:sched_switch")
    for name in "sched:sched_switch", "sched:sched_switch:u", "mine":
        with perf_data.create(tmp_path / "data", [(attr, [], name)]):
            pass
        content = read_file(tmp_path / "data").features[_layout.FEATURE_NUMBERS["tracing_data"]]
        assert content.startswith(b"\x17\x08Dtracing0.6\0")
        text = Path(tracefs, "events/sched/sched_switch/format").read_bytes()
        assert b"\1\0\0\0sched\0\1\0\0\0" + struct.pack("=Q", len(text)) + text in content
    with pytest.raises(ValueError, match="no tracepoint whose id is 65535, the config of an event"):
        perf_data.create(tmp_path / "other", [(perf_event_attr(type=b.PERF_TYPE_TRACEPOINT, config=65535), [], "")])
    assert not (tmp_path / "other").exists()


def test_tracing_data_is_what_tracefs_has(monkeypatch, tmp_path):
    """In perf's order: both headers, the formats of ftrace's own points, those of each system, the strings of printk."""
    formats = {"ftrace/print": (5, "of print"), "sched/a": (1, "of a"), "sched/b": (2, "b"), "irq/c": (3, "of c")}
    files = {"events/header_page": "page", "events/header_event": "an event", "printk_formats": "0x1 : text"}
    files |= {f"events/{point}/id": str(number) for point, (number, _) in formats.items()}
    files |= {f"events/{point}/format": text for point, (_, text) in formats.items()}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(events, "tracefs", lambda: str(tmp_path))
    names = {1: "sched:a", 5: "mine", 3: "irq:b:u", 2: "sched:b:u"}
    points = [(perf_event_attr(type=b.PERF_TYPE_TRACEPOINT, config=one), [one], name) for one, name in names.items()]
    others = [(perf_event_attr(type=b.PERF_TYPE_SOFTWARE, config=9), [9], "sched:c")]
    with perf_data.create(tmp_path / "data", points + others):
        pass

    def sized(text):
        return struct.pack("=Q", len(text)) + text

    big, words = struct.pack("=BB", sys.byteorder == "big", WORD // 8), struct.Struct("=I").pack
    expected = [
        *(b"\x17\x08Dtracing", b"0.6\0", big, words(PAGE_SIZE)),
        *(b"header_page\0", sized(b"page"), b"header_event\0", sized(b"an event")),
        *(words(1), sized(b"of print"), words(2)),
        *(b"sched\0", words(2), sized(b"of a"), sized(b"b"), b"irq\0", words(1), sized(b"of c")),
        *(words(0), words(10), b"0x1 : text", bytes(8)),
    ]
    assert read_file(tmp_path / "data").features[_layout.FEATURE_NUMBERS["tracing_data"]] == b"".join(expected)

"""What a perf.data file says of binaries and tracepoints: their build ids, and what tracefs has."""

import struct
import sys
from pathlib import Path

import pytest
from support.encode import record
from support.marks import needs_root
from support.perf_files import read_file

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, perf_data, perf_event_attr
from perf_event_open_sys.perf_data import _build_id, _layout

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


NOTES = note(b"Linux\0", b"12345", 3) + note(b"GNU\0", b"abcd", 1) + note(b"GNU\0", ID, 3)


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
    with pytest.raises(ValueError, match="no tracepoint whose id is 65535"):
        perf_data.create(tmp_path / "other", [(perf_event_attr(type=b.PERF_TYPE_TRACEPOINT, config=65535), [], "")])
    assert not (tmp_path / "other").exists()

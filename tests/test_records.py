"""Records: a struct for every type, names, trailers."""

import itertools
import struct

import pytest
from support.encode import TRAILER, encode_trailer, record, u64
from support.record_bodies import BODIES, WHO, kind_of
from support.samples import GOOD

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_event_attr, records

PAIRS = (b.PERF_SAMPLE_TID, b.PERF_SAMPLE_CPU)


def iterate(buffer):
    """Walk over the records; what a test expects of each says which struct it is."""
    return records.iterate(buffer)


def test_every_record_type_of_the_header_has_a_struct():
    """Each enumerator of perf_event_type, and so each of the next header's, is in the tests below."""
    names = set(ffi.typeof("enum perf_event_type").elements.values()) - {"PERF_RECORD_MAX"}
    assert names == {f"PERF_RECORD_{tag.upper()}" for tag in BODIES}
    assert len(names) == 22


@pytest.mark.parametrize("tag", BODIES)
def test_iterate_gives_each_type_its_struct(tag):
    """All fields of every record type are where the kernel writes them."""
    body, misc, fields = BODIES[tag]
    [found] = iterate(record(kind_of(tag), body, misc))
    assert ffi.typeof(found) is ffi.typeof(f"struct perf_record_{tag} *")  # type: ignore[call-overload]
    assert (found.header.type, found.header.misc, found.header.size) == (kind_of(tag), misc, 8 + len(body))
    assert {name: getattr(found, name) for name in fields} == fields


def test_what_ends_a_record_is_reached_through_its_struct():
    """Arrays at the end have the length that the record's own fields say."""
    found = {}
    for one in iterate(b"".join(record(kind_of(tag), body) for tag, (body, _, _) in BODIES.items())):
        found[ffi.typeof(one).cname] = one
    assert found["struct perf_record_read *"].values[0] == 5
    link = found["struct perf_record_namespaces *"].link_info
    assert [(link[i].dev, link[i].ino) for i in range(2)] == [(1, 2), (3, 4)]
    assert bytes(found["struct perf_record_bpf_event *"].tag) == b"01234567"
    assert list(found["struct perf_record_callchain_deferred *"].ips[0:2]) == [3, 4]
    assert bytes(found["struct perf_record_text_poke *"].bytes[0:5]) == b"oonnn"


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("mmap", b"/bin/a"), ("mmap2", b"/bin/a"), ("comm", b"a name"), ("ksymbol", b"a_symbol"), ("cgroup", b"/a/group")],
)
def test_name_is_the_bytes_up_to_the_nul_or_the_records_end(tag, expected):
    """Names come as bytes; one without a NUL ends with its record, not in the next."""
    buffer = record(kind_of(tag), BODIES[tag][0])
    found = next(iterate(buffer + record(b.PERF_RECORD_LOST, b"x" * 16)))
    assert records.name(found) == expected


def test_a_record_may_be_a_pointer_of_the_callers():
    """Its header says how long it is; what the caller does when the pointer goes is the caller's."""
    memory = ffi.from_buffer(record(kind_of("comm"), BODIES["comm"][0]))
    pointer = ffi.cast("struct perf_record_comm *", memory)
    gone: list[object] = []
    for one in (pointer, ffi.gc(pointer, lambda _: None), ffi.gc(pointer, gone.append)):
        assert records.name(one) == b"a name"


@pytest.mark.parametrize(
    ("value", "given"),
    [
        ([], "list"),
        (ffi.new("int[]", 1), r"int\[\]"),
        (ffi.cast("struct perf_record_comm *", 0), "NULL"),
        (ffi.NULL, r"void \*"),
    ],
)
def test_what_is_no_record_is_named(value, given):
    """The TypeError says what was given in the place of a record."""
    with pytest.raises(TypeError, match=f"^record must be a pointer to a record, not {given}$"):
        records.name(value)


def test_a_name_may_have_one_byte():
    """It ends with its record, without a NUL: sizes of made-up records need not be the kernel's."""
    memory = ffi.from_buffer(record(kind_of("comm"), WHO + b"x"))
    assert records.name(ffi.cast("struct perf_record_comm *", memory)) == b"x"


def test_name_may_be_missing_altogether():
    """A record with no bytes behind its struct's fixed fields has an empty name."""
    [found] = iterate(record(b.PERF_RECORD_COMM, WHO))
    assert records.name(found) == b""


def test_name_of_a_record_without_one_is_a_type_error():
    """The message says which struct carries no name."""
    [found] = iterate(record(b.PERF_RECORD_SWITCH))
    with pytest.raises(TypeError, match="perf_record_switch"):
        records.name(found)


def test_mmap2_carries_a_build_id_where_misc_says_so():
    """The same 24 bytes, by PERF_RECORD_MISC_MMAP_BUILD_ID."""
    body = WHO + u64(1, 2, 3) + struct.pack("=BBH20sII", 20, 0, 0, bytes(range(20)), 8, 9) + b"/bin/a\0\0"
    [found] = iterate(record(b.PERF_RECORD_MMAP2, body, b.PERF_RECORD_MISC_MMAP_BUILD_ID))
    assert bytes(found.build_id[0 : found.build_id_size]) == bytes(range(20))
    assert (found.prot, found.flags, records.name(found)) == (8, 9, b"/bin/a")
    device = body[:32] + b"\xff" + body[33:]  # a device number, whatever its first byte
    [found] = iterate(record(b.PERF_RECORD_MMAP2, device))
    assert (found.build_id_size, found.ino, found.ino_generation) == (255, *struct.unpack("=2Q", body[40:56]))


@pytest.mark.parametrize("kind", [0, b.PERF_RECORD_MAX, 64, 2**32 - 1])
def test_an_unknown_type_is_data(kind):
    """A type of the future, or of a tool's own, comes as a struct of its own; the body is behind the header."""
    [found, behind] = iterate(record(kind, u64(7)) + record(b.PERF_RECORD_SWITCH))
    assert ffi.typeof(found) is ffi.typeof("struct perf_record_unknown *")
    assert (found.header.type, found.header.size) == (kind, 16)
    assert bytes(found.data[0:8]) == u64(7)
    assert behind.header.type == b.PERF_RECORD_SWITCH


def test_a_record_keeps_its_buffer_alive():
    """The pointers are all that is left, and what they point at is still there."""
    kept = list(iterate(bytearray(record(b.PERF_RECORD_LOST, u64(1, 2)) * 5000)))
    others = [bytearray(5000 * 24) for _ in range(60)]  # in the place of a freed one
    assert {(one.id, one.lost) for one in kept} == {(1, 2)}
    del others
    buffer = bytearray(record(b.PERF_RECORD_LOST, u64(1, 2)))
    [one] = iterate(buffer)
    with pytest.raises(BufferError):
        buffer.clear()
    assert one.lost == 2


@pytest.mark.parametrize("tag", [tag for tag in BODIES if tag != "sample"])
def test_sample_id_reads_the_trailer_behind_any_record(tag):
    """All 64 combinations of TID, TIME, ID, STREAM_ID, CPU, IDENTIFIER, the last being last."""
    values = {"pid": 1, "tid": 2, "time": 2**64 - 3, "id": 4, "stream_id": 5, "cpu": 6}
    for n in range(7):
        for wanted in itertools.combinations([bit for bit, _ in TRAILER], n):
            attr = perf_event_attr(
                sample_type=sum(wanted) | b.PERF_SAMPLE_CALLCHAIN | b.PERF_SAMPLE_IP, sample_id_all=1
            )
            [found] = iterate(record(kind_of(tag), BODIES[tag][0] + encode_trailer(attr, values)))
            trailer = records.sample_id(found, attr)
            assert ffi.typeof(trailer) is ffi.typeof("struct perf_sample *")
            asked = {part for bit, name in TRAILER if bit in wanted for part in (name if bit in PAIRS else (name,))}
            for name, value in values.items():
                assert getattr(trailer, name) == (value if name in asked else 0), name
            assert (trailer.ip, trailer.size) == (0, found.header.size)


@pytest.mark.parametrize("kind", [0, b.PERF_RECORD_MAX, 64])
def test_sample_id_of_an_unknown_type_may_fill_the_record(kind):
    """What is not known has no fields of its own that the trailer must leave alone; the header it must."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_IDENTIFIER, sample_id_all=1)
    [found] = iterate(record(kind, u64(7, 8)))
    trailer = records.sample_id(found, attr)
    assert (trailer.time, trailer.id) == (7, 8)
    [found] = iterate(record(kind, u64(7)))
    with pytest.raises(records.CorruptRecord):
        records.sample_id(found, attr)


def test_sample_id_selects_among_several_events():
    """The trailer's own id says whose fields it has; it is found from the record's end."""
    attrs = {
        1: perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_TIME, sample_id_all=1),
        2: perf_event_attr(sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_CPU, sample_id_all=1),
    }
    buffer = b"".join(
        record(b.PERF_RECORD_LOST, u64(0, 0) + encode_trailer(attrs[one], {"id": one, "time": 77, "cpu": 5}))
        for one in (2, 1)
    )
    trailers = [records.sample_id(one, attrs) for one in iterate(buffer)]
    assert [(one.id, one.time, one.cpu) for one in trailers] == [(2, 0, 5), (1, 77, 0)]
    stranger = record(b.PERF_RECORD_LOST, u64(0, 0, 77, 3))
    with pytest.raises(ValueError, match="none of the given"):
        records.sample_id(next(iterate(stranger)), attrs)
    attrs = {
        1: perf_event_attr(sample_type=b.PERF_SAMPLE_ID, sample_id_all=1),
        2: perf_event_attr(sample_type=b.PERF_SAMPLE_ID | b.PERF_SAMPLE_CPU, sample_id_all=1),
    }
    with pytest.raises(ValueError, match="PERF_SAMPLE_IDENTIFIER"):
        records.sample_id(next(iterate(stranger)), attrs)


@pytest.mark.parametrize("tag", [tag for tag in BODIES if tag != "sample"])
def test_a_record_without_room_for_the_trailer_is_corrupt(tag):
    """The trailer may not reach back into the record's own fields."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_IDENTIFIER, sample_id_all=1)
    fixed = (ffi.sizeof(f"struct perf_record_{tag}") + 7) // 8 * 8  # type: ignore[arg-type]
    body = BODIES[tag][0][: fixed - 8]
    if tag in ("namespaces", "callchain_deferred"):  # whose count would reach beyond
        body = body[:8].ljust(16, b"\0")
    [found] = iterate(record(kind_of(tag), body + u64(7)))
    with pytest.raises(records.CorruptRecord) as caught:
        records.sample_id(found, attr)
    assert (caught.value.offset, caught.value.n_samples) == (0, 0)


def test_a_record_without_sample_id_all_has_no_trailer():
    """Without sample_id_all there is no trailer: a ValueError, not the record's own last bytes."""
    [found] = iterate(record(b.PERF_RECORD_LOST, u64(1, 2)))
    with pytest.raises(ValueError, match="sample_id_all"):
        records.sample_id(found, perf_event_attr(sample_type=b.PERF_SAMPLE_TIME))


def test_a_sample_has_no_trailer():
    """sample_id of a PERF_RECORD_SAMPLE is a ValueError: a sample has its id in its own fields."""
    [found] = iterate(GOOD)
    with pytest.raises(ValueError, match="use parse"):
        records.sample_id(found, perf_event_attr(sample_type=b.PERF_SAMPLE_TIME, sample_id_all=1))

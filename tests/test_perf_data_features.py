"""The features of a perf.data file, of made-up bytes: each is decoded, and one that is cut short is a plain error."""

import re
import struct

import pytest
from support.encode import u64
from support.perf_bytes import (
    ATTR,
    attr,
    attr_bytes,
    event_desc,
    everything,
    header_attr,
    header_feature,
    perf_file,
    read,
    samples,
    stream,
    string,
    strings,
)

from perf_event_open_sys.perf_data import _features, _layout


def u32(*values):
    """Return the bytes of 32-bit values."""
    return struct.pack(f"={len(values)}I", *values)


def build_id(identity, name, *, misc=0, size=None, pid=2**32 - 1):
    """Return an entry of the feature build_id; its type is 0."""
    name += bytes(-len(name) % 8)
    size = 36 + len(name) if size is None else size
    return struct.pack("=IHH", 0, misc, size) + u32(pid) + identity.ljust(24, b"\0") + name


ID = bytes(range(1, 21))
# Number of a feature: its bytes, and its value.
KNOWN = {
    1: (b"\x17\x08Dtracing", b"\x17\x08Dtracing"),
    2: (
        build_id(ID, b"/bin/sh\0")
        + build_id(ID[:16] + b"\0\0\0\0\x10", b"[kernel]\0", misc=0x8001)
        + build_id(ID, b"", pid=4711),
        [(-1, ID, "/bin/sh"), (-1, ID[:16], "[kernel]"), (4711, ID, "")],
    ),
    3: (string("here"), "here"),
    4: (string("7.3.4"), "7.3.4"),
    5: (string("7.3.g1"), "7.3.g1"),
    6: (string("x86_64"), "x86_64"),
    7: (u32(8, 2), (8, 2)),
    8: (string("A CPU"), "A CPU"),
    9: (string("GenuineIntel,6,1"), "GenuineIntel,6,1"),
    10: (u64(2**34), 2**34),
    11: (strings("perf", "record", b"\xff\xfe", ""), ("perf", "record", "\udcff\udcfe", "")),
    13: (
        b"".join(
            [strings("0-1"), strings("0", "1"), *(u32(n, 5) for n in range(8)), strings("0-7"), u32(*range(8))],
        ),
        (("0-1",), ("0", "1"), ("0-7",), tuple((n, 5, n) for n in range(8))),
    ),
    14: (u32(1, 3) + u64(2048, 1024) + string("0-1"), [(3, 2048, 1024, "0-1")]),
    15: (b"", True),
    16: (u32(2, 1) + string("software") + u32(4) + string("cpu"), {"software": 1, "cpu": 4}),
    17: (u32(1) + string("{anon_group}") + u32(2, 3), [("{anon_group}", 2, 3)]),
    18: (u64(2, 4096, 64, 8192, 32), [(4096, 64), (8192, 32)]),
    19: (b"", True),
    20: (
        u32(1, 1, 3, 64, 32768, 16) + string("Unified") + string("32768K") + string("0-1"),
        [(3, 64, 32768, 16, "Unified", "32768K", "0-1")],
    ),
    21: (u64(5, 9), (5, 9)),
    22: (u64(1, 2**27, 2, 0, 129, 129, 1, 32, 1, 1, 64, 64, 5), (1, 2**27, {0: 1 | 32 << 64 | 1 << 128, 1: 5})),
    23: (u64(4), 4),
    24: (u64(1), 1),
    25: (u32(1, 16, 8) + u64(3) + b"i" * 16 + b"d" * 8, [(b"i" * 16, 3, b"d" * 8)]),
    26: (u32(2, 7, 3) + b"btf" + u32(9, 0), {7: b"btf", 9: b""}),
    27: (u32(1, 1, 3, 6, 528384), (1, 1, 3, 6, 528384)),
    28: (u32(1) + string("branches") + string("32"), {"branches": "32"}),
    29: (u32(1, 4) + u64(10**18, 77), (1, 4, 10**18, 77)),
    30: (u32(1) + string("cpu_atom") + string("4-7"), {"cpu_atom": "4-7"}),
    31: (
        u32(2, 1) + string("max_precise") + string("3") + string("cpu_core") + u32(0) + string("ibs_op"),
        {"cpu_core": {"max_precise": "3"}, "ibs_op": {}},
    ),
    32: (
        u32(17, 2, 0, 1, 0) + string("MC") + string("3") + string("0-1") + u32(1, 0),
        (17, 2, {0: ((0, "MC", "3", "0-1"),), 1: ()}),
    ),
    33: (u32(62, 0), (62, 0)),
    34: (u32(64), 64),
}  # fmt: skip


def test_every_feature_that_has_a_name_is_decoded_from_a_file():
    """All at once, by their names; event_desc has the events."""
    described = {12: event_desc((ATTR, (1,), "cycles"), (attr(config=4), (), "faults"))}
    data = {number: data for number, (data, _) in KNOWN.items()} | described
    assert data.keys() == _layout.FEATURES.keys()
    with read(perf_file(features=data)) as reader:
        found = reader.features
    first, second = found.pop("event_desc")
    assert (attr_bytes(first.attr), first.ids, first.name) == (attr_bytes(ATTR), (1,), "cycles")
    assert (second.attr.config, second.ids, second.name) == (4, (), "faults")
    assert found == {_layout.FEATURES[number]: value for number, (_, value) in KNOWN.items()}
    assert list(found) == [_layout.FEATURES[number] for number in sorted(KNOWN)]


def test_features_of_a_stream_are_the_same():
    """Those that perf writes there; an empty one marks the end of them, whatever its number."""
    known = {number: pair for number, pair in KNOWN.items() if pair[0]}
    marks = [header_feature(35, b""), header_feature(32, b"")]
    data = stream(header_attr(), *(header_feature(number, data) for number, (data, _) in known.items()), *marks)
    with read(data) as reader:
        assert reader.features == {_layout.FEATURES[number]: value for number, (_, value) in known.items()}


@pytest.mark.parametrize("number", [0, 35, 200, 255])
def test_feature_that_is_not_known_is_its_bytes(number):
    """By its number."""
    with read(perf_file(features={3: string("here"), number: b"later"})) as reader:
        assert reader.features == {"hostname": "here", number: b"later"}


def test_values_have_names():
    """The parts of a value are attributes."""
    with read(perf_file(features={number: KNOWN[number][0] for number in (7, 13, 32)})) as reader:
        features = reader.features
    assert (features["nrcpus"].available, features["nrcpus"].online) == (8, 2)
    assert features["cpu_topology"].cpus[3].core_id == 3
    assert features["cpu_domain_info"].cpus[0][0].name == "MC"


def test_old_forms_of_features():
    """A CPU topology without dies, or without CPUs; scheduling domains without names; a cache line's size of 64 bits."""
    lists = strings("0-1") + strings("0")
    domains = u32(15, 1, 4, 1, 0) + string("3") + string("0-1")
    for number, data, value in (
        (13, lists, (("0-1",), ("0",), (), ())),
        (13, lists + u32(0, 5, 1, 5), (("0-1",), ("0",), (), ((0, 5, None), (1, 5, None)))),
        (32, domains, (15, 1, {4: ((0, "", "3", "0-1"),)})),
        (34, u64(128), 128),
    ):
        with read(perf_file(features={7: u32(2, 2), number: data})) as reader:
            assert reader.features[_layout.FEATURES[number]] == value
    with read(perf_file(features={13: lists + u32(0, 5, 1, 5)})) as reader:  # it does not say how many CPUs follow
        assert reader.features == {"cpu_topology": (("0-1",), ("0",), (), ())}


def test_features_are_absent_from_a_header_without_their_bits():
    """The header of the first perf with this format ends before them."""
    data = bytearray(perf_file(samples(1), features={3: string("here")}))
    data[8:16] = u64(72)
    with read(data) as reader:
        assert reader.features == {}
        assert everything(reader) == (samples(1), "")


@pytest.mark.parametrize("number", sorted(number for number, (data, _) in KNOWN.items() if data and number != 1))
def test_feature_that_is_cut_short_is_an_error_with_its_place(number):
    """At any byte but where it can end. The records, and other features' names, can be read all the same."""
    data, value = KNOWN[number]
    name = _layout.FEATURES[number]
    refused = 0
    for size in range(len(data)):
        with read(perf_file(samples(1), features={7: KNOWN[7][0], number: data[:size]})) as reader:
            assert everything(reader) == (samples(1), "")
            try:
                assert reader.features[name] != value
            except ValueError as error:
                assert re.match(r"perf\.data, at byte \d+: ", str(error))  # noqa: PT017 - not every size is refused
                refused += 1
    assert refused > len(data) // 2


def test_event_desc_of_other_events_gives_no_names():
    """Those that it describes have other ids."""
    with read(perf_file(samples(1), features={12: event_desc((ATTR, (2,), "cycles"))})) as reader:
        assert [event.name for event in reader.events] == [""]


def test_event_desc_that_is_cut_short_leaves_the_events_without_names():
    """Only the features are refused."""
    with read(perf_file(samples(1), features={12: event_desc((ATTR, (1,), "cycles"))[:-9]})) as reader:
        assert [(event.ids, event.name) for event in reader.events] == [((1,), "")]
        with pytest.raises(ValueError, match="event_desc is cut short"):
            _ = reader.features


@pytest.mark.parametrize("number", [2, 11, 12, 14, 16, 18, 20, 22, 25, 26, 28, 31, 32])
@pytest.mark.parametrize("count", [2**32 - 1, 2**31])
def test_count_that_cannot_be_is_an_error(number, count):
    """No memory is taken for it."""
    head = {18: u64(count), 22: u64(1, 1, count), 20: u32(1, count), 32: u32(17, 2, 0, count)}.get(
        number, u32(count) * 3
    )
    with read(perf_file(features={number: head + bytes(80)})) as reader, pytest.raises(ValueError, match="at byte"):
        _ = reader.features


def test_build_id_that_cannot_be_is_an_error():
    """Its record is too small for one, or it has more than 20 bytes; the message names its place."""
    good = build_id(ID, b"/bin/sh\0")
    for bad in (build_id(ID, b"", size=35), build_id(ID + b"\x15", b"", misc=0x8000)):
        data = perf_file(features={2: good + bad})
        with read(data) as reader, pytest.raises(ValueError, match=f"at byte {data.rindex(bad)}: a build id"):
            _ = reader.features


def test_attr_in_event_desc_that_cannot_be_is_an_error():
    """At its place."""
    described = event_desc((ATTR, (1,), "a"))
    data = perf_file(features={12: described[:12] + u32(63) + described[16:]})
    at = len(data) - len(described) + 8
    with read(data) as reader, pytest.raises(ValueError, match=f"at byte {at}: an attr of 63 bytes"):
        _ = reader.features


def test_decoders_are_of_features_that_have_names():
    """None is left over, and none is missing but for the two that need more than their bytes."""
    assert {*_features._DECODERS, "cpu_topology"} == set(_layout.FEATURE_NUMBERS)

"""records.columns: the fields of samples as arrays, without rows, equal to what parse gives."""

import random
import struct

import pytest

numpy = pytest.importorskip("numpy", reason="needs NumPy")

from support.encode import encode_sample, record, u64  # noqa: E402 - after NumPy is known to be there
from support.samples import PLAIN, ips, random_values  # noqa: E402

from perf_event_open_sys import bindings as b  # noqa: E402
from perf_event_open_sys import ffi, perf_event_attr, records  # noqa: E402

SCALARS = [name for name, field in ffi.typeof("struct perf_sample").fields if field.type.kind == "primitive"]
FIXED_BITS = (
    b.PERF_SAMPLE_IDENTIFIER
    | b.PERF_SAMPLE_IP
    | b.PERF_SAMPLE_TID
    | b.PERF_SAMPLE_TIME
    | b.PERF_SAMPLE_ADDR
    | b.PERF_SAMPLE_ID
    | b.PERF_SAMPLE_STREAM_ID
    | b.PERF_SAMPLE_CPU
    | b.PERF_SAMPLE_PERIOD
)
ALL_BITS = (b.PERF_SAMPLE_MAX - 1) & ~b.PERF_SAMPLE_WEIGHT_STRUCT
SIDE_BAND = record(b.PERF_RECORD_COMM, u64(1) + b"name\0\0\0\0")


def made(attr, seed, n=7):
    """Return samples of random values, with records of other types between them."""
    rng = random.Random(seed)
    values = [random_values(rng, attr) for _ in range(n)]
    for one in values:  # one word, which PERF_SAMPLE_IDENTIFIER and PERF_SAMPLE_ID both give
        one["id"] = values[0]["id"]
    return b"".join(SIDE_BAND * (place % 3 == 1) + encode_sample(attr, one) for place, one in enumerate(values))


def assert_same(buffer, attr, fields):
    """Check that columns() gives what parse() gives."""
    rows = records.to_numpy(records.parse(buffer, attr))
    found = records.columns(buffer, attr, fields)
    assert list(found) == list(fields)
    for name, array in found.items():
        assert array.dtype == rows.dtype[name]
        assert array.tolist() == rows[name].tolist(), name


@pytest.mark.parametrize("n", range(1, 5))
def test_columns_are_aligned(n):
    """Whatever the number of samples, fields of 8 bytes lie at multiples of 8, and those of 4 at multiples of 4."""
    found = records.columns(ips(n), PLAIN, ["misc", "cpu", "ip"])
    assert list(found) == ["misc", "cpu", "ip"]
    assert all(array.flags.aligned for array in found.values())


@pytest.mark.parametrize("chain", [0, b.PERF_SAMPLE_CALLCHAIN])
@pytest.mark.parametrize("bit", [1 << n for n in range(17) if FIXED_BITS >> n & 1])
def test_each_fixed_field_is_found_with_and_without_every_other(bit, chain):
    """The place of a field follows from the fields before it."""
    for sample_type in (bit, FIXED_BITS, FIXED_BITS & ~bit):
        attr = perf_event_attr(sample_type=sample_type | chain)
        simple = [name for name in SCALARS if not name.endswith(("_count", "_offset", "_abi")) and name != "offset"]
        assert_same(made(attr, bit), attr, simple)


@pytest.mark.parametrize("seed", range(20))
def test_any_attr_gives_every_field_that_rows_have(seed):
    """Fields after variable ones, their counts and offsets, and those that the attr does not ask for, which are 0."""
    rng = random.Random(seed)
    attr = perf_event_attr(
        sample_type=rng.getrandbits(25) & ALL_BITS,
        read_format=rng.getrandbits(5),
        branch_sample_type=b.PERF_SAMPLE_BRANCH_ANY | rng.choice([0, b.PERF_SAMPLE_BRANCH_HW_INDEX]),
        sample_regs_user=3,
        sample_regs_intr=5,
    )
    assert_same(made(attr, seed), attr, SCALARS)


def test_many_samples_fill_more_than_one_block():
    """More than are looked at together, with side-band among them."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID)
    parts = [record(b.PERF_RECORD_SAMPLE, u64(n) + struct.pack("=II", n % 7, n % 11)) for n in range(1000)]
    buffer = SIDE_BAND.join(parts[:300]) + b"".join(parts[300:]) + SIDE_BAND
    found = records.columns(buffer, attr, ["tid", "ip", "pid", "time"])
    assert found["ip"].tolist() == list(range(1000))
    assert found["pid"].tolist() == [n % 7 for n in range(1000)]
    assert found["tid"].tolist() == [n % 11 for n in range(1000)]
    assert found["time"].tolist() == [0] * 1000


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("chain", [0, b.PERF_SAMPLE_CALLCHAIN])
def test_each_field_alone_is_as_in_the_rows(name, chain):
    """Those that say where in the buffer something is, and how much of it, among them."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | chain)
    assert_same(made(attr, 1), attr, [name])


@pytest.mark.parametrize("place", [0, 1, 126, 127, 128, 129, 255, 256, 299])
def test_another_record_among_hundreds_of_samples_is_passed_over(place):
    """It is as large as they are, so that only its type tells it from a sample."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TIME)
    parts = [record(b.PERF_RECORD_SAMPLE, u64(n, 2 * n)) for n in range(300)]
    parts.insert(place, record(b.PERF_RECORD_LOST, u64(7, 7)))
    found = records.columns(b"".join(parts), attr, ["ip", "time"])
    assert found["ip"].tolist() == list(range(300))
    assert found["time"].tolist() == list(range(0, 600, 2))


def test_several_events_are_told_by_their_ids():
    """A mapping of ids, whose attrs differ."""
    first = b.PERF_SAMPLE_IDENTIFIER
    attrs = {3: perf_event_attr(sample_type=first | b.PERF_SAMPLE_IP), 5: perf_event_attr(sample_type=first)}
    buffer = record(9, u64(3, 77)) + record(9, u64(5)) + record(9, u64(3, 78))
    found = records.columns(buffer, attrs, ["id", "ip", "offset"])
    assert {name: array.tolist() for name, array in found.items()} == {
        "id": [3, 5, 3],
        "ip": [77, 0, 78],
        "offset": [0, 24, 40],
    }
    with pytest.raises(ValueError, match="the record at offset 64 has an id that is none"):
        records.columns(buffer + record(9, u64(4)), attrs, ["id"])


BAD = {
    "longer than its fields": record(b.PERF_RECORD_SAMPLE, u64(1, 2)),
    "shorter than its fields": record(b.PERF_RECORD_SAMPLE),
    "a size that is none": record(b.PERF_RECORD_SAMPLE, u64(1), size=12),
    "cut off": record(b.PERF_RECORD_SAMPLE, u64(1))[:-8],
    "half a header": b"\0\0\0\0",
}


@pytest.mark.parametrize("n_before", [0, 1, 127, 128, 129])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_parse_refuses_columns_refuses(bad, n_before):
    """At the same offset, with all before it delivered."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP)
    buffer = b"".join(record(b.PERF_RECORD_SAMPLE, u64(n)) for n in range(n_before)) + bad
    with pytest.raises(records.CorruptRecord) as by_rows:
        records.parse(buffer, attr)
    with pytest.raises(records.CorruptRecord) as caught:
        records.columns(buffer, attr, ["ip"])
    assert (
        (caught.value.offset, caught.value.n_samples) == (by_rows.value.offset, n_before) == (16 * n_before, n_before)
    )
    assert caught.value.columns["ip"].tolist() == list(range(n_before))  # type: ignore[index]


@pytest.mark.parametrize("count", [0, 2, 4, 2**61, 2**61 + 3, 2**64 - 1])
def test_a_callchain_that_is_not_as_long_as_it_says_is_corrupt(count):
    """Its record ends elsewhere, also where the count times 8 wraps."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_CALLCHAIN)
    for decode in (records.parse, lambda buffer, attr: records.columns(buffer, attr, ["ip"])):
        with pytest.raises(records.CorruptRecord):
            decode(record(b.PERF_RECORD_SAMPLE, u64(count, 1, 2, 3)), attr)


def test_a_sample_too_short_for_its_callchain_is_corrupt_whatever_follows():
    """The bytes behind the record, which could be the count of its callchain, are not looked at."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_CALLCHAIN)
    for decode in (records.parse, lambda buffer, attr: records.columns(buffer, attr, ["ip"])):
        with pytest.raises(records.CorruptRecord) as caught:
            decode(record(b.PERF_RECORD_SAMPLE, u64(1)) + u64(2**64 - 1, 2**64 - 1), attr)
        assert caught.value.offset == 0


def test_fields_of_two_bytes_have_both():
    """Of type, size and misc, each sample's own; sizes and misc above 255, beside a field of 8 bytes."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_CALLCHAIN)
    parts = [
        record(b.PERF_RECORD_SAMPLE, u64(n, 40 + n, *range(40 + n)), misc=0x4002 + 0x101 * (n % 180))
        for n in range(300)
    ]
    assert_same(b"".join(parts), attr, ["misc", "type", "ip", "size"])
    found = records.columns(b"".join(parts), attr, ["misc", "size"])
    assert found["misc"].tolist() == [0x4002 + 0x101 * (n % 180) for n in range(300)]
    assert found["size"].tolist() == [8 + 16 + 8 * (40 + n) for n in range(300)]


def test_a_field_that_is_none_is_a_value_error():
    """The nearest names are given; a string is not taken for a list of names."""
    with pytest.raises(ValueError, match="perf_sample has no field 'tme'; did you mean time"):
        records.columns(b"", perf_event_attr(), ["ip", "tme"])
    with pytest.raises(TypeError, match="fields are names"):
        records.columns(b"", perf_event_attr(), "ip")


def test_no_samples_give_empty_arrays():
    """Of an empty buffer, of side-band alone, and where no field is asked for."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP)
    assert records.columns(b"", attr, ["ip"])["ip"].tolist() == []
    assert records.columns(SIDE_BAND, attr, ["ip"])["ip"].tolist() == []
    assert records.columns(record(b.PERF_RECORD_SAMPLE, u64(1)), attr, []) == {}

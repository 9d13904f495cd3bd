"""Copies of structs, and attrs from bytes."""

import gc
import re

import pytest

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ffi


def test_a_copy_is_a_struct_of_its_own():
    """A copy has the original's bytes but for the overrides, and changing one does not change the other."""
    attr = b.perf_event_attr(type=1, config=2, sample_period=7, exclude_kernel=1, sample_id_all=1)
    same, other = b.copy(attr), b.copy(attr, config=3, exclude_kernel=0)
    assert bytes(ffi.buffer(same)) == bytes(ffi.buffer(attr))
    assert (other.type, other.config, other.sample_period, other.exclude_kernel, other.sample_id_all) == (1, 3, 7, 0, 1)
    same.type = 5
    assert (attr.type, attr.config) == (1, 2)


def test_copies_of_other_structs():
    """``copy`` takes any struct of fixed length, a union, and a perf_event_query_bpf with its array."""
    header = b.copy(b.perf_event_header(type=3, size=8), misc=5)
    assert (header.type, header.misc, header.size) == (3, 5, 8)
    assert b.copy(b.perf_mem_data_src(val=77)).val == 77
    assert b.copy(b.perf_sample_weight(full=78)).full == 78
    counts = b.copy(ffi.new("struct perf_counts *", {"value": 3}))
    assert (counts.value, counts.id) == (3, 0)
    query = b.copy(b.perf_event_query_bpf(3))
    assert query.ids_len == 3
    query.ids[2] = 9
    assert query.ids[2] == 9


def test_the_copy_of_a_probe_keeps_its_strings(tmp_path):
    """The strings that a copied attr points to live as long as the copy, or the struct that it points to."""
    device = tmp_path / "bus/event_source/devices/uprobe"
    (device / "format").mkdir(parents=True)
    (device / "type").write_text("9")
    path = "/a/path/that/is/long/enough/to/be/overwritten" * 20
    struct = b.copy(b.copy(events.attr("uprobe//", sysfs=str(tmp_path), uprobe_path=path)), probe_offset=1)[0]
    gc.collect()
    filler = [bytearray(b"x" * (len(path) + 145 + n % 64)) for n in range(1000)]
    assert ffi.string(ffi.cast("char *", struct.uprobe_path)) == path.encode()
    assert len(filler) == 1000


@pytest.mark.parametrize(
    ("fields", "error"), [({"confg": 1}, TypeError), ({"config": "1"}, TypeError), ({"type": 2**32}, OverflowError)]
)
def test_overrides_are_checked_as_the_constructors_fields_are(fields, error):
    """A wrong override raises what the constructor would, with the field's name."""
    with pytest.raises(error, match=next(iter(fields))):
        b.copy(b.perf_event_attr(), **fields)


@pytest.mark.parametrize(
    "pointer",
    [None, 0, [], {}, b"", ffi.NULL, ffi.cast("struct perf_event_attr *", 0), ffi.new("int *"), b.perf_event_attr()[0]],
    ids=repr,
)
def test_what_is_no_pointer_to_a_struct_is_a_type_error(pointer):
    """Numbers, lists, NULL and pointers to what is no struct are a TypeError."""
    given = ffi.typeof(pointer).cname if isinstance(pointer, ffi.CData) else type(pointer).__name__
    with pytest.raises(TypeError, match=f"^pointer must point to a struct, not {re.escape(given)}$"):
        b.copy(pointer)


def test_a_struct_that_ends_in_an_array_is_a_type_error():
    """A struct with a flexible array is not copied: its length is not known from its type; nor is one that has no fields."""
    with pytest.raises(TypeError, match=r"^what a .*FILE has in it is not known$"):
        b.copy(ffi.cast("FILE *", 1 << 20))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="struct perf_record_comm ends in an array"):
        b.copy(ffi.new("struct perf_record_comm *", {"comm": 8}))  # type: ignore[call-overload]


@pytest.mark.parametrize("size", [0, 8, 64, 128, 136, 143, 144, 145, 200, 4096])
def test_an_attr_comes_from_bytes_of_any_size(size):
    """Shorter ones are extended with zeros, longer ones end in zeros."""
    attr = b.perf_event_attr(type=3, config=4, size=min(size, 144), sample_period=5)
    data = (bytes(ffi.buffer(attr)) + bytes(4096))[:size]
    found = b.perf_event_attr_from(memoryview(data))
    assert bytes(ffi.buffer(found)) == (data + bytes(144))[:144]


def test_a_later_kernels_attr_has_its_size_cut_to_this_modules():
    """attr.size is at most that of this module's struct, so that the kernel reads nothing behind it."""
    for size, expected in ((64, 64), (144, 144), (152, 144), (2**32 - 1, 144)):
        data = bytes(ffi.buffer(b.perf_event_attr(size=size))) + bytes(8)
        assert b.perf_event_attr_from(data).size == expected


def test_what_is_unknown_in_a_later_attr_is_a_value_error():
    """A bit that is set behind the fields that this module knows is a ValueError."""
    with pytest.raises(ValueError, match="more than zeros behind the 144 bytes"):
        b.perf_event_attr_from(bytes(144) + b"\0\0\1\0")


@pytest.mark.parametrize("data", [None, 5, "text", [1, 2]])
def test_what_is_no_buffer_is_a_type_error(data):
    """An int is a TypeError: perf_event_attr_from wants the bytes, not how many there are."""
    with pytest.raises(TypeError):
        b.perf_event_attr_from(data)

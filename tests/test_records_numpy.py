"""Structs as NumPy's: dtype and to_numpy."""

import pytest
from support.samples import PLAIN, ips

from perf_event_open_sys import ffi, records


def structs():
    """Return every struct and union of the module, by its C name."""
    typedefs, tags, unions = ffi.list_types()
    return typedefs + [f"struct {tag}" for tag in tags] + [f"union {tag}" for tag in unions]


@pytest.mark.parametrize("ctype", structs())
def test_dtype_has_the_fields_of_c(ctype):
    """Each field that is no bit and no flexible array is there, at C's offset, with C's size; nothing else is."""
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    found = records.dtype(ctype)
    kind = ffi.typeof(ctype)
    assert found.itemsize == ffi.sizeof(kind)
    plain = {
        name: (info.offset, ffi.sizeof(info.type))
        for name, info in kind.fields
        if info.bitsize < 0 and not (info.type.kind == "array" and info.type.length is None)
    }
    assert {name: (at, sub.itemsize) for name, (sub, at) in found.fields.items() if name in plain} == plain  # type: ignore[misc]
    bits = {(8 * one.offset + one.bitshift) // 64 * 8 for _, one in kind.fields if one.bitsize >= 0}
    extra = found.fields.keys() - plain.keys()
    assert extra == ({"flags"} if bits - {at for at, _ in plain.values()} else set())
    memory = bytes(range(1, 1 + found.itemsize)) if found.itemsize < 255 else bytes(found.itemsize)
    [row] = numpy.frombuffer(memory, found)
    pointer = ffi.from_buffer(f"{ctype} *", memory)  # type: ignore[call-overload]
    for name, info in kind.fields:
        if name in plain and info.type.kind == "primitive":
            assert int(row[name]) == int(getattr(pointer, name)), name


def test_dtype_takes_a_ctype_and_names_bitfields_flags():
    """In dtype's result the 64 bits of a struct's bitfields are one field named flags."""
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    assert records.dtype(ffi.typeof("struct perf_branch_entry")).names == ("from", "to", "flags")
    attr = records.dtype("struct perf_event_attr")
    assert attr.fields["flags"][1] == 40  # type: ignore[index]
    for name, kind in (("flags", "u8"), ("clockid", "i4"), ("config", "u8"), ("sample_max_stack", "u2")):
        assert attr[name] == numpy.dtype(kind)
    assert records.dtype("struct perf_record_mmap2")["header"] == records.dtype("struct perf_event_header")
    assert records.dtype("struct perf_record_mmap2")["build_id"] == numpy.dtype(("u1", (20,)))


def test_to_numpy_shares_the_memory_of_the_samples():
    """A column reads what C wrote, a write is seen through both, and the array keeps the memory."""
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    samples = records.parse(ips(1000), PLAIN)
    array = records.to_numpy(samples)
    assert numpy.array_equal(array["ip"], numpy.arange(1000))
    assert array["offset"][-1] == 999 * 16
    samples[5].ip = 77
    assert array[5]["ip"] == 77
    assert array.ctypes.data == int(ffi.cast("uintptr_t", samples.cdata))
    del samples
    assert len(records.parse(ips(1000) * 20, PLAIN)) == 20000
    assert array["ip"].sum() == 999 * 500 - 5 + 77
    assert len(records.to_numpy(records.parse(b"", PLAIN))) == 0
    assert list(records.to_numpy(records.parse(ips(9), PLAIN)[3:6])["ip"]) == [3, 4, 5]


def test_to_numpy_takes_the_callers_array():
    """A perf_sample[] that parse_into filled is seen as it is."""
    pytest.importorskip("numpy", reason="needs NumPy")
    out = ffi.new("struct perf_sample[]", 4)
    records.parse_into(ips(3), PLAIN, out)
    array = records.to_numpy(out)
    del out
    assert array["ip"].tolist() == [0, 1, 2, 0]
    assert array["size"].tolist() == [16, 16, 16, 0]

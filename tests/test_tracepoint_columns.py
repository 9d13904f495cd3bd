"""Fields of tracepoints: what the elements of an array are, and columns of many samples."""

import struct

import pytest
from support.encode import encode_sample
from support.samples import PLAIN, ips

from perf_event_open_sys import bindings as b
from perf_event_open_sys import perf_event_attr, records
from perf_event_open_sys.events import Field
from perf_event_open_sys.events._format import parse_format

COMMON = "field:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
RAW = perf_event_attr(type=b.PERF_TYPE_TRACEPOINT, sample_type=b.PERF_SAMPLE_RAW)


def format_of(*fields, identity=314):
    """Return a format of fields, each (declaration, offset, size, signed)."""
    lines = [f"field:{name};\toffset:{at};\tsize:{size};\tsigned:{sign};\n" for name, at, size, sign in fields]
    return parse_format("".join((f"ID: {identity}\n{COMMON}", *lines)), "made", "up")


@pytest.mark.parametrize(
    ("declaration", "size", "signed", "content", "value"),
    [
        ("pid_t x[2]", 8, 1, struct.pack("=2i", -1, 2), [-1, 2]),
        ("int x[MAX]", 8, 1, struct.pack("=2i", -1, 2), [-1, 2]),
        ("u8 x[2][3]", 6, 0, b"\1\2\3\4\5\6", [1, 2, 3, 4, 5, 6]),
        ("const char x[8]", 8, 0, b"ab\0old!!", b"ab"),
        ("struct pair x[2]", 6, 0, b"\1\2\3\4\5\6", b"\1\2\3\4\5\6"),
        ("__u32 x", 4, 0, struct.pack("=I", 7), 7),
        ("__data_loc const u16[] x", 4, 0, struct.pack("=I2H", 4 << 16 | 8, 1, 2), [1, 2]),
        ("__data_loc const char[] x", 4, 0, struct.pack("=I", 4 << 16 | 8) + b"ab\0c", b"ab"),
        ("__data_loc struct pair[] x", 4, 0, struct.pack("=I2H", 4 << 16 | 8, 1, 2), struct.pack("=2H", 1, 2)),
    ],
)
def test_a_field_is_decoded_by_its_type(declaration, size, signed, content, value):
    """An element's size follows from the array's size and length, or else from its type; what is not known is bytes."""
    decoded = format_of((declaration, 4, size, signed)).decode(struct.pack("=HH", 314, 0) + content)
    assert decoded == {"common_type": 314, "x": value}


@pytest.fixture
def numpy():
    """NumPy, or a skip."""
    return pytest.importorskip("numpy", reason="needs NumPy")


def test_columns_of_many_samples_are_in_their_order(numpy):
    """Of 40,000 samples, every third of another tracepoint: more than are worked on at a time."""
    sizes = numpy.dtype("u4,u2,u2,u4,u2,u2,u4,S4").itemsize
    made = numpy.zeros(40000, "u4,u2,u2,u4,u2,u2,u4,S4")  # header, size of the raw data, common_type, two fields
    made["f0"], made["f2"], made["f3"] = b.PERF_RECORD_SAMPLE, sizes, 12
    numbers = made["f6"] = numpy.arange(40000)
    made["f4"], made["f7"] = 314 + (numbers % 3 == 0), numpy.char.mod("%d\0x", numbers % 10)
    form = format_of(("u32 n", 4, 4, 0), ("char digit[4]", 8, 4, 0))
    samples = records.parse(made.tobytes(), RAW)
    assert numpy.array_equal(form.matches(made.tobytes(), samples), numbers % 3 != 0)
    columns = form.columns(made.tobytes(), samples)
    assert columns["n"].tolist() == [n for n in range(40000) if n % 3]
    assert columns["digit"].tolist() == [b"%d" % (n % 10) for n in range(40000) if n % 3]


@pytest.mark.usefixtures("numpy")
def test_a_dynamic_field_may_end_with_the_raw_data():
    """Nothing follows its last byte, as nothing does where the data fills whole words."""
    raw = struct.pack("=HHI", 314, 0, 4 << 16 | 8) + b"abcd"
    buffer = encode_sample(RAW, {"raw": raw})
    [row] = format_of(("__data_loc char[] x", 4, 4, 0)).columns(buffer, records.parse(buffer, RAW))
    assert row["x"].tolist() == (8, 4)


@pytest.mark.usefixtures("numpy")
def test_a_sample_without_raw_data_is_of_no_tracepoint():
    """Whatever the buffer begins with: here with the record's type, which is also the tracepoint's id."""
    form = format_of(identity=b.PERF_RECORD_SAMPLE)
    assert form.matches(ips(2), records.parse(ips(2), PLAIN)).tolist() == [False, False]
    assert form.fields == (Field("common_type", "unsigned short", 0, 2, False, False, False, False),)

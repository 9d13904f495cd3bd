"""The format of tracepoints: made-up format files, raw data and samples; NumPy's columns beside what decode says."""

import struct

import hypothesis
import pytest
from hypothesis import strategies
from support.encode import encode_sample
from support.trees import tracing

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, perf_event_attr, records

RAW = {"type": b.PERF_TYPE_TRACEPOINT, "sample_type": b.PERF_SAMPLE_RAW}
COMMON = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
ID = 314


def write_format(root, lines, *, common=COMMON, identity=f"ID: {ID}\n"):
    """Make a tracefs with the tracepoint made:up; give its root."""
    path = tracing(root, made__up=f"{ID}\n")
    text = f'name: up\n{identity}format:\n{common}{lines}\nprint fmt: "%d", REC->x\n'
    (root / "events" / "made" / "up" / "format").write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def line(declaration, offset, size, signed=0):
    """A line of a format file."""
    return f"\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n"


LINES = "".join(
    (
        line("char comm[8]", 8, 8),
        line("pid_t pid", 16, 4, 1),
        line("u8 mac[6]", 20, 6),
        line("bool on", 26, 1),
        line("const char *const * argv", 32, 8),
        line("__data_loc char[] name", 40, 4),
        line("__rel_loc char[] path", 44, 4),
        line("__data_loc u64[] addresses", 48, 4),
        line("__data_loc cpumask_t mask", 52, 4),
        line("struct in6_addr address", 56, 16),
        line("s16 pair[2]", 72, 4, 1),
        line("unsigned long long rest[]", 80, 0),
    )
)
FIXED = struct.pack("=H6x8si6B?5xQ", ID, b"sh\0old!!", -7, 1, 2, 3, 4, 5, 255, True, 2**63)
RAW_DATA = (
    FIXED
    + struct.pack("=IIII", 5 << 16 | 96, 6 << 16 | (101 - 48), 16 << 16 | 80, 3 << 16 | 107)
    + bytes(range(16))
    + struct.pack("=hh4x", -1, 2)
    + struct.pack("=QQ", 1, 2**64 - 1)
    + b"eth0\0/a/b\0z\1\2\3"
    + bytes(2)
)


@pytest.fixture
def made(tmp_path):
    """A format with a field of every kind."""
    return events.tracepoint_format("made", "up", tracefs=write_format(tmp_path, LINES))


def samples_of(*raws):
    """The bytes of samples with the given raw data, and what parse makes of them."""
    attr = perf_event_attr(**RAW)
    # The kernel counts its padding to raw data.
    padded = [raw + bytes(-(len(raw) + 4) % 8) for raw in raws]
    buffer = b"".join(encode_sample(attr, {"raw": raw}) for raw in padded)
    return buffer, records.parse(buffer, attr)


def test_a_field_is_what_its_line_says(made):
    """Name, type, place and flags, of arrays, dynamic and relative fields too."""
    assert (made.system, made.name, made.id, len(made.fields)) == ("made", "up", ID, 13)
    by_name = {field.name: field for field in made.fields}
    assert by_name["comm"] == events.Field("comm", "char[8]", 8, 8, False, True, False, False)
    assert by_name["pid"] == events.Field("pid", "pid_t", 16, 4, True, False, False, False)
    assert by_name["argv"] == events.Field("argv", "const char *const *", 32, 8, False, False, False, False)
    assert by_name["name"] == events.Field("name", "char[]", 40, 4, False, True, True, False)
    assert by_name["path"] == events.Field("path", "char[]", 44, 4, False, True, False, True)
    assert by_name["mask"] == events.Field("mask", "cpumask_t", 52, 4, False, False, True, False)


def test_decode_gives_every_field(made):
    """Integers by their sign, strings up to their NUL, lists, and the bytes of what is none of these."""
    assert made.decode(RAW_DATA) == {
        "common_type": ID,
        "comm": b"sh",
        "pid": -7,
        "mac": [1, 2, 3, 4, 5, 255],
        "on": 1,
        "argv": 2**63,
        "name": b"eth0",
        "path": b"/a/b",
        "addresses": [1, 2**64 - 1],
        "mask": b"\1\2\3",
        "address": bytes(range(16)),
        "pair": [-1, 2],
        "rest": list(struct.unpack("=4Q", RAW_DATA[80:112])),
    }
    assert made.decode(memoryview(RAW_DATA)) == made.decode(bytearray(RAW_DATA))


def test_columns_are_the_fields_of_all_samples(made):
    """A row for each sample of the tracepoint, others left out; strings end at their NUL, dynamic fields say where."""
    numpy = pytest.importorskip("numpy")
    other = struct.pack("=H", ID + 1) + RAW_DATA[2:]
    buffer, samples = samples_of(RAW_DATA, other, b"", b"\1", RAW_DATA.replace(b"sh\0old!!", b"longname"))
    columns = made.columns(buffer, samples)
    assert list(made.matches(buffer, samples)) == [True, False, False, False, True]
    assert (columns["comm"].tolist(), columns["pid"].tolist()) == ([b"sh", b"longname"], [-7, -7])
    assert (columns["mac"][1].tolist(), columns["pair"].tolist()) == ([1, 2, 3, 4, 5, 255], [[-1, 2]] * 2)
    assert columns["argv"].dtype == numpy.uint64
    assert bytes(columns["address"][0]) == bytes(range(16))
    assert "rest" not in columns.dtype.names
    for name, expected in (
        ("name", b"eth0\0"),
        ("path", b"/a/b\0z"),
        ("addresses", RAW_DATA[80:96]),
        ("mask", b"\1\2\3"),
    ):
        offset, length = columns[name][0]
        assert bytes(records.raw(buffer, samples[0])[offset : offset + length]) == expected
    rows = records.to_numpy(samples)
    assert made.columns(buffer, rows[made.matches(buffer, rows)][1:])["comm"].tolist() == [b"longname"]
    assert made.columns(buffer, samples.cdata)["comm"].tolist() == [b"sh", b"longname"]
    assert (
        len(made.columns(buffer, samples[1:3]))
        == len(made.columns(b"", records.parse(b"", perf_event_attr(**RAW))))
        == 0
    )


KINDS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}


@strategies.composite
def formats(draw):
    """The lines of a format file, and raw data for it: any integers, arrays and strings, with gaps between them."""
    lines, end = "", 2
    for number in range(draw(strategies.integers(1, 8))):
        end += draw(strategies.integers(0, 7))
        size, count = draw(strategies.sampled_from((1, 2, 4, 8))), draw(strategies.integers(0, 5))
        text = draw(strategies.booleans())
        if count:
            size = 1 if text else size
            lines += line(
                f"{'char' if text else KINDS[size]} f{number}[{count}]",
                end,
                size * count,
                draw(strategies.integers(0, 1)),
            )
        else:
            lines += line(f"enum some f{number}", end, size, draw(strategies.integers(0, 1)))
        end += size * max(count, 1)
    bodies = strategies.binary(min_size=end - 2, max_size=end + 9)
    return lines, draw(strategies.lists(bodies, min_size=1, max_size=5))


@hypothesis.given(formats())
@hypothesis.settings(max_examples=200)
def test_columns_are_what_decode_says(form):
    """Of any format and any bytes, a row of the columns is what decode makes of its sample."""
    pytest.importorskip("numpy")
    from perf_event_open_sys.events._format import parse_format

    lines, bodies = form
    made = parse_format(f"ID: {ID}\nformat:\n{COMMON}{lines}", "made", "up")
    raws = [struct.pack("=H", ID) + body for body in bodies]
    buffer, samples = samples_of(*raws)
    columns = made.columns(buffer, samples)
    for index, raw in enumerate(raws):
        row = {name: columns[name][index] for name in columns.dtype.names}
        assert {name: value.tolist() for name, value in row.items()} == made.decode(raw)


@pytest.mark.parametrize("size", [0, 1, 2, 79])
def test_raw_data_that_is_too_short_is_a_value_error(made, size):
    """Fewer bytes than the fields take are refused, by decode and by columns, which names the record."""
    with pytest.raises(ValueError, match=f"^{size} bytes of raw data are too few for made:up"):
        made.decode(RAW_DATA[:size])


def test_columns_name_the_record_that_is_too_short(made):
    """The offset of the first record whose raw data is shorter than the fields."""
    pytest.importorskip("numpy")
    buffer, samples = samples_of(RAW_DATA, RAW_DATA[:60])
    whose = f"the made:up sample at offset {samples[1].offset}"
    with pytest.raises(ValueError, match=f"^{whose} has 60 bytes of raw data, and its fields take 80"):
        made.columns(buffer, samples)


@pytest.mark.parametrize("place", [40, 44, 48, 52])
def test_a_dynamic_field_beyond_the_raw_data_is_a_value_error(made, place):
    """Where the data is said to be is checked, by decode and by columns."""
    wrong = RAW_DATA[:place] + struct.pack("=HH", 0xFFFF, 0xFFFF) + RAW_DATA[place + 4 :]
    with pytest.raises(ValueError, match="of made:up is at bytes"):
        made.decode(wrong)
    pytest.importorskip("numpy")
    buffer, samples = samples_of(RAW_DATA, wrong)
    with pytest.raises(ValueError, match=f"sample at offset {samples[1].offset} has .* is said to be beyond them"):
        made.columns(buffer, samples)


def test_raw_data_of_another_tracepoint_is_a_value_error(made):
    """Samples whose raw data begins with another tracepoint's id are refused."""
    with pytest.raises(ValueError, match=f"is of tracepoint {ID + 1}, and made:up is {ID}"):
        made.decode(struct.pack("=H", ID + 1) + RAW_DATA[2:])


def test_samples_of_another_buffer_are_a_value_error(made):
    """A sample whose offsets reach beyond the given buffer is a ValueError."""
    pytest.importorskip("numpy")
    buffer, samples = samples_of(RAW_DATA)
    for other in (b"", buffer[:50]):
        with pytest.raises(ValueError, match="not of this buffer"):
            made.columns(other, samples)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("\tfield:int x;\n", "line 5: a field has an offset and a size"),
        (line("int x", 8, 4) + line("int y", -1, 4), "line 6: a field has an offset and a size"),
        (line("int x", "9" * 5000, 4), "line 5: a field has an offset and a size"),
        (line("int x", 65536, 4), "line 5: a field has an offset and a size"),
        (line("int", 8, 4), "line 5: a field has a type and a name"),
        (line("", 8, 4), "line 5: a field has a type and a name"),
        (line("int [4]", 8, 16), "line 5: a field has a type and a name"),
        (line("x[4]", 8, 16), "line 5: a field has a type and a name"),
        (
            line("__data_loc char[] x", 8, 8),
            "line 5: a field that is __data_loc has 4 bytes",
        ),
        (line("__far_loc char[] x", 8, 4), "line 5: a field's data may be at __data_loc or __rel_loc, not __far_loc"),
        (line("int x", 8, 4) * 2, "line 6: a field of this name is there already"),
    ],
)
def test_a_field_of_nonsense_is_a_value_error_with_its_line(tmp_path, lines, message):
    """The message has the line of the format file and the part that is missing in it."""
    with pytest.raises(ValueError, match=f"^the format of made:up, {message}: "):
        events.tracepoint_format("made", "up", tracefs=write_format(tmp_path, lines))


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        *((text, "ID") for text in (b"", b"\0\xff\x80" * 1000, b"name: up\n", COMMON.encode())),
        (b"ID: x\n" + COMMON.encode(), "ID"),
        *((b"ID: 3\n" + line, "field common_type") for line in (b"", COMMON.replace("offset:0", "offset:2").encode())),
    ],
)
def test_a_file_that_is_no_format_is_a_value_error(tmp_path, content, missing):
    """A format file that is empty, binary, or without an id or the field that tells it is a ValueError: what is missing."""
    root = write_format(tmp_path, "")
    (tmp_path / "events" / "made" / "up" / "format").write_bytes(content)
    with pytest.raises(ValueError, match=f"^the format of made:up has no {missing}"):
        events.tracepoint_format("made", "up", tracefs=root)


def test_a_later_kernels_format_is_read(tmp_path):
    """Lines, and properties of fields, that are not known are passed over; a sign that is not said is none."""
    lines = "\tflavour: sweet\n\tfield:int x;\tsize:4;\tlen:3;\toffset:8;\n\n\tother:int y;\n"
    form = events.tracepoint_format("made", "up", tracefs=write_format(tmp_path, lines))
    assert form.fields[1:] == (events.Field("x", "int", 8, 4, False, False, False, False),)


def test_a_tracepoint_that_is_not_there_has_no_format(tmp_path):
    """The nearest names are given, as by tracepoint_id."""
    root = write_format(tmp_path, LINES)
    with pytest.raises(ValueError, match="no tracepoint made:upp; did you mean up"):
        events.tracepoint_format("made", "upp", tracefs=root)


@pytest.mark.parametrize(
    ("filter_text", "message"),
    [
        ("pidd == 1", "made:up has no field 'pidd'; did you mean pid"),
        ('pid == 1 && (comm == "x" || !macc & 1)', "made:up has no field 'macc'; did you mean mac"),
        (b"pid == 1 &&nope.ustring ~ 'a b'", "made:up has no field 'nope'"),
        ("pid = 1", "no operator '=' behind pid: they are == != < <= > >= ~ &"),
        ("comm == Xorg", 'comm is text: write comm == "Xorg"'),
        ("name ~ sh*", 'name is text: write name ~ "sh"'),
        *((text, "") for text in ("pid == 1", "COMM ~ 'a' || CPU & CPUS{0-3}", "", "(", "pid", "comm ==", "\0")),
        *((text, "") for text in ("pid == 1 and x == 2", "é", "pid == -1")),
    ],
)
def test_a_filter_is_explained_by_the_tracepoints_fields(tmp_path, filter_text, message):
    """The unknown field with the nearest ones, a wrong operator, a string without its quotes; nothing where all is known."""
    said = events.explain_filter("made", "up", filter_text, tracefs=write_format(tmp_path, LINES))
    assert said.startswith(message) if message else said == ""

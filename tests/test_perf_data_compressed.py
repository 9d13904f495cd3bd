"""Records in PERF_RECORD_COMPRESSED and COMPRESSED2: one zstd stream, in which they begin and end anywhere."""

import importlib
import io
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.encode import padded, record, u64
from support.perf_bytes import Pipe, everything, header_attr, perf_file, read, samples, stream

from perf_event_open_sys import perf_data, records

ROUND = record(perf_data.PERF_RECORD_FINISHED_ROUND)
LARGEST = 65519  # bytes of data in the largest COMPRESSED2 that perf writes

try:
    zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
except ImportError:
    zstd = None
needs_zstd = pytest.mark.skipif(zstd is None, reason="needs backports.zstd")


def compressor():
    """Return a function that adds bytes to one zstd stream, and returns what is new in it."""
    state = zstd.ZstdCompressor()
    return lambda data: state.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK)


def compressed(data):
    """Return a COMPRESSED record, whose size need be no multiple of 8."""
    return record(perf_data.PERF_RECORD_COMPRESSED, data)


def compressed2(data, size=None, data_size=None):
    """Return a COMPRESSED2 record, which is padded."""
    body = u64(len(data) if data_size is None else data_size) + data
    return record(perf_data.PERF_RECORD_COMPRESSED2, padded(body), size=size)


def bodies(parts, wrap):
    """Return the records that compress *parts*, each as one part of the same stream."""
    add = compressor()
    return [wrap(add(part)) for part in parts]


@needs_zstd
@pytest.mark.parametrize("wrap", [compressed, compressed2])
@pytest.mark.parametrize("step", [1, 13, 100])
def test_records_that_span_compressed_ones_are_joined(wrap, step):
    """In files and in pipes, with perf's uncompressed records in between; those come where they are in the file."""
    data = samples(9)
    parts = [data[at : at + step * 3] for at in range(0, len(data), step * 3)]
    body = bodies(parts, wrap)
    for whole, kept in ((perf_file(b"".join(body)), b""), (stream(header_attr(), *body), header_attr())):
        for file in (io.BytesIO, Pipe):
            with perf_data.open(file(whole)) as reader:
                assert everything(reader) == (kept + data, "")


@needs_zstd
def test_order_of_compressed_and_other_records():
    """A record that ends in a later COMPRESSED comes when it is whole: behind what stands between its parts."""
    data = samples(4)
    first, second = bodies([data[:100], data[100:]], compressed)
    with read(perf_file(samples(1, 9) + first + ROUND + second + ROUND)) as reader:
        found, error = everything(reader)
    assert (found, error) == (samples(1, 9) + samples(2) + ROUND + samples(2, 2) + ROUND, "")


@needs_zstd
def test_small_pieces_are_joined_to_fewer_chunks():
    """What is a copy anyway comes in buffers of a megabyte or so, and large views between are not copied."""
    parts = [samples(100)] * 400
    body = b"".join(one + ROUND for one in bodies(parts, compressed))
    with read(perf_file(body + samples(3000))) as reader:
        chunks = list(reader.chunks())
        assert b"".join(chunks) == (samples(100) + ROUND) * 400 + samples(3000)
        assert [len(chunk) > 1 << 20 for chunk in chunks] == [True, False, False]
        assert len(records.parse(chunks[0], reader.attr)) > 20_000


@needs_zstd
def test_frame_that_ends_is_followed_by_another():
    """Another writer than perf may end a frame in each record, or two of them in one."""
    one, two, three = (bodies([samples(2, n)], bytes)[0] + b"\1\0\0" for n in (0, 2, 4))  # an empty last block
    with read(perf_file(compressed(one + two) + compressed(three))) as reader:
        assert everything(reader) == (samples(6), "")


@needs_zstd
@pytest.mark.parametrize("wrap", [compressed, compressed2])
def test_large_records_come_in_parts(wrap):
    """Random bytes do not become smaller: 2 MiB of them are 40 records of 64 KiB."""
    noise = random.Random(5).randbytes(1 << 21)
    body = b"".join(record(9, noise[at : at + 32768]) for at in range(0, 1 << 21, 32768))
    parts = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
    with perf_data.open(Pipe(stream(*bodies(parts, wrap)))) as reader:
        assert everything(reader) == (body, "")


def stored(data, size):
    """Return a zstd stream of *size* bytes for *data*: blocks that are not compressed, and empty ones as filling."""
    blocks = b"".join(block(data[at : at + 100_000]) for at in range(0, len(data), 100_000))
    filling = size - len(FRAME) - len(blocks)
    repeated = b"\2\0\0x" * (filling % 3)  # a block of four bytes: "x", zero times
    return FRAME + blocks + repeated + block(b"") * ((filling - len(repeated)) // 3)


def block(data):
    """Return a block of a zstd frame that is not compressed, and not the last."""
    return (len(data) << 3).to_bytes(3, "little") + data


FRAME = b"\x28\xb5\x2f\xfd\x00\x58"  # the header of a zstd frame with a window of 2 MiB


def written_wrongly(data):
    """Return what perf from 6.16 on writes when zstd has given *data* for one ring.

    The records, each as large as can be but the last, are written together. Then the first one's sizes are set to the
    sum of all: header.size has room for 16 bits of it only. What would be padding is not written.
    """
    parts = [data[at : at + LARGEST] for at in range(0, len(data), LARGEST)]
    total = sum(16 + len(part) for part in parts)
    aligned = (total + 7) // 8 * 8
    assert aligned > 0xFFFF
    first, *others = parts
    written = record(83, u64(total - 16) + first, size=aligned & 0xFFFF)
    return written + b"".join(record(83, u64(0xDEAD) + part) for part in others)


@needs_zstd
@pytest.mark.parametrize(
    "size", [65_514, 65_517, LARGEST + 1, LARGEST + 100, LARGEST + 7000, 2 * LARGEST, 4 * LARGEST - 1]
)
def test_sizes_that_perf_writes_wrongly(size):
    """A COMPRESSED2 of 65,529 bytes or more, and several together."""
    body = record(9, random.Random(7).randbytes(29_992)) * ((size - 1000) // 30_000)
    data = stored(body, size)
    assert len(data) == size
    whole = written_wrongly(data) + compressed2(block(samples(2))) + ROUND + samples(1)
    cut = len(stream()) + 10  # the first of a pipe's blocks ends in the middle of the two sizes
    for file in (io.BytesIO(perf_file(whole)), Pipe(stream(whole), 1000), Pipe(stream(whole), cut)):
        with perf_data.open(file) as reader:
            assert everything(reader) == (body + samples(2) + ROUND + samples(1), "")


@needs_zstd
def test_sizes_that_perf_would_not_write():
    """The sizes in the first COMPRESSED2 do not fit together, or no other one follows where it should."""
    data = stored(record(9, bytes(29_992)) * 4, LARGEST * 2)
    wrong = written_wrongly(data)
    short = written_wrongly(stored(record(9, bytes(29_992)) * 2, LARGEST + 100))  # the second has 116 bytes
    for bad, why in (
        (compressed2(b"x" * 16, data_size=100), "COMPRESSED2 of 32 bytes, which should have 100"),
        (compressed2(b"", data_size=2**64 - 1), "the file ends in the middle of the record"),
        (record(83, b"1234567"), "COMPRESSED2 of 15 bytes"),
        (wrong[:65535] + record(83, b"1234567"), "COMPRESSED2 of 15 bytes"),
        (short[:65535] + record(83, bytes(200)), "COMPRESSED2 of 208 bytes"),
        (wrong[:65535] + compressed(b"x"), "a COMPRESSED2 must be here"),
        (wrong[:65000], "the file ends in the middle of the record"),
    ):
        for file in (io.BytesIO(perf_file(samples(1) + bad)), Pipe(stream(samples(1) + bad), 1000)):
            with perf_data.open(file) as reader:
                found, error = everything(reader)
            assert found.startswith(samples(1))
            assert why in error


@needs_zstd
@pytest.mark.parametrize("wrap", [compressed, compressed2])
def test_data_that_zstd_refuses(wrap):
    """What came before it is delivered, and the error names the record's place."""
    good, bad = bodies([samples(3)], wrap)[0], wrap(b"this is not zstd")
    whole = perf_file(good + bad + good)
    with read(whole) as reader:
        found, error = everything(reader)
    assert found == samples(3)
    assert f"at byte {whole.index(bad)}: compressed data that zstd refuses" in error


@needs_zstd
def test_compressed_records_that_end_too_early():
    """The file ends in the middle of a record that is compressed; so does one that was not closed, without an error."""
    body = b"".join(bodies([samples(2), samples(2)[:50]], compressed))
    for data, expected in ((perf_file(body), "a record that is compressed"), (perf_file(body, closed=False), "")):
        with read(data) as reader:
            found, error = everything(reader)
        assert found == samples(2) + samples(1)
        assert expected in error
        assert bool(error) == bool(expected)


@needs_zstd
def test_compressed_bytes_that_are_no_records():
    """Those before them are delivered."""
    [body] = bodies([samples(2) + record(9, bytes(8), size=7) + samples(2)], compressed)
    with read(perf_file(body)) as reader:
        found, error = everything(reader)
    assert found == samples(2)
    assert "no record can be where one should begin" in error


@needs_zstd
def test_decompression_bomb_is_bounded_in_each_chunk():
    """Some KiB become 256 MiB: in chunks of a megabyte or so, of which the caller may take as many as he likes."""
    add = compressor()
    body = b"".join(compressed(add(record(9, bytes(32760)) * 4096)) for _ in range(2))
    with read(perf_file(body)) as reader:
        sizes = [len(chunk) for chunk in reader.chunks()]
    assert sum(sizes) == 2 * 4096 * 32768
    assert max(sizes) < 3 << 20
    assert len(body) < 1 << 17


def test_without_zstd_the_error_says_what_to_install():
    """Events, features and AUX data can be read all the same; records are not."""
    script = """
import io, sys
sys.modules["backports"] = sys.modules["compression"] = sys.modules["backports.zstd"] = None
from perf_event_open_sys import perf_data
with perf_data.open(io.BytesIO(sys.stdin.buffer.read())) as reader:
    print(len(reader.events), len(list(reader.auxtrace())))
    try:
        list(reader.chunks())
    except ImportError as error:
        print(error.name, error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], input=perf_file(compressed(b"x")), capture_output=True, check=True
    )
    assert ran.stdout.startswith(b"1 0\nbackports.zstd the records of this file are compressed with zstd")
    assert b"pip install 'perf-event-open-sys[zstd]'" in ran.stdout


@needs_zstd
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=4), st.sampled_from([compressed, compressed2]))
def test_changed_bytes_are_a_value_error_or_nothing(at, new, wrap):
    """Wherever they are in the compressed records; the records that come are whole."""
    data = bytearray(b"".join(bodies([samples(9)[:200], samples(9)[200:]], wrap)))
    data[at % len(data) : at % len(data) + len(new)] = new
    with read(perf_file(data)) as reader:
        found, _ = everything(reader)
        assert sum(one.header.size for one in records.iterate(found)) == len(found)

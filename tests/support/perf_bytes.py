"""An independent encoder of perf.data files, and of what perf writes to a pipe."""

import io
import re
import struct

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_data, perf_event_attr

from .encode import encode_sample, record, u64

MAGIC = struct.pack("=Q", 0x32454C4946524550)
SAMPLE_TYPE = b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME
HEADER_SIZE = 104


def attr(**fields):
    """Return an attr as perf would write it, of 128 bytes unless another size is given."""
    return perf_event_attr(**{"size": 128, "sample_type": SAMPLE_TYPE, "sample_id_all": 1} | fields)


ATTR = attr()


def sample(n, *, identity=1, of=ATTR):
    """Return a sample whose values follow from its number."""
    return encode_sample(of, {"id": identity, "ip": 0x1000 + n, "pid": 10, "tid": n, "time": 100 * n})


def samples(count, first=0, **others):
    """Return as many samples, one after the other."""
    return b"".join(sample(n, **others) for n in range(first, first + count))


def attr_bytes(one):
    """Return an attr's bytes, as many as it says that it has."""
    return bytes(ffi.buffer(one))[: one.size].ljust(one.size, b"\0")


def string(text):
    """Return a string as features have it: its length, itself, and zeros up to a multiple of 64."""
    data = text.encode() if isinstance(text, str) else text
    padded = data + bytes(64 - len(data) % 64)
    return struct.pack("=I", len(padded)) + padded


def strings(*texts):
    """Return a list of strings as features have it."""
    return struct.pack("=I", len(texts)) + b"".join(map(string, texts))


def event_desc(*events):
    """Return the feature event_desc for events, each (attr, ids, name)."""
    out = [struct.pack("=II", len(events), events[0][0].size)]
    for one, ids, name in events:
        out += [attr_bytes(one), struct.pack("=I", len(ids)), string(name), u64(*ids)]
    return b"".join(out)


def perf_file(records=b"", events=((ATTR, (1,)),), features=(), *, data_size=None, closed=True):
    """Return the bytes of a file: header, ids, attrs, records, the table of features, and these.

    A file that is not closed has the size 0, the bits of its features, and neither their table nor them.
    """
    ids = [u64(*one) for _, one in events]
    table, at = b"", HEADER_SIZE
    for (one, _), own in zip(events, ids, strict=True):
        table += attr_bytes(one) + u64(at, len(own))
        at += len(own)
    stride = events[0][0].size + 16 if events else 144
    data = at + len(table)
    size = (len(records) if closed else 0) if data_size is None else data_size
    bits = sum(1 << number for number in dict(features))
    header = MAGIC + u64(HEADER_SIZE, stride, at, len(table), data, size, 0, 0)
    header += u64(*(bits >> shift & 0xFFFF_FFFF_FFFF_FFFF for shift in (0, 64, 128, 192)))
    out = header + b"".join(ids) + table + records
    if closed:
        behind = len(out) + 16 * len(dict(features))
        sections = b""
        for _, feature in sorted(dict(features).items()):
            sections += u64(behind, len(feature))
            behind += len(feature)
        out += sections + b"".join(feature for _, feature in sorted(dict(features).items()))
    return out


def header_attr(one=ATTR, ids=(1,)):
    """Return the record that tells a stream's reader of an event."""
    return record(perf_data.PERF_RECORD_HEADER_ATTR, attr_bytes(one) + u64(*ids))


def header_feature(number, data):
    """Return the record of a feature in a stream. Its size need be no multiple of 8."""
    return record(perf_data.PERF_RECORD_HEADER_FEATURE, u64(number) + data)


def stream(*records):
    """Return the bytes of a stream."""
    return MAGIC + u64(16) + b"".join(records)


# The records at the beginning of a stream: an event, a feature, and the end of the features.
STREAM = [header_attr(), header_feature(3, string("here")), header_feature(32, b"")]


def auxtrace(data, *, size=None, offset=7):
    """Return an AUXTRACE record with the data that follows it."""
    body = u64(len(data) if size is None else size, offset, 0x99) + struct.pack("=4I", 3, 44, 1, 0)
    return record(perf_data.PERF_RECORD_AUXTRACE, body) + data


class Pipe(io.RawIOBase):
    """A file object that cannot seek, and gives at most *step* bytes at a time."""

    def __init__(self, data, step=1 << 16):
        self._data, self._step = io.BytesIO(data), step

    def readable(self):
        """Say that it can be read."""
        return True

    def readinto(self, buffer):
        """Read some bytes."""
        data = self._data.read(min(len(buffer), self._step))
        buffer[: len(data)] = data
        return len(data)


def read(data):
    """Open bytes as a file in memory."""
    return perf_data.open(io.BytesIO(data))


def everything(reader):
    """Return all bytes that chunks() yields, and the message of the error that ended it, "" if there was none."""
    out = []
    try:
        for chunk in reader.chunks():
            out.append(bytes(chunk))
    except ValueError as error:
        assert re.match(r"perf\.data, at byte \d+: ", str(error))  # noqa: PT017 - that there is none is fine
        return b"".join(out), str(error)
    return b"".join(out), ""

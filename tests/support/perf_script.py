"""What `perf script -D` prints of a perf.data file, compared with what our decoder says of the same bytes."""

import re

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, records

from .perf import perf
from .perf_files import read_file

RAW = re.compile(r"(?:0x)?([0-9a-f]+)@\S+ \[0x([0-9a-f]+)\]: event: (\d+)$")
BYTES = re.compile(r"\.  [0-9a-f]{4}:  ((?:[0-9a-f]{2} )+)")
RECORD = re.compile(r"(?:-?\d+ )?(\d+) 0x([0-9a-f]+) \[0x([0-9a-f]+)\]: PERF_RECORD_(\w+)(.*)$")
SAMPLED = re.compile(
    r"\(IP, 0x([0-9a-f]+)\): (-?\d+)/(-?\d+): (?:0x)?([0-9a-f]+) period: (\d+) addr: (?:0x)?([0-9a-f]+)"
)
MAPPED = re.compile(r" (-?\d+)/(-?\d+): \[0x([0-9a-f]+)\(0x([0-9a-f]+)\) @ (\S+) .*\]: \S+ (.*)$")
FRAME = re.compile(r"\.\.\.\.\.\s+\d+: ([0-9a-f]{16})$")


def printed(text):
    """Return what `perf script -D` printed, by the records' offsets in the file."""
    found = {}
    raw = line_of = None
    for line in text.splitlines():
        if match := RAW.match(line):
            raw = found.setdefault(int(match[1], 16), {"bytes": b"", "frames": []})
            raw |= {"size": int(match[2], 16), "type": int(match[3])}
        elif (match := BYTES.match(line)) and raw:
            raw["bytes"] += bytes.fromhex(match[1])
        elif match := RECORD.match(line):
            line_of = found.setdefault(int(match[2], 16), {"bytes": b"", "frames": []})
            line_of |= {"time": int(match[1]), "name": match[4], "rest": match[5]}
        elif (match := FRAME.match(line)) and line_of:
            line_of["frames"].append(int(match[1], 16))
    return found


def compare(path, cwd):
    """Compare each record of the file; return how many of which type there were."""
    file = read_file(path)
    begin, data, by_id = file.begin, file.data, file.by_id
    attrs = [ffi.cast("uintptr_t", one) for one in by_id.values()]
    first = next(iter(by_id.values()))
    # A file of one event need not have ids in its records; those that perf makes itself have the id 0.
    attr = by_id | {0: first} if len(set(map(int, attrs))) > 1 else first
    expected = printed(perf("script", "-D", "-i", path.name, cwd=cwd))
    seen = {}
    offset = 0
    samples = {sample.offset: sample for sample in records.parse(data, attr)}
    for one in records.iterate(data):
        header = ffi.cast("struct perf_event_header *", one)
        line = expected.pop(begin + offset)
        assert (header.type, header.size) == (line["type"], line["size"])
        assert bytes(ffi.buffer(header, header.size)) == line["bytes"]
        kind = line.get("name", "")
        seen[kind] = seen.get(kind, 0) + 1
        if header.type >= 64:
            assert ffi.typeof(one) is ffi.typeof("struct perf_record_unknown *")
        elif header.type == b.PERF_RECORD_SAMPLE:
            sample = samples.pop(offset)
            check_sample(data, sample, attr if attr is first else attr[sample.id], line)
        else:
            assert kind == b.name_of("perf_event_type", header.type).removeprefix("PERF_RECORD_")
            check_other(one, attr, line)
        offset += header.size
    assert not samples
    assert not expected
    return seen


def check_sample(data, sample, attr, line):
    """Compare the fields that perf prints of a sample."""
    misc, pid, tid, ip, period, addr = SAMPLED.match(line["rest"]).groups()
    assert (sample.misc, sample.ip) == (int(misc, 16), int(ip, 16))
    assert (ffi.cast("int", sample.pid), ffi.cast("int", sample.tid)) == (int(pid), int(tid))  # type: ignore[comparison-overlap]
    assert (sample.time, sample.addr) == (line["time"], int(addr, 16))
    # Where a sample has no period, perf prints the event's.
    assert (sample.period if attr.sample_type & b.PERF_SAMPLE_PERIOD else attr.sample_period) == int(period)
    assert list(records.callchain(data, sample)) == line["frames"]


def check_other(one, attr, line):
    """Compare the trailer's time and the body's fields, for the types of records of which perf prints all fields."""
    assert records.sample_id(one, attr).time == line["time"]
    if line["name"] == "MMAP2":
        pid, tid, addr, size, pgoff, name = MAPPED.match(line["rest"]).groups()
        assert (one.pid, one.tid, records.name(one).decode()) == (int(pid), int(tid), name)
        assert (one.addr, one.len, one.pgoff) == (int(addr, 16), int(size, 16), int(pgoff, 0))
    elif line["name"] == "COMM":
        assert line["rest"].endswith(f": {records.name(one).decode()}:{one.pid}/{one.tid}")
        assert bool(one.header.misc & b.PERF_RECORD_MISC_COMM_EXEC) == line["rest"].startswith(" exec")
    elif line["name"] in ("FORK", "EXIT"):
        assert line["rest"] == f"({one.pid}:{one.tid}):({one.ppid}:{one.ptid})"

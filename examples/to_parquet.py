"""Turn samples into Parquet files, one table for all machines: ``to_parquet.py DIRECTORY (FILE… | --live SECONDS)``.

FILE is a perf.data file; --live samples all CPUs of this machine, which needs root, CAP_PERFMON or
kernel.perf_event_paranoid at 0. A row is a sample; the files are DIRECTORY/host=HOST/date=DATE/*.parquet. Needs
pyarrow and NumPy.
"""

import argparse
import contextlib
import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ffi, perf_data, perf_event_open, records, ring, targets

ROWS = 1 << 17  # rows that are decoded at once; no more are in memory, however long the recording
# The columns, and what of attr.sample_type a sample must have for them. Their types are those of struct perf_sample.
COLUMNS = {
    "time": b.PERF_SAMPLE_TIME,
    "pid": b.PERF_SAMPLE_TID,
    "tid": b.PERF_SAMPLE_TID,
    "cpu": b.PERF_SAMPLE_CPU,
    "period": b.PERF_SAMPLE_PERIOD,
    "ip": b.PERF_SAMPLE_IP,
    "addr": b.PERF_SAMPLE_ADDR,
    "weight": b.PERF_SAMPLE_WEIGHT | b.PERF_SAMPLE_WEIGHT_STRUCT,
    "data_src": b.PERF_SAMPLE_DATA_SRC,
    "transaction": b.PERF_SAMPLE_TRANSACTION,
    "phys_addr": b.PERF_SAMPLE_PHYS_ADDR,
    "cgroup": b.PERF_SAMPLE_CGROUP,
    "data_page_size": b.PERF_SAMPLE_DATA_PAGE_SIZE,
    "code_page_size": b.PERF_SAMPLE_CODE_PAGE_SIZE,
}


class Source(NamedTuple):
    """A recording: where and when it was made, its events, and how its clock is to be read."""

    host: str
    when: float  # seconds since 1970
    name: str  # of the Parquet file
    events: list  # perf_data.Event
    attr: object  # what records.parse takes
    wall_ns: int | None  # what to add to a sample's time for the time of the day; None if it is not known


def callchains(data, offsets, counts):
    """Gather the callchains of all samples of a buffer into one list column."""
    ends = np.cumsum(counts, dtype="i8")
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)  # place in its own callchain
    places = np.repeat(offsets.astype("i8"), counts) + 8 * within
    words = np.ndarray(max(0, len(data) - 7), "u8", data, strides=(1,))  # at every byte of the buffer, the word there
    starts = np.concatenate(([0], ends)).astype("i4")
    return pa.ListArray.from_arrays(pa.array(starts), pa.array(words[places]))


def table(data, source):
    """Decode the samples of a buffer. Arrow takes the memory of the columns as it is, without a copy."""
    sample_type = 0
    for event in source.events:
        sample_type |= event.attr.sample_type
    fields = [name for name, bits in COLUMNS.items() if sample_type & bits]
    hidden = ["id", "callchain_offset", "callchain_count"]  # what other columns are made of
    found = records.columns(data, source.attr, fields + hidden)
    columns = {name: pa.array(found[name]) for name in fields}
    if source.wall_ns is not None:
        wall = (found["time"].view("i8") + source.wall_ns).view("M8[ns]")
        columns["wall_time"] = pa.array(wall).cast(pa.timestamp("ns", "UTC"))
    pairs = sorted((identity, index) for index, event in enumerate(source.events) for identity in event.ids or (0,))
    identities, indices = (
        np.array(one, dtype) for one, dtype in zip(zip(*pairs, strict=True), ("u8", "i4"), strict=True)
    )
    which = (
        indices[np.searchsorted(identities, found["id"])]
        if len(source.events) > 1
        else np.zeros(len(found["id"]), "i4")
    )
    columns["event"] = pa.DictionaryArray.from_arrays(which, [event.name for event in source.events])
    if sample_type & b.PERF_SAMPLE_CALLCHAIN:
        columns["callchain"] = callchains(data, found["callchain_offset"], found["callchain_count"])
    return pa.table(columns)


def tables(chunks, source):
    """Yield a table for each ROWS samples. A chunk of a file may have many more: parse_into finds where to cut it."""
    rows = ffi.new("struct perf_sample[]", ROWS)
    for chunk in chunks:
        rest = memoryview(chunk)
        while len(rest):
            n, size = records.parse_into(rest, source.attr, rows)
            if n:
                yield table(rest[:size], source)
            rest = rest[size:]


def write(directory, source, chunks):
    """Write the samples into one file, which gets its name when it is whole; return how many they were."""
    date = datetime.fromtimestamp(source.when, timezone.utc).date()
    folder = Path(directory, f"host={quote(source.host, safe='')}", f"date={date}")
    folder.mkdir(parents=True, exist_ok=True)
    unfinished, n, writer = folder / f".{source.name}", 0, None  # engines pass over names that begin with a dot
    try:
        for one in tables(chunks, source):
            writer = writer or pq.ParquetWriter(unfinished, one.schema, compression="zstd")
            writer.write_table(one)
            n += len(one)
    finally:
        if writer:
            writer.close()
            unfinished.rename(folder / f"{source.name}.parquet")
    return n


def convert(directory, path):
    """Write the samples of a perf.data file; return how many they were."""
    status = os.stat(path)
    with perf_data.open(path) as reader:
        features = {}
        with contextlib.suppress(ValueError):  # they come last in a file, and are lost if it was cut short
            features = reader.features
        clock = features.get("clock_data")  # perf record -k mono
        host, wall_ns = features.get("hostname", "unknown"), clock and clock.wall_clock_ns - clock.clockid_ns
        name = f"{Path(path).stem}-{status.st_mtime_ns:x}"  # the same file again replaces what it gave before
        return write(
            directory, Source(host, status.st_mtime, name, reader.events, reader.attr, wall_ns), reader.chunks()
        )


def live(directory, seconds, event, frequency):
    """Sample all CPUs for some seconds; write the samples, and return how many they were."""
    sample_type = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CPU | b.PERF_SAMPLE_PERIOD
    clock = {"use_clockid": 1, "clockid": time.CLOCK_MONOTONIC}
    attr = events.attr(event, sample_freq=frequency, sample_type=sample_type | b.PERF_SAMPLE_CALLCHAIN, **clock)
    fds = [perf_event_open(attr, -1, cpu) for cpu in targets.online_cpus()]
    pages = [ring.map(fd, 64) for fd in fds]
    buffer, end = bytearray(sum(page.data_size for page in pages)), time.monotonic() + seconds

    def chunks():
        while time.monotonic() < end:
            time.sleep(min(0.1, max(0, end - time.monotonic())))
            yield memoryview(buffer)[: ring.drain_into(pages, buffer)]

    now, wall_ns = time.time(), time.time_ns() - time.monotonic_ns()
    name, opened = f"live-{time.time_ns():x}", [perf_data.Event(attr, (), event)]
    n = write(directory, Source(os.uname().nodename, now, name, opened, attr, wall_ns), chunks())
    for fd in fds:
        os.close(fd)
    return n


def main():
    """Convert what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("file", nargs="*")
    parser.add_argument("--live", type=float, metavar="SECONDS")
    parser.add_argument("-e", "--event", default="cpu-clock", help="what --live samples (default: %(default)s)")
    parser.add_argument(
        "-F", "--frequency", type=int, default=99, help="samples per second and CPU (default: %(default)s)"
    )
    args = parser.parse_args()
    if bool(args.file) == (args.live is not None):
        parser.error("give either files or --live SECONDS")
    todo = {path: lambda path=path: convert(args.directory, path) for path in args.file}
    if args.live is not None:
        todo["this machine"] = lambda: live(args.directory, args.live, args.event, args.frequency)
    failed = False
    for what, work in todo.items():
        try:
            print(f"{what}: {work()} samples", flush=True)
        except (
            OSError,
            ValueError,
        ) as error:  # what came before it is in the table; the other files are read all the same
            print(f"to_parquet.py: {what}: {error}", file=sys.stderr)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()

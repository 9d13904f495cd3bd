"""Records: walking them, decoding samples into rows and columns, sorting rows."""

from __future__ import annotations

import ctypes
import os
import statistics
import struct
import sys
from collections.abc import Iterator
from time import perf_counter_ns
from typing import Any

from measure import Row, fault, paired, software_attr, timed

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ffi, lib, perf_event_attr, records

RING_PAGES = 2048
CHAIN_TYPE = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CALLCHAIN
CHAIN_RECORD = struct.Struct("=IHHQIIQQ8Q")


def chains(size: int) -> bytes:
    """Return at most *size* bytes of samples, each with a callchain of 8 addresses."""
    n = size // CHAIN_RECORD.size
    one = (b.PERF_RECORD_SAMPLE, b.PERF_RECORD_MISC_USER, CHAIN_RECORD.size)
    return b"".join(CHAIN_RECORD.pack(*one, 0x400000 + i, 1, 2, i, 8, *range(i, i + 8)) for i in range(n))


def struct_loop(buffer: bytes) -> int:
    """Decode with ``struct.unpack_from``."""
    offset, found = 0, 0
    while offset < len(buffer):
        kind, _, size = struct.unpack_from("=IHH", buffer, offset)
        if kind == b.PERF_RECORD_SAMPLE:
            *_, nr = struct.unpack_from("=QIIQQ", buffer, offset + 8)
            struct.unpack_from(f"={nr}Q", buffer, offset + 40)
            found += 1
        offset += size
    return found


class Header(ctypes.Structure):
    """``struct perf_event_header`` for ctypes."""

    _fields_ = (("type", ctypes.c_uint32), ("misc", ctypes.c_uint16), ("size", ctypes.c_uint16))


class Fixed(ctypes.Structure):
    """The fields before the callchain for ctypes."""

    _fields_ = (
        ("ip", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("tid", ctypes.c_uint32),
        ("time", ctypes.c_uint64),
        ("nr", ctypes.c_uint64),
    )


def ctypes_loop(buffer: bytes) -> int:
    """Decode with ctypes."""
    data, offset, found = bytearray(buffer), 0, 0
    while offset < len(data):
        header = Header.from_buffer(data, offset)
        if header.type == b.PERF_RECORD_SAMPLE:
            fixed = Fixed.from_buffer(data, offset + 8)
            (ctypes.c_uint64 * fixed.nr).from_buffer(data, offset + 8 + ctypes.sizeof(Fixed))
            found += 1
        offset += header.size
    return found


def kernels_module_ns() -> float | None:
    """Return the nanoseconds in which the kernel's own Python module ``perf`` reads a sample; None if it is not there."""
    sys.path.append("/usr/lib/python3/dist-packages")  # where Debian's linux-perf has it, for Debian's Python version
    try:
        import perf  # type: ignore[import-not-found]
    except ImportError:
        return None
    finally:
        sys.path.pop()
    cpus, threads = perf.cpu_map(), perf.thread_map(os.getpid())
    sample_type = perf.SAMPLE_IP | perf.SAMPLE_TID | perf.SAMPLE_TIME | perf.SAMPLE_CALLCHAIN
    fields = {"task": 0, "comm": 0, "mmap": 0, "freq": 0, "sample_period": 1, "sample_type": sample_type}
    faults = perf.evsel(type=perf.TYPE_SOFTWARE, config=perf.COUNT_SW_PAGE_FAULTS, **fields)
    events = perf.evlist(cpus, threads)
    events.add(faults)
    events.open()
    events.mmap(pages=256)
    fault(5000)
    best = []
    for _ in range(7):
        found, start = 0, perf_counter_ns()
        for cpu in cpus:
            while event := events.read_on_cpu(cpu):  # the fields that the other loops decode; it has no callchain
                _ = event.sample_ip, event.sample_pid, event.sample_tid, event.sample_time
                found += 1
        best.append((perf_counter_ns() - start) / max(found, 1))
        fault(5000)
    return statistics.median(best[1:])


def decoding(c: Any, c_ffi: Any, rounds: int) -> Iterator[Row]:
    """Compare decoding with memcpy of the same bytes, and with other ways from Python."""
    buffer = chains(RING_PAGES * 4096)
    attr = software_attr(sample_type=CHAIN_TYPE)
    size, n = len(buffer), len(buffer) // CHAIN_RECORD.size
    target, source = c_ffi.from_buffer(bytearray(size)), c_ffi.from_buffer(buffer)
    out = ffi.new("struct perf_sample[]", n)
    parse = timed(lambda: records.parse(buffer, attr), n)

    def copy() -> float:
        return c.copy(target, source, size) / n

    yield Row("records.parse, callchain of 8, each", "memcpy", *paired(copy, parse, rounds), 3.0)
    parse_into = timed(lambda: records.parse_into(buffer, attr, out), n)
    yield Row("records.parse_into, callchain of 8, each", "memcpy", *paired(copy, parse_into, rounds))
    part = buffer[: 5000 * CHAIN_RECORD.size]
    for what, loop, reach in (("struct", struct_loop, 1 / 50), ("ctypes", ctypes_loop, None)):
        if loop(part) != 5000:
            raise AssertionError(what)
        peer = timed(lambda loop=loop: loop(part), 5000)  # type: ignore[misc]
        yield Row(
            "records.parse, callchain of 8, each", f"a {what} loop", *paired(peer, parse, max(5, rounds // 4)), reach
        )
    if kernel := kernels_module_ns():
        ns = statistics.median(parse() for _ in range(rounds))
        yield Row("records.parse, callchain of 8, each", "the kernel's perf module", ns, kernel, ns / kernel, 1 / 20)


def one_call_each(buffer: bytes) -> int:
    """Walk over records with a call into C for each, and a pointer that keeps the buffer."""
    base = ffi.from_buffer(buffer)
    kinds = {b.PERF_RECORD_SAMPLE: ffi.typeof("struct perf_record_sample *")}
    header = ffi.typeof("struct perf_event_header *")

    def keep(_: Any, base: Any = base) -> None:
        pass

    offset = found = 0
    while size := lib.records_next(base, len(base), offset):
        kind = kinds.get(ffi.cast(header, base + offset).type, header)
        ffi.gc(ffi.cast(kind, base + offset), keep)
        offset += size
        found += 1
    return found


def walking(rounds: int) -> Iterator[Row]:
    """Compare iterate() with a call into C for each record, and with making one pointer for each."""
    buffer = chains(1 << 20)
    n = len(buffer) // CHAIN_RECORD.size
    addresses = list(range(4096, 4096 + 8 * n, 8))
    kind = ffi.typeof("struct perf_event_header *")

    def iterated() -> None:
        for _ in records.iterate(buffer):
            pass

    def pointers() -> None:
        for address in addresses:
            ffi.cast(kind, address)

    walk = timed(iterated, n)
    each = timed(lambda: one_call_each(buffer), n)
    yield Row("records.iterate, each", "a call into C for each", *paired(each, walk, rounds), 0.5)
    yield Row("records.iterate, each", "a cffi pointer for each", *paired(timed(pointers, n), walk, rounds), 3.0)


def rows(c: Any, c_ffi: Any, rounds: int) -> Iterator[Row]:
    """Compare rows of all records with memcpy of the bytes, and sorting them with NumPy."""
    attr = software_attr(sample_type=CHAIN_TYPE, sample_id_all=1)
    samples = chains(RING_PAGES * 4096 // 2)
    size = CHAIN_RECORD.size
    body = struct.pack("=IIQQQIIQQII16s", 1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 2, b"/usr/lib/some.so") + struct.pack(
        "=IIQ", 1, 1, 7
    )
    mmap2 = struct.pack("=IHH", b.PERF_RECORD_MMAP2, 2, 8 + len(body)) + body
    buffer = b"".join(samples[at : at + size] + mmap2 for at in range(0, len(samples), size))
    n = 2 * len(samples) // size
    target, source = c_ffi.from_buffer(bytearray(len(buffer))), c_ffi.from_buffer(buffer)
    parse = timed(lambda: records.parse(buffer, attr, all_records=True), n)
    yield Row(
        "records.parse(all_records=True), half samples, each",
        "memcpy",
        *paired(lambda: c.copy(target, source, len(buffer)) / n, parse, rounds),
        3.0,
    )


def columns(c: Any, c_ffi: Any, rounds: int) -> Iterator[Row]:
    """Compare four columns of 10**6 samples with memcpy of their records."""
    n = 1_000_000
    one = struct.pack("=IHHQIIQ", b.PERF_RECORD_SAMPLE, 2, 32, 0x400000, 1, 2, 3)
    plain = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME
    for what, sample_type, buffer in (
        ("of 32 bytes", plain, one * n),
        ("with callchains of 8", CHAIN_TYPE, chains(n * CHAIN_RECORD.size)),
    ):
        attr = perf_event_attr(sample_type=sample_type)
        target, source = c_ffi.from_buffer(bytearray(len(buffer))), c_ffi.from_buffer(buffer)
        decode = timed(lambda: records.columns(buffer, attr, ["ip", "pid", "tid", "time"]), n)  # noqa: B023
        copy = timed(lambda: c.copy(target, source, len(buffer)), n)  # noqa: B023
        yield Row(
            f"records.columns, 4 of 10**6 {what}, each", "memcpy", *paired(copy, decode, max(5, rounds // 3)), 1.2
        )


def sorting(rounds: int) -> Iterator[Row]:
    """Compare sorting 10**6 rows of 64 rings with NumPy's stable argsort and take."""
    import numpy as np

    n, rings = 1_000_000, 64
    array = ffi.new("struct perf_sample[]", n)
    lib.records_advise(array, n)
    view = records.to_numpy(array)
    random = np.random.default_rng(1)
    times = np.concatenate([np.sort(random.integers(0, 10**9, n // rings)) for _ in range(rings)]).astype("u8")
    samples = records.Samples(array)

    def ours() -> float:
        view["time"] = times
        start = perf_counter_ns()
        samples.sort_by_time()
        return (perf_counter_ns() - start) / n

    def numpys() -> float:
        view["time"] = times
        start = perf_counter_ns()
        view.take(np.argsort(view["time"], kind="stable"))
        return (perf_counter_ns() - start) / n

    what = "Samples.sort_by_time, 10**6 rows of 64 rings, each"
    yield Row(what, "NumPy: argsort(stable), take", *paired(numpys, ours, max(3, rounds // 6)), 1 / 5)


def tracepoints(rounds: int) -> Iterator[Row]:
    """Compare the columns of 10**6 sched_switch samples with a loop of decode, where tracefs is readable."""
    try:
        form = events.tracepoint_format("sched", "sched_switch")
        identity = events.tracepoint_id("sched", "sched_switch")
    except (OSError, ValueError):
        return
    n = 1_000_000
    end = max(field.offset + field.size for field in form.fields)
    raw = bytearray(end + (4 - end) % 8)
    raw[:2] = identity.to_bytes(2, sys.byteorder)
    one = struct.pack("=IHHI", b.PERF_RECORD_SAMPLE, 1, 12 + len(raw), len(raw)) + raw
    buffer = one * n
    samples = records.parse(buffer, perf_event_attr(sample_type=b.PERF_SAMPLE_RAW))
    part = samples[:5000]

    def decoded() -> None:  # from samples, as columns() is
        for sample in part:
            form.decode(records.raw(buffer, sample))

    loop = timed(decoded, len(part))
    all_at_once = timed(lambda: form.columns(buffer, samples), n)
    yield Row(
        "Format.columns, 10**6 sched_switch, each",
        "a loop of decode",
        *paired(loop, all_at_once, max(3, rounds // 6)),
        1 / 100,
    )

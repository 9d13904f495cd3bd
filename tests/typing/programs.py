"""Programs of users that both type checkers take. It is checked, and never run."""

import mmap
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy
from typing_extensions import assert_type

import perf_event_open_sys
from perf_event_open_sys import bindings as b
from perf_event_open_sys import (
    counters,
    errors,
    events,
    ffi,
    ioctls,
    lib,
    perf_event_attr,
    perf_event_open,
    records,
    ring,
)


@dataclass
class Ring:
    """A class whose annotations are pointer types."""

    fd: int
    page: b.perf_event_mmap_page_p
    attr: b.perf_event_attr_p
    counts: b.perf_counts_p | None = None


def count() -> int | None:
    attr = perf_event_attr(
        type=b.PERF_TYPE_SOFTWARE, config=b.PERF_COUNT_SW_PAGE_FAULTS, disabled=1, exclude_kernel=True
    )
    attr.read_format = b.PERF_FORMAT_TOTAL_TIME_ENABLED | b.PERF_FORMAT_TOTAL_TIME_RUNNING
    assert_type(attr, b.perf_event_attr_p)
    fd = perf_event_open(attr, pid=os.getpid(), cpu=-1, group_fd=-1, flags=lib.PERF_FLAG_FD_CLOEXEC)
    ioctls.enable(fd)
    ioctls.reset(fd, b.PERF_IOC_FLAG_GROUP)
    [counts] = counters.read(fd, attr.read_format)
    assert_type(counts, b.perf_counts_p)
    assert_type(counts.value, int)
    return counters.scaled(counts)


def many(fds: list[int]) -> list[int]:
    out = ffi.new("struct perf_counts[]", len(fds))
    n = counters.read_into(fds, 0, out) + counters.read_into(ffi.new("int[]", fds), 0, out)
    assert_type(out[0], b.perf_counts_s)
    assert_type(out + 1, b.perf_counts_p)
    counters.scaled(out[0])
    return [counts.value for counts in out[0:n]]


def sample(fd: int, attr: b.perf_event_attr_p) -> Iterator[str]:
    with ring.map(fd, data_pages=8) as page:
        assert_type(page, b.perf_event_mmap_page_p)
        assert_type(page.cap_user_rdpmc, int)
        mapped = Ring(fd, page, attr)
        buffer = bytearray(1 << 16)
        ring.read_into(mapped.page, memoryview(buffer))
        ring.set_tail(page, ring.head(page))
        samples = records.parse(ring.read(page), {1: attr})
        assert_type(samples[0], b.perf_sample_p)
        assert_type(samples[1:], records.Samples)
        rows: Sequence[b.perf_sample_p] = samples
        for one in rows:
            chain = records.callchain(buffer, one)
            assert_type(chain[0], int)
            yield f"{one.ip:x} {len(chain)} {[hex(address) for address in chain]} {bytes(records.raw(buffer, one))!r}"
            yield from (str(entry.mispred) for entry in records.branches(buffer, one))
        assert_type(len(samples.cdata), int)


def side_band(buffer: bytes, attr: b.perf_event_attr_p) -> Iterator[int]:
    for record in records.iterate(buffer):
        if record.header.type == b.PERF_RECORD_COMM:
            comm = cast(b.perf_record_comm_p, record)
            yield comm.pid + len(records.name(comm)) + records.sample_id(record, attr).cpu
        if record.header.type == b.PERF_RECORD_NAMESPACES:
            namespaces = ffi.cast("struct perf_record_namespaces *", record)
            yield from (info.ino for info in namespaces.link_info[0 : namespaces.nr_namespaces])


def buffers(page: b.perf_event_mmap_page_p, attr: b.perf_event_attr_p) -> None:
    ring.read_into(page, numpy.zeros(1 << 16, numpy.uint8))
    ring.read_into(page, mmap.mmap(-1, 1 << 16))
    ring.snapshot_into(page, array("Q", [0] * 512))
    ring.drain_into([page, page], bytearray(1 << 20))
    array_of_samples = ffi.new("struct perf_sample[]", 100)
    n_samples, n_bytes = records.parse_into(ffi.buffer(array_of_samples), attr, array_of_samples)
    assert_type(n_samples + n_bytes, int)
    assert records.to_numpy(array_of_samples).dtype == records.dtype("struct perf_sample")


def raw_layer(fd: int) -> int:
    attr = ffi.new("struct perf_event_attr *", {"size": ffi.sizeof("struct perf_event_attr")})
    identity = ffi.new("uint64_t *")
    if lib.perf_event_open(attr, 0, -1, -1, 0) < 0 or lib.ioctl_id(fd, identity):
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    lib.perf_event_open(ffi.NULL, 0, -1, -1, 0)
    lib.counters_read_many([fd], 1, 0, ffi.new("struct perf_counts[]", 1), 1, ffi.new("size_t *"))
    lib.ioctl_set_filter(fd, b"prev_pid == 1")
    address = int(ffi.cast("uintptr_t", attr))
    assert_type(ffi.cast("struct perf_event_attr *", address), b.perf_event_attr_p)
    assert_type(ffi.typeof("struct perf_event_attr *"), b.CType[b.perf_event_attr_p])
    assert_type(ffi.gc(attr, print).config, int)
    assert_type(ffi.addressof(attr[0]), b.perf_event_attr_p)
    assert_type(ffi.string(ffi.cast("enum perf_event_type", 9)), str)
    assert_type(ffi.typeof("enum perf_event_type").elements[9], str)
    return identity[0] + lib.PERF_TYPE_SOFTWARE + lib.perf_headers_version + b.PERF_REG_ARM64_SP


def names() -> str:
    entry = b.perf_branch_entry(to=1, mispred=1)
    source = b.perf_mem_data_src(val=b.PERF_MEM_S("LVL", "L1"))
    weight = b.perf_sample_weight(full=1)
    query = b.perf_event_query_bpf(16)
    total = getattr(entry, "from") + source.mem_lvl + weight.var1_dw + sum(query.ids[0 : query.prog_cnt])
    assert_type(b.copy(perf_event_attr(), exclude_kernel=1), b.perf_event_attr_p)
    assert_type(b.copy(ffi.new("struct perf_counts *"), value=1), b.perf_counts_p)
    assert_type(b.perf_event_attr_from(b"").size, int)
    assert_type(perf_event_open_sys.lib_address("ring_read"), int)
    return b.name_of("perf_event_type", total) + b.dump(perf_event_attr()) + perf_event_open_sys.HEADERS_VERSION


def by_name() -> b.perf_event_attr_p:
    package: type = type(perf_event_open_sys.events)
    assert package
    attr = events.attr("uprobe/retprobe/", uprobe_path="/bin/sh", probe_offset=0x4710, sample_period=1)
    for group in events.parse("{cycles,instructions}:u", disabled=1):
        assert_type(group[0].attr, b.perf_event_attr_p)
    return attr


def failures(fd: int) -> str:
    try:
        ioctls.query_bpf(fd, max_ids=3)
        ioctls.set_filter(fd, "prev_pid == 1")
        ioctls.modify_attributes(fd, perf_event_attr(type=b.PERF_TYPE_BREAKPOINT, bp_addr=8, bp_len=8))
    except records.CorruptRecord as error:
        return str(error.offset + error.n_samples)
    except PermissionError as error:
        return errors.diagnose(error.errno or 0, perf_event_attr(), 0, -1, -1, 0)
    return ""

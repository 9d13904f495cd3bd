"""What several test modules share: an independent encoder of records, rings in plain memory, workloads."""

import contextlib
import mmap
import os
import struct
import subprocess
import sys

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi

PAGE_SIZE = mmap.PAGESIZE
WORD = 8 * ffi.sizeof("long")  # the bits of an address, and of a position in a ring
PAGE_FAULTS = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_PAGE_FAULTS, "sample_period": 1}
DUMMY = {"type": b.PERF_TYPE_SOFTWARE, "config": b.PERF_COUNT_SW_DUMMY}

# Each field of a sample that is one word, in the kernel's order around those that vary; TID and CPU are pairs of u32.
BEFORE_READ = (
    (b.PERF_SAMPLE_IDENTIFIER, "id"),
    (b.PERF_SAMPLE_IP, "ip"),
    (b.PERF_SAMPLE_TID, ("pid", "tid")),
    (b.PERF_SAMPLE_TIME, "time"),
    (b.PERF_SAMPLE_ADDR, "addr"),
    (b.PERF_SAMPLE_ID, "id"),
    (b.PERF_SAMPLE_STREAM_ID, "stream_id"),
    (b.PERF_SAMPLE_CPU, ("cpu", None)),
    (b.PERF_SAMPLE_PERIOD, "period"),
)
BEHIND_STACK = (
    (b.PERF_SAMPLE_WEIGHT | b.PERF_SAMPLE_WEIGHT_STRUCT, "weight"),
    (b.PERF_SAMPLE_DATA_SRC, "data_src"),
    (b.PERF_SAMPLE_TRANSACTION, "transaction"),
)
BEHIND_INTR = (
    (b.PERF_SAMPLE_PHYS_ADDR, "phys_addr"),
    (b.PERF_SAMPLE_CGROUP, "cgroup"),
    (b.PERF_SAMPLE_DATA_PAGE_SIZE, "data_page_size"),
    (b.PERF_SAMPLE_CODE_PAGE_SIZE, "code_page_size"),
)
TRAILER = (
    (b.PERF_SAMPLE_TID, ("pid", "tid")),
    (b.PERF_SAMPLE_TIME, "time"),
    (b.PERF_SAMPLE_ID, "id"),
    (b.PERF_SAMPLE_STREAM_ID, "stream_id"),
    (b.PERF_SAMPLE_CPU, ("cpu", None)),
    (b.PERF_SAMPLE_IDENTIFIER, "id"),
)
ONE_WORD = BEFORE_READ + BEHIND_STACK + BEHIND_INTR
TIMES = (b.PERF_FORMAT_TOTAL_TIME_ENABLED, "time_enabled"), (b.PERF_FORMAT_TOTAL_TIME_RUNNING, "time_running")
PER_MEMBER = (b.PERF_FORMAT_ID, "id"), (b.PERF_FORMAT_LOST, "lost")


def record(kind, body=b"", misc=0, *, size=None):
    """Return a record's bytes: the header, with its real size unless another is given, and the body."""
    return struct.pack("=IHH", kind, misc, 8 + len(body) if size is None else size) + body


def u64(*values):
    """Return the values as words."""
    return struct.pack(f"={len(values)}Q", *values)


def padded(data):
    """Return the data, filled up with zeros to whole words."""
    return data + bytes(-len(data) % 8)


def _words(fields, wanted, values):
    for bits, name in fields:
        if not bits & wanted:
            continue
        if isinstance(name, tuple):
            yield struct.pack("=II", *(values.get(part, 0) for part in name))
        else:
            yield u64(values[name])


def encode_read(read_format, members):
    """Return what read(2) gives for the members, dicts of a perf_counts' fields that share their times."""
    out = []
    times = [members[0][name] if members else 0 for bit, name in TIMES if read_format & bit]
    rest = [name for bit, name in PER_MEMBER if read_format & bit]
    if read_format & b.PERF_FORMAT_GROUP:
        out += [len(members), *times]
        for member in members:
            out += [member["value"], *(member[name] for name in rest)]
    else:
        out += [members[0]["value"], *times, *(members[0][name] for name in rest)]
    return u64(*out)


def encode_sample(attr, values, misc=0):
    """Return the PERF_RECORD_SAMPLE that the kernel would write for *values* to an event of *attr*.

    Besides the one-word fields: ``read`` (dicts), ``callchain``, ``raw``, ``branch`` (the words of each entry),
    ``branch_hw_idx``, ``branch_counters``, ``user_regs`` and ``intr_regs`` with their ``_abi``, ``user_stack`` (the
    bytes that could be copied), ``user_stack_room`` and ``aux``.
    """
    kind = attr.sample_type
    out = list(_words(BEFORE_READ, kind, values))
    if kind & b.PERF_SAMPLE_READ:
        out.append(encode_read(attr.read_format, values["read"]))
    if kind & b.PERF_SAMPLE_CALLCHAIN:
        out.append(u64(len(values["callchain"]), *values["callchain"]))
    if kind & b.PERF_SAMPLE_RAW:
        out.append(padded(struct.pack("=I", len(values["raw"])) + values["raw"]))
    if kind & b.PERF_SAMPLE_BRANCH_STACK:
        out.append(u64(len(values["branch"])))
        if attr.branch_sample_type & b.PERF_SAMPLE_BRANCH_HW_INDEX:
            out.append(u64(values["branch_hw_idx"]))
        out += [u64(*entry) for entry in values["branch"]]
        if attr.branch_sample_type & b.PERF_SAMPLE_BRANCH_COUNTERS:
            out.append(u64(*values["branch_counters"]))
    if kind & b.PERF_SAMPLE_REGS_USER:
        out.append(u64(values["user_regs_abi"], *values["user_regs"]))
    if kind & b.PERF_SAMPLE_STACK_USER:
        room = values["user_stack_room"]
        out.append(u64(room))
        if room:
            out.append(values["user_stack"].ljust(room, b"?") + u64(len(values["user_stack"])))
    out += _words(BEHIND_STACK, kind, values)
    if kind & b.PERF_SAMPLE_REGS_INTR:
        out.append(u64(values["intr_regs_abi"], *values["intr_regs"]))
    out += _words(BEHIND_INTR, kind, values)
    if kind & b.PERF_SAMPLE_AUX:
        out.append(u64(len(values["aux"])) + padded(values["aux"]))
    return record(b.PERF_RECORD_SAMPLE, b"".join(out), misc)


def encode_trailer(attr, values):
    """Return the sample_id_all trailer."""
    return b"".join(_words(TRAILER, attr.sample_type, values))


def synthetic_ring(data_pages=1, aux_pages=0):
    """Return (control page, its data, its AUX area) in anonymous shared memory, as the kernel would lay them out."""
    size = data_pages * PAGE_SIZE
    area = mmap.mmap(-1, PAGE_SIZE + size + aux_pages * PAGE_SIZE)
    page = ffi.from_buffer("struct perf_event_mmap_page *", area)
    page.data_offset, page.data_size = PAGE_SIZE, size
    page.aux_offset, page.aux_size = (PAGE_SIZE + size, aux_pages * PAGE_SIZE) if aux_pages else (0, 0)
    view = memoryview(area)
    return page, view[PAGE_SIZE : PAGE_SIZE + size], view[PAGE_SIZE + size :]


def write_wrapped(area, position, data):
    """Write *data* at a position of a ring, modulo its size."""
    at = position % len(area)
    room = min(len(data), len(area) - at)
    area[at : at + room] = data[:room]
    area[: len(data) - room] = data[room:]


def put(page, area, data):
    """Write records at the head of a ring, as the kernel does."""
    write_wrapped(area, page.data_head, data)
    page.data_head = (page.data_head + len(data)) % 2**64


def touch(area, pages):
    """Write to each of the first *pages* pages of a mapping: a page fault each where they are not there yet."""
    area[: pages * PAGE_SIZE : PAGE_SIZE] = bytes(pages)


def fault(pages):
    """Cause *pages* page faults in user space, one a page."""
    with mmap.mmap(-1, pages * PAGE_SIZE) as area:
        touch(area, pages)


CPUS = sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def child(script):
    """Run *script* in another Python, once started: yield (its process, a function that lets it go and waits).

    The script begins when that function is called; it has ``os``, ``mmap``, ``ctypes`` and ``fault``.
    """
    prelude = (
        f"import ctypes, mmap, os, sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); from support import fault"
    )
    code = f"{prelude}\nprint(end='.', flush=True); sys.stdin.read(1)\n{script}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(1) == b"."

        def go():
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.wait(60) == 0

        try:
            yield process, go
        finally:
            if process.poll() is None:
                process.kill()

"""An independent encoder of what the kernel writes: records, samples, trailers, and what read(2) gives."""

import struct

from perf_event_open_sys import bindings as b

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
    """Return the bytes of 64-bit values in the machine's byte order."""
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

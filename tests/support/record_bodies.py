"""A made-up record of every type, with the values that its struct's fields must have."""

import struct

from perf_event_open_sys import bindings as b

from .encode import u64

WHO = struct.pack("=II", 11, 12)
# Type -> (body, misc, what its struct says); the numbers are in the man page's order of the fields.
BODIES = {
    "mmap": (WHO + u64(1, 2, 3) + b"/bin/a\0\0", 0, {"pid": 11, "tid": 12, "addr": 1, "len": 2, "pgoff": 3}),
    "lost": (u64(1, 2), 0, {"id": 1, "lost": 2}),
    "comm": (WHO + b"a name\0\0", b.PERF_RECORD_MISC_COMM_EXEC, {"pid": 11, "tid": 12}),
    "exit": (struct.pack("=IIIIQ", 1, 2, 3, 4, 5), 0, {"pid": 1, "ppid": 2, "tid": 3, "ptid": 4, "time": 5}),
    "throttle": (u64(1, 2, 3), 0, {"time": 1, "id": 2, "stream_id": 3}),
    "unthrottle": (u64(1, 2, 3), 0, {"time": 1, "id": 2, "stream_id": 3}),
    "fork": (struct.pack("=IIIIQ", 1, 2, 3, 4, 5), 0, {"pid": 1, "ppid": 2, "tid": 3, "ptid": 4, "time": 5}),
    "read": (WHO + u64(5), 0, {"pid": 11, "tid": 12}),
    "sample": (u64(5), 0, {}),
    "mmap2": (
        WHO + u64(1, 2, 3) + struct.pack("=IIQQII", 4, 5, 6, 7, 8, 9) + b"/bin/a\0\0",
        0,
        {"pid": 11, "tid": 12, "addr": 1, "len": 2, "pgoff": 3, "maj": 4, "min": 5}
        | {"ino": 6, "ino_generation": 7, "prot": 8, "flags": 9},
    ),
    "aux": (u64(1, 2, 3), 0, {"aux_offset": 1, "aux_size": 2, "flags": 3}),
    "itrace_start": (WHO, 0, {"pid": 11, "tid": 12}),
    "lost_samples": (u64(9), 0, {"lost": 9}),
    "switch": (b"", b.PERF_RECORD_MISC_SWITCH_OUT | b.PERF_RECORD_MISC_SWITCH_OUT_PREEMPT, {}),
    "switch_cpu_wide": (WHO, b.PERF_RECORD_MISC_SWITCH_OUT, {"next_prev_pid": 11, "next_prev_tid": 12}),
    "namespaces": (WHO + u64(2, 1, 2, 3, 4), 0, {"pid": 11, "tid": 12, "nr_namespaces": 2}),
    "ksymbol": (
        u64(1) + struct.pack("=IHH", 2, 3, 4) + b"a_symbol" + bytes(8),
        0,
        {"addr": 1, "len": 2, "ksym_type": 3, "flags": 4},
    ),
    "bpf_event": (struct.pack("=HHI8s", 1, 2, 3, b"01234567"), 0, {"type": 1, "flags": 2, "id": 3}),
    "cgroup": (u64(1) + b"/a/group", 0, {"id": 1}),
    "text_poke": (u64(1) + struct.pack("=HH", 2, 3) + b"oonnn" + bytes(7), 0, {"addr": 1, "old_len": 2, "new_len": 3}),
    "aux_output_hw_id": (u64(1), 0, {"hw_id": 1}),
    "callchain_deferred": (u64(1, 2, 3, 4), 0, {"cookie": 1, "nr": 2}),
}


def kind_of(tag):
    """Return the number of a record type."""
    return getattr(b, f"PERF_RECORD_{tag.upper()}")

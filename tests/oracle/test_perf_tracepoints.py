"""Fields of tracepoints: what perf's Python scripts are given, beside what decode makes of the same raw data."""

import ast
import collections
import struct
import sys

import pytest
from support.marks import needs_root
from support.perf import perf

from perf_event_open_sys import events

SYSTEMS = ("sched", "task", "signal", "kmem", "timer", "irq", "filemap", "writeback", "raw_syscalls", "workqueue")
CALLS = ("sys_enter_openat", "sys_exit_openat", "sys_enter_execve", "sys_exit_execve")
SCRIPT = """
def trace_unhandled(name, context, fields, sample):
    print(repr((name, {key: bytes(value) if isinstance(value, bytearray) else value for key, value in fields.items()},
                bytes(sample["raw_buf"]))))
"""


def unsigned(field, value):
    """A value as perf's scripts get it: integers below 64 bits without their sign, arrays and text as bytes."""
    if isinstance(value, int):
        return value % 2 ** (8 * field.size)
    if isinstance(value, list):
        size = field.size // len(value)
        return b"".join((one % 2 ** (8 * size)).to_bytes(size, sys.byteorder) for one in value)
    return value


def theirs(field, value):
    """The fields that perf gave to a Python script, in the form that unsigned() gives; text ends at its NUL."""
    if isinstance(value, int):
        return value % 2 ** (8 * field.size)
    value = value.encode() if isinstance(value, str) else value
    if isinstance(value, list):
        return b"".join(struct.pack("=Q", one % 2**64)[: field.size // len(value)] for one in value)
    return value.split(b"\0")[0] if field.type.startswith("char") else value


@needs_root
def test_decoded_samples_are_those_of_perf(tracefs, tmp_path):
    """Of every sample of a recording, each field that perf shows has the value that decode gives."""
    there = events.tracepoints(tracefs=tracefs)
    wanted = [f"{system}:*" for system in SYSTEMS if any(point.startswith(f"{system}:") for point in there)]
    wanted += [f"syscalls:{call}" for call in CALLS if f"syscalls:{call}" in there]
    (tmp_path / "script.py").write_text(SCRIPT)
    workload = ["sh", "-c", "ls / >/dev/null; cat /nonexistent; sleep 0.01"]
    perf("record", "-q", "-o", "data", "-e", ",".join(wanted), "--", *workload, cwd=tmp_path)
    output = perf("script", "-i", "data", "-s", "script.py", cwd=tmp_path)
    samples = [ast.literal_eval(line) for line in output.splitlines() if line.startswith("('")]
    formats, compared, different = {}, collections.Counter(), []
    for name, shown, raw in samples:
        if name not in formats:
            formats[name] = events.tracepoint_format(*name.split("__", 1), tracefs=tracefs)
        decoded = formats[name].decode(raw)
        for field in formats[name].fields:
            if field.name in shown and not field.name.startswith("common_"):
                compared[field.type] += 1
                ours, perfs = unsigned(field, decoded[field.name]), theirs(field, shown[field.name])
                if ours != perfs:
                    different.append((name, field.name, ours, perfs))
    if not samples:
        pytest.skip("this perf runs no Python scripts")
    assert different == []
    assert len(formats) > 10
    assert {"char[16]", "char[]", "int", "long"} <= set(compared)

"""Counts as tests make and compare them: what read(2) gives for them, by a pipe in the place of an event."""

import contextlib
import os

from .encode import encode_read


def fields(counts):
    """The five numbers of a ``struct perf_counts *``."""
    return counts.value, counts.time_enabled, counts.time_running, counts.id, counts.lost


def packed(read_format, members, enabled, running):
    """What read(2) gives for these (value, id, lost)."""
    times = {"time_enabled": enabled, "time_running": running}
    named = [times | dict(zip(("value", "id", "lost"), one, strict=True)) for one in members]
    return encode_read(read_format, named)


@contextlib.contextmanager
def pipe(*messages):
    """The reading end of a pipe that gives each message to one read(2), then the end of file."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
    for message in messages:
        os.write(writing, message)
    os.close(writing)
    try:
        yield reading
    finally:
        os.close(reading)

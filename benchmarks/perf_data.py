"""perf.data files: reading 10**6 samples into NumPy columns, beside perf script."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import Any

from measure import Row, paired

from perf_event_open_sys import bindings as b
from perf_event_open_sys import perf_data, records
from perf_event_open_sys.events import attr

N = 1_000_000
SAMPLE = Struct("=IHHQIIQQ")  # header; ip, pid, tid, time, period
FIELDS = ["ip", "pid", "tid", "time"]
# What perf script's Python calls for each sample: it keeps what the columns have.
SCRIPT = """
found = []
def process_event(event):
    sample = event["sample"]
    found.append((sample["ip"], sample["pid"], sample["tid"], sample["time"]))
def trace_end():
    print(len(found))
"""


def write(path: Path) -> None:
    """Write a file of 10**6 samples of a clock in a thousand threads."""
    sample_type = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_PERIOD
    clock = attr("cpu-clock", sample_period=250_000, sample_type=sample_type, sample_id_all=1)
    head = (b.PERF_RECORD_SAMPLE, b.PERF_RECORD_MISC_USER, SAMPLE.size)
    with perf_data.create(path, [(clock, [1], "cpu-clock")]) as writer:
        for begin in range(0, N, 10_000):
            numbers = range(begin, begin + 10_000)
            writer.write(
                b"".join(SAMPLE.pack(*head, 0x400000 + n, n % 1000, n % 1000, 250_000 * n, 250_000) for n in numbers)
            )
            writer.finished_round()


def columns_of_rows(reader: Any) -> Any:
    """Decode samples with all of their fields, and return four of them."""
    [rows] = [records.to_numpy(records.parse(chunk, reader.attr)) for chunk in reader.chunks()]
    return {name: rows[name] for name in FIELDS}


def columns(reader: Any) -> Any:
    """Decode the four fields alone."""
    return reader.columns(FIELDS)


def read(path: Path, decode: Callable[[Any], Any]) -> int:
    """Read the four columns of a file; return how many samples there were."""
    with perf_data.open(path) as reader:
        return len(decode(reader)["time"])


def cpu_timed(work: Callable[[], object], children: bool) -> Callable[[], float]:
    """Return a function that calls *work* and returns the ns of CPU time for each sample; those of its children too.

    Both readers are one thread, and perf script writes to a pipe: on an idle machine, this is the time that they take.
    """

    def spent() -> float:
        who = [resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN] if children else [resource.RUSAGE_SELF]
        return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))

    def run() -> float:
        start = spent()
        work()
        return (spent() - start) * 1e9 / N

    return run


def perf_script(path: Path, *arguments: str) -> int:
    """Run perf script, and read what it prints; return the number of lines."""
    command = ["perf", "script", "-i", str(path), *arguments]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return ran.stdout.count(b"\n")


def reading(rounds: int) -> Iterator[Row]:
    """Compare columns, and rows as columns, with perf script's text and with its Python; nothing where perf is absent."""
    if not shutil.which("perf"):
        return
    with tempfile.TemporaryDirectory() as directory:
        path, script = Path(directory, "perf.data"), Path(directory, "collect.py")
        write(path)
        script.write_text(SCRIPT)
        as_text, by_python = ("-F", "ip,pid,tid,time"), ("-s", str(script))
        if perf_script(path, *as_text) != N:
            raise AssertionError("perf script does not print a line for each sample")
        for what, decode, baseline, arguments, reach in (
            ("rows", columns_of_rows, "perf script -F …", as_text, 1 / 20),
            ("columns", columns, "perf script -F …", as_text, 1 / 50),
            ("columns", columns, "perf script's Python", by_python, None),
        ):
            if read(path, decode) != N:
                raise AssertionError(what)
            subject = cpu_timed(lambda decode=decode: read(path, decode), False)  # type: ignore[misc]
            peer = cpu_timed(lambda arguments=arguments: perf_script(path, *arguments), True)  # type: ignore[misc]
            try:
                measured = paired(peer, subject, max(3, rounds // 6))
            except subprocess.CalledProcessError:  # a perf that was built without Python
                continue
            yield Row(f"perf.data to ip pid tid time, by {what}, each", baseline, *measured, reach)


if __name__ == "__main__":
    from measure import table

    print(table(list(reading(int(os.environ.get("ROUNDS", "31"))))))

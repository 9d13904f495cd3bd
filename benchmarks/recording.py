"""Measure ``record`` beside ``perf record``: the recorder's CPU time for each sample, and what is lost."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Row

from perf_event_open_sys import perf_data, records

FAULTS = 500_000
EVENT = ["-e", "page-faults:u", "-c", "1", "-m", "128"]
# Faults pages in as fast as it can, and writes the CPU time that it took to the file that its argument names.
WORKLOAD = """
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
    const size_t size = 4096UL * 1000;
    char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct rusage used;
    const struct timeval *user = &used.ru_utime, *system = &used.ru_stime;
    FILE *file;

    madvise(area, size, MADV_NOHUGEPAGE);
    for (long done = 0; done < FAULTS; done += 1000) {
        for (size_t at = 0; at < size; at += 4096)
            area[at] = 1;
        madvise(area, size, MADV_DONTNEED);
    }
    getrusage(RUSAGE_SELF, &used);
    file = fopen(argv[argc - 1], "w");
    fprintf(file, "%ld", (user->tv_sec + system->tv_sec) * 1000000L + user->tv_usec + system->tv_usec);
    return fclose(file);
}
"""


def recording(rounds: int) -> list[Row]:
    """Compare the CPU time of both recorders, without that of the command, and print what each has lost."""
    if not shutil.which("perf"):
        return []
    ours = [sys.executable, "-m", "perf_event_open_sys", "record", "-q"]
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        source, program, data = (Path(directory, name) for name in ("workload.c", "workload", "data"))
        source.write_text(WORKLOAD)
        subprocess.run(["cc", "-O2", f"-DFAULTS={FAULTS}", "-o", str(program), str(source)], check=True)
        for baseline in ("perf record", "perf record -B -N"):
            taken: list[tuple[float, float]] = []
            lost = [0, 0]
            for _ in range(min(rounds, 5) + 1):
                pair = []
                for place, recorder in enumerate(([*baseline.split(" "), "-q"], ours)):
                    pair.append(
                        _recorder_ns([*recorder, *EVENT, "-o", str(data), "--", str(program), f"{data}.used"], data)
                    )
                    lost[place] += _lost(data)
                taken.append((pair[0], pair[1]))
            shares = [count / FAULTS / len(taken) for count in lost]
            what = f"record, each sample; {100 * shares[1]:.2f} % lost, perf {100 * shares[0]:.2f} %"
            theirs, mine = (statistics.median(pair[place] for pair in taken[1:]) for place in (0, 1))
            ratio = statistics.median(pair[1] / pair[0] for pair in taken[1:])
            rows.append(Row(what, baseline, mine, theirs, ratio, 1.0 if baseline == "perf record" else None))
    return rows


def _recorder_ns(command: list[str], data: Path) -> float:
    """Return the nanoseconds of CPU time that a recorder takes for a sample: all but those of the command."""
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} fails")
    spent_us = int(Path(f"{data}.used").read_text())
    return (used.ru_utime + used.ru_stime) * 1e9 / FAULTS - spent_us * 1e3 / FAULTS


def _lost(data: Path) -> int:
    """Return how many samples are missing in a file."""
    with perf_data.open(data) as reader:
        found = sum(len(records.parse(chunk, reader.attr)) for chunk in reader.chunks())
    return max(0, FAULTS - found)

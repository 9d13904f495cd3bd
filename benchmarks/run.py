#!/usr/bin/env python3
"""Measure what this package costs, beside the same work in C and in other libraries, and print the table.

    python benchmarks/run.py [--json] [--rounds N]

Each figure is the median over rounds in which the baseline and the subject take turns, so that other load on the
machine slows both alike. Other libraries are measured if they can be imported: ctypes and struct always; the kernel's
own Python module ``perf``; NumPy; Cython; py-perf-event, which also needs a hardware PMU.
"""

from __future__ import annotations

import argparse
import json
import platform

import capturing
import counting
import decoding
import draining
import perf_data
import recording
from measure import c_baseline, table


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--rounds", type=int, default=31, help="how often each pair is measured (default: 31)")
    options = parser.parse_args()
    c, c_ffi = c_baseline()
    rows = [
        *counting.calls(c, c_ffi, options.rounds),
        *draining.rings(c, c_ffi, options.rounds),
        *draining.many_rings(c, c_ffi, options.rounds),
        *decoding.decoding(c, c_ffi, options.rounds),
        *decoding.walking(options.rounds),
        *decoding.rows(c, c_ffi, options.rounds),
        *decoding.columns(c, c_ffi, options.rounds),
        *decoding.sorting(options.rounds),
        *decoding.tracepoints(options.rounds),
        *perf_data.reading(options.rounds),
        *capturing.captures(options.rounds),
        *recording.recording(options.rounds),
        *counting.hardware_peer(options.rounds),
        *counting.imports(options.rounds),
        *counting.growth(c, c_ffi, options.rounds),
    ]
    if options.json:
        machine = {"python": platform.python_version(), "kernel": platform.release(), "machine": platform.machine()}
        print(json.dumps({**machine, "rows": [row._asdict() for row in rows]}, indent=1))
    else:
        print(f"CPython {platform.python_version()}, Linux {platform.release()}, {platform.machine()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()

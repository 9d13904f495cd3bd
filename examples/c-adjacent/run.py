#!/usr/bin/env python3
"""Fault pages in with one of the extensions in this directory, and print the page faults that the kernel reported.

python run.py faults_c|faults_cpp|faults_cython|faults_cffi|faults_numba [PAGES]
"""

import mmap
import sys
from importlib import import_module
from itertools import pairwise


def main() -> None:
    """Print a line about all, and a line for each."""
    name = sys.argv[1]
    found = import_module(name).faults(int(sys.argv[2]) if len(sys.argv) > 2 else 16)
    neighbours = sum(b[1] - a[1] in (mmap.PAGESIZE, -mmap.PAGESIZE) for a, b in pairwise(found))
    microseconds = (found[-1][0] - found[0][0]) // 1000
    print(f"{name}: {len(found)} page faults in {microseconds} µs, {neighbours} of them next to the last")
    for time, address in found:
        print(f"{time - found[0][0]:10d} ns {address:#x}")


if __name__ == "__main__":
    main()

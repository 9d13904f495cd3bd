"""Count what the workers of a pool do, each by itself and all together. No privilege needed.

An event counts the thread that it was opened on. A worker opens its own, after the fork: one that it got from its parent
counts the parent. With ``inherit=1`` an event of the parent counts all that is forked from then on, too.
"""

import concurrent.futures
import multiprocessing
import os

from perf_event_open_sys import counters, events, ioctls, perf_event_open

attr = events.attr("page-faults:u", inherit=1, disabled=1)


def work(megabytes):
    """Fill memory; return who did it, and the page faults that it took."""
    fd = perf_event_open(attr)
    ioctls.enable(fd)
    bytearray(megabytes << 20)
    ioctls.disable(fd)
    [counts] = counters.read(fd)
    os.close(fd)
    return os.getpid(), counts.value


if __name__ == "__main__":
    fd = perf_event_open(attr)
    ioctls.enable(fd)
    context = multiprocessing.get_context("forkserver")  # "fork" and "spawn" do as well
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        for pid, faults in pool.map(work, (1, 2, 4, 8)):
            print(f"worker {pid}: {faults} page faults")
    [counts] = counters.read(fd)
    os.close(fd)
    print(f"all, with the start of the workers: {counts.value} page faults")

"""Draw pictures of docs/ by measuring anew: they differ a little each time.

python scripts/draw_measured.py flames    # docs/pictures/flames.svg, by examples/profile.py
python scripts/draw_measured.py counts    # docs/pictures/counts.svg, by stat -I
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from math import log10
from pathlib import Path

from svg import path, picture, text

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs/pictures"
SCRIPT = Path(__file__).name
COMMAND_LINE = [sys.executable, "-m", "perf_event_open_sys"]

# Three kinds of work, one after the other: new memory, arithmetic, and sleeping.
PHASES = """
import mmap, time
def until(end, work):
    while time.monotonic() < end: work()
def touch():
    with mmap.mmap(-1, 1 << 20) as area:
        for at in range(0, 1 << 20, 4096): area[at] = 1
start = time.monotonic()
until(start + 1, touch)
until(start + 2, lambda: sum(range(10_000)))
until(start + 3, lambda: time.sleep(0.001))
"""
# Compiled with frame pointers, so that the kernel finds the callers of a sample.
WORK = """
#include <string.h>
#include <sys/mman.h>
#define KEPT __attribute__((noinline))
static unsigned state = 1;
KEPT int next_random(void) { return (state = state * 1103515245 + 12345) >> 8; }
KEPT void sift(int *heap, int n, int at) {
    for (int child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && heap[child + 1] > heap[child];
        if (heap[at] >= heap[child]) return;
        int kept = heap[at]; heap[at] = heap[child]; heap[child] = kept;
    }
}
KEPT void heap_sort(int *heap, int n) {
    for (int at = n / 2; at--;) sift(heap, n, at);
    while (n-- > 1) { int top = heap[0]; heap[0] = heap[n]; heap[n] = top; sift(heap, n, 0); }
}
KEPT void insertion_sort(int *values, int n) {
    for (int i = 1; i < n; i++) {
        int value = values[i], at = i;
        for (; at > 0 && values[at - 1] > value; at--) values[at] = values[at - 1];
        values[at] = value;
    }
}
KEPT int partition(int *values, int n) {
    int pivot = values[n / 2], low = 0, high = n - 1;
    for (;; low++, high--) {
        while (values[low] < pivot) low++;
        while (values[high] > pivot) high--;
        if (low >= high) return low;
        int kept = values[low]; values[low] = values[high]; values[high] = kept;
    }
}
KEPT void quick_sort(int *values, int n) {
    if (n < 400) { insertion_sort(values, n); return; }
    int middle = partition(values, n);
    quick_sort(values, middle);
    quick_sort(values + middle, n - middle);
}
KEPT int *fill(int n) {
    int *values = mmap(0, n * sizeof(int), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < n; i++) values[i] = next_random();
    return values;
}
int main(void) {
    for (int i = 0; i < 20; i++) {
        int n = 200000, *values = fill(n);
        if (i % 2) quick_sort(values, n); else heap_sort(values, n);
        munmap(values, n * sizeof(int));
    }
}
"""


def flames() -> None:
    """Profile a C program that sorts, and keep the flame graph."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "sorts.c")
        source.write_text(WORK)
        compiler = ["cc", "-O1", "-g", "-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer"]
        subprocess.run([*compiler, "-o", f"{folder}/sorts", source], check=True)
        profile = [sys.executable, str(ROOT / "examples/profile.py"), "-F", "999", "--", "./sorts"]
        subprocess.run(profile, check=True, cwd=folder)
        graph = Path(folder, "profile.svg").read_text()
    # Without its white background it is readable on a dark page too: all text is on coloured boxes.
    graph = re.sub(r'<rect width="\d+" height="\d+" fill="white"/>\n', "", graph)
    (PICTURES / "flames.svg").write_text(f"<!-- drawn by scripts/{SCRIPT}: do not edit -->\n{graph}".rstrip() + "\n")


def counts() -> None:
    """Count the three kinds of work in intervals, and draw a curve for each event."""
    names = ["task-clock", "page-faults", "context-switches"]
    stat = [*COMMAND_LINE, "stat", "-I", "50", "--json", "-e", ",".join(names), "--", sys.executable, "-c", PHASES]
    lines = subprocess.run(stat, check=True, capture_output=True, text=True).stderr.splitlines()
    intervals = [json.loads(line) for line in lines]
    width, left, height, gap = 760, 60, 90, 50
    end = intervals[-1]["elapsed_s"]
    parts = []
    for row, name in enumerate(names):
        top = 34 + row * (height + gap)
        values = [interval["events"][row]["value"] or 0 for interval in intervals]
        highest = nice(max(values))
        unit = {"task-clock": "msec of CPU time"}.get(name, name)
        parts += [text(left, top - 10, f"{unit}, in each 50 ms", "title")]
        for part in (0, 0.5, 1):
            y = top + height * (1 - part)
            parts += [
                path(f"M{left} {y:g} H{width - 20}", "line"),
                text(left - 8, y + 4, f"{highest * part:g}", "small faint end"),
            ]
        steps, before = [f"M{left} {top + height}"], 0.0
        for interval, value in zip(intervals, values, strict=True):
            y = top + height * (1 - value / highest)
            x = (left + at / end * (width - 20 - left) for at in (before, interval["elapsed_s"]))
            steps.append(f"L{next(x):.1f} {y:.1f} L{next(x):.1f} {y:.1f}")
            before = interval["elapsed_s"]
        parts.append(path(f"{' '.join(steps)} V{top + height} Z", "abc"[row]))
    bottom = 34 + len(names) * (height + gap)
    for second in range(int(end) + 1):
        parts.append(
            text(left + second / end * (width - 20 - left), bottom - gap + 18, f"{second} s", "small faint middle")
        )
    title = "Events of a program over three seconds: it touches new memory, then computes, then sleeps"
    (PICTURES / "counts.svg").write_text(picture(SCRIPT, title, width, bottom - gap + 30, parts))


def nice(value: float) -> float:
    """Return a round number that is not below *value*, for the end of an axis."""
    power = 10.0 ** int(log10(max(value, 1)))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def main() -> None:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["flames", "counts"])
    {"flames": flames, "counts": counts}[parser.parse_args().what]()


if __name__ == "__main__":
    main()

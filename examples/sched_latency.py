"""How long woken tasks wait for a CPU, by program, from a perf.data file: ``sched_latency.py [perf.data] [-o latency.svg]``.

Record the file with either of these, as root; the fields of the tracepoints are looked up in this machine's tracefs:

    perf record -a -e sched:sched_wakeup,sched:sched_switch -- sleep 5
    perf-event-open-sys record -a -e sched:sched_wakeup,sched:sched_switch --duration 5
"""

import argparse
import html
from pathlib import Path
from typing import Any

import numpy as np

from perf_event_open_sys import events, perf_data, records

SHOWN = 12  # how many programs
BINS = (
    28  # bin n of the picture has the latencies from 2**n ns to 2**(n + 1) ns: the last ends at a quarter of a second
)
CELL, LEFT, TOP = 22, 190, 24  # of the picture, in pixels


def tasks(reader: perf_data.Reader, event: str, pid: str, comm: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the times of a tracepoint's samples, and of each the task that it is about."""
    ids = [identity for one in reader.events if one.name == event for identity in one.ids]
    if not ids:
        raise SystemExit(f"the file has no {event}")
    form = events.tracepoint_format(*event.split(":"))
    parts: dict[str, list[Any]] = {"time": [], "pid": [], "comm": []}
    for chunk in reader.chunks():
        rows = records.to_numpy(records.parse(chunk, reader.attr))
        rows = rows[np.isin(rows["id"], ids)]
        fields = form.columns(chunk, rows)
        for name, values in (("time", rows["time"]), ("pid", fields[pid]), ("comm", fields[comm])):
            parts[name].append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def latencies(woken: dict[str, Any], switched: dict[str, Any]) -> tuple[Any, Any]:
    """Return the time in ns from each wakeup to the next switch to that task, and the task's name."""
    both = {name: np.concatenate([woken[name], switched[name]]) for name in woken}
    runs = np.arange(len(both["time"])) >= len(woken["time"])
    order = np.lexsort((both["time"], both["pid"]))
    pid, time, runs = both["pid"][order], both["time"][order], runs[order]
    waited = np.flatnonzero((pid[1:] == pid[:-1]) & runs[1:] & ~runs[:-1])
    return time[waited + 1] - time[waited], both["comm"][order][waited + 1]


def picture(counts: dict[str, Any]) -> str:
    """Return an SVG: a row for each program, a cell for each bin of latencies, the darker the more."""
    width, height = LEFT + BINS * CELL + 10, TOP + len(counts) * CELL + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for power, text in ((10, "1 µs"), (20, "1 ms"), (27, "128 ms")):
        out.append(f'<text x="{LEFT + power * CELL}" y="{TOP - 8}">{text}</text>')
    for row, (name, of) in enumerate(counts.items()):
        y = TOP + row * CELL
        out.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{html.escape(name)}</text>')
        for column, count in enumerate(of):
            title = f"{name}: {count} of {2**column} to {2 ** (column + 1)} ns"
            place = f'x="{LEFT + column * CELL}" y="{y}" width="{CELL - 1}" height="{CELL - 1}"'
            light = 97 - round(60 * count / max(1, of.max()))
            out.append(f'<rect {place} fill="hsl(210,70%,{light}%)"><title>{html.escape(title)}</title></rect>')
    return "\n".join([*out, "</svg>\n"])


def main() -> None:
    """Print a line for each program, and write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", nargs="?", default="perf.data")
    parser.add_argument("-o", "--output", default="latency.svg", help="the picture (default: latency.svg)")
    options = parser.parse_args()
    with perf_data.open(options.file) as reader:
        woken = tasks(reader, "sched:sched_wakeup", "pid", "comm")
        switched = tasks(reader, "sched:sched_switch", "next_pid", "next_comm")
    waits, names = latencies(woken, switched)
    known, of, counts = np.unique(names, return_inverse=True, return_counts=True)
    print(f"{'program':16} {'wakeups':>8} {'median':>12} {'99 %':>12} {'longest':>12}")
    rows = {}
    for index in np.argsort(-counts, kind="stable")[:SHOWN]:
        name, own = known[index].decode(errors="replace"), waits[of == index]
        median, most, longest = (f"{value / 1000:.1f} µs" for value in (*np.percentile(own, [50, 99]), own.max()))
        print(f"{name:16} {len(own):8} {median:>12} {most:>12} {longest:>12}")
        rows[name] = np.bincount(np.minimum(np.log2(np.maximum(own, 1)).astype(int), BINS - 1), minlength=BINS)
    Path(options.output).write_text(picture(rows))
    print(f"{len(waits)} wakeups: {options.output}")


if __name__ == "__main__":
    main()

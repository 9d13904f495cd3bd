"""Print the tracepoints that are hit on any CPU, with their fields: ``trace.py EVENT…``. Needs root, and tracefs.

An event is ``sched:sched_switch``, or with a filter of the kernel's syntax ``"sched:sched_switch if prev_pid == 1"``.
"""

import argparse
import contextlib
import select
import sys
import time

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ioctls, perf_event_open, records, ring, targets

SAMPLE_TYPE = b.PERF_SAMPLE_ID | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CPU | b.PERF_SAMPLE_RAW


def show(row, form, raw):
    """Print a sample: its thread, CPU and time in seconds, and the fields of its tracepoint; char arrays come as bytes."""
    fields = {name: value for name, value in form.decode(raw).items() if not name.startswith("common_")}
    texts = [f"{k}={v.decode(errors='replace') if isinstance(v, bytes) else v}" for k, v in fields.items()]
    print(f"{row.tid:>7} [{row.cpu:03}] {row.time / 1e9:.6f} {form.system}:{form.name}:", *texts, flush=True)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("-d", "--duration", type=float, default=float("inf"), help="seconds")
parser.add_argument("event", nargs="+")
args = parser.parse_args()
pages, poll, attrs, formats, lost = [], select.poll(), {}, {}, 0
for event in args.event:
    name, _, condition = event.partition(" if ")
    attr = events.attr(name, sample_period=1, sample_type=SAMPLE_TYPE, sample_id_all=1)
    form = events.tracepoint_format(*name.split(":"))
    for cpu in targets.online_cpus():
        fd = perf_event_open(attr, -1, cpu)
        try:
            if condition:
                ioctls.set_filter(fd, condition)
        except OSError as error:
            sys.exit(f"{event}: {events.explain_filter(*name.split(':'), condition) or error}")
        attrs[ioctls.id(fd)], formats[ioctls.id(fd)] = attr, form
        pages.append(ring.map(fd, 64))
        poll.register(fd, select.POLLIN)

buffer, end = bytearray(sum(page.data_size for page in pages)), time.monotonic() + args.duration
print(f"tracing {', '.join(args.event)}", file=sys.stderr)
with contextlib.suppress(KeyboardInterrupt):
    while time.monotonic() < end:
        data = memoryview(buffer)[: ring.drain_into(pages, buffer)]
        rows = records.parse(data, attrs, all_records=True)
        rows.sort_by_time()
        for row in rows:
            if row.type == b.PERF_RECORD_SAMPLE:
                show(row, formats[row.id], records.raw(data, row))
            elif row.type == b.PERF_RECORD_LOST:
                lost += records.at(data, row.offset).lost
        poll.poll(100)
print(f"{lost} records lost", file=sys.stderr)

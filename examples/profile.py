"""Sample where a process and its children spend their time: ``profile.py (-p PID | -- COMMAND …)``.

Writes folded stacks, profile.folded, and a flame graph, profile.svg. Names of functions need pyelftools; their callers
are found by frame pointers, which compilers leave out unless told -fno-omit-frame-pointer.
"""

import argparse
import bisect
import collections
import contextlib
import functools
import os
import re
import select
import time
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from flamegraph import flame_graph

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ioctls, perf_event_open, records, ring, targets

SAMPLE_TYPE = b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CALLCHAIN
SIDE_BAND = {"inherit": 1, "mmap": 1, "mmap2": 1, "comm": 1, "comm_exec": 1, "task": 1, "sample_id_all": 1}
comms = {}  # tid -> name
maps = collections.defaultdict(list)  # pid -> [(start, end, offset in the file, path)], the newest last
maps[0] = [(0, 2**64, 0, "/proc/kallsyms")]


def threads_of(pid):
    """Yield the threads of a process and of its children; note their names and what they have mapped."""
    executable = r"^(\w+)-(\w+) ..x. (\w+) \S+ \S+ *(.*)"
    for start, end, offset, path in re.findall(executable, Path(f"/proc/{pid}/maps").read_text(), re.M):
        maps[pid].append((int(start, 16), int(end, 16), int(offset, 16), path))
    for tid in targets.threads(pid):
        comms[tid] = Path(f"/proc/{tid}/comm").read_text().strip()
        yield tid
        for child in Path(f"/proc/{pid}/task/{tid}/children").read_text().split():
            yield from threads_of(int(child))


@functools.cache
def symbols_of(path):
    """Return (start, size, name) of all functions: in ELF files by offset, in kallsyms and perf-PID.map by address."""
    found = [(0, 0, "")]
    with contextlib.suppress(OSError, ELFError, ValueError), open(path, "rb") as file:
        if path.startswith(("/proc/", "/tmp/perf-")):  # kallsyms has a letter for the size
            for start, size, name in (line.decode().split(None, 2) for line in file):
                found.append((int(start, 16), 1 << 20 if path == "/proc/kallsyms" else int(size, 16), name.strip()))
            return sorted(found)
        image = ELFFile(file)
        table = image.get_section_by_name(".symtab") or image.get_section_by_name(".dynsym")
        functions = [one for one in table.iter_symbols() if one["st_info"]["type"] == "STT_FUNC"] if table else []
        for load in image.iter_segments("PT_LOAD"):
            for one in functions:
                if 0 <= (at := one["st_value"] - load["p_vaddr"]) < load["p_filesz"]:
                    found.append((at + load["p_offset"], one["st_size"] or 1, one.name))
    return sorted(found)


def name_of(pid, address):
    """Return the name of the function at *address*, in what a process has mapped now; pid 0 is the kernel."""
    for start, end, offset, path in reversed(maps[pid]):
        if start <= address < end:
            for file, place in ((path, address - start + offset), (f"/tmp/perf-{pid}.map", address)):
                symbols = symbols_of(file)
                first, size, name = symbols[bisect.bisect(symbols, (place, 2**64)) - 1]
                if place < first + size:
                    return name if pid else f"{name}_[k]"
            return f"[{os.path.basename(path).strip('[]')}]"
    return "[unknown]"


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("-p", "--pid", type=int)
parser.add_argument("-F", "--frequency", type=int, default=99, help="samples per second of CPU time")
parser.add_argument("-d", "--duration", type=float, default=float("inf"), help="seconds")
parser.add_argument("command", nargs="*")
args = parser.parse_args()
if not args.pid and not args.command:
    parser.error("give -p PID or -- COMMAND")
command = targets.Command(args.command) if args.command else None
tids = [command.pid] if command else list(threads_of(args.pid))
on_exec = {"disabled": bool(command), "enable_on_exec": bool(command)}
for event in ("cycles", "cpu-clock", "cycles:u", "cpu-clock:u"):  # without a PMU; where the kernel is not to be seen
    attr = events.attr(event, sample_freq=args.frequency, sample_type=SAMPLE_TYPE, **SIDE_BAND, **on_exec)
    with contextlib.suppress(OSError):
        os.close(perf_event_open(attr))
        break

pages, poll, alive, data = [], select.poll(), set(), bytearray()
for cpu in targets.online_cpus():
    output = None  # an inherited event may have a ring only if it is on one CPU: the events of a CPU share one
    for tid in tids:
        with contextlib.suppress(ProcessLookupError):  # the thread has ended meanwhile
            alive.add(fd := perf_event_open(attr, tid, cpu))
            poll.register(fd, select.POLLIN)
            if output is None:
                pages.append(ring.map(output := fd, 64))
            else:
                ioctls.set_output(fd, output)
if command:
    command.start()
buffer, end = bytearray(sum(page.data_size for page in pages)), time.monotonic() + args.duration
with contextlib.suppress(KeyboardInterrupt):
    while alive and time.monotonic() < end:
        data += memoryview(buffer)[: ring.drain_into(pages, buffer)]
        for fd, what in poll.poll(100):
            if what & select.POLLHUP:  # the thread has ended, and all that it forked
                poll.unregister(fd)
                alive.remove(fd)
data += memoryview(buffer)[: ring.drain_into(pages, buffer)]

stacks, lost = collections.Counter(), 0
rows = records.parse(data, attr, all_records=True)
rows.sort_by_time()
for row in rows:
    one = records.at(data, row.offset)
    if row.type == b.PERF_RECORD_SAMPLE:
        names, pid = [], row.pid
        for address in records.callchain(data, row):
            if address >= b.PERF_CONTEXT_MAX:
                pid = 0 if address == b.PERF_CONTEXT_KERNEL else row.pid
            else:  # a call may be the last of its function: the address to return to is then the next function's
                names.append(name_of(pid, address - bool(names)).replace(";", ":"))
        stacks[";".join([comms.get(row.tid, "?"), *reversed(names)])] += 1
    elif row.type == b.PERF_RECORD_MMAP2:
        maps[one.pid].append((one.addr, one.addr + one.len, one.pgoff, os.fsdecode(records.name(one))))
    elif row.type == b.PERF_RECORD_COMM:
        comms[one.tid] = os.fsdecode(records.name(one))
        if row.misc & b.PERF_RECORD_MISC_COMM_EXEC:
            maps[one.pid] = []
    elif row.type == b.PERF_RECORD_FORK:  # of a thread, too
        comms[one.tid], maps[one.pid] = comms.get(one.ptid, "?"), maps[one.ppid].copy()
    elif row.type == b.PERF_RECORD_LOST:
        lost += one.lost
Path("profile.folded").write_text("".join(f"{stack} {count}\n" for stack, count in stacks.items()))
Path("profile.svg").write_text(flame_graph(stacks))
print(f"{sum(stacks.values())} samples of {event}, {lost} records lost: profile.folded, profile.svg")

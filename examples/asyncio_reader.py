"""Read the rings of a command with asyncio while it runs: ``asyncio_reader.py COMMAND …``. No privilege needed.

Every tenth of a second it prints how many page faults there were, and on how many different pages.
"""

import asyncio
import contextlib
import mmap
import os
import sys

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, perf_event_open, records, ring, targets

attr = events.attr("page-faults:u", sample_period=1, sample_type=b.PERF_SAMPLE_ADDR, wakeup_events=64)
attr.inherit = attr.disabled = attr.enable_on_exec = 1


async def main(argv):
    """Sample a command, and print what there is so far."""
    loop, faults, pages = asyncio.get_running_loop(), 0, set()
    with targets.Command(argv) as command:
        fds = [perf_event_open(attr, command.pid, cpu) for cpu in targets.online_cpus()]
        rings = [ring.map(fd, data_pages=64) for fd in fds]
        buffer = bytearray(sum(page.data_size for page in rings))

        def drain():  # all rings whole, as a wait without a drain would not end
            nonlocal faults
            for sample in records.parse(memoryview(buffer)[: ring.drain_into(rings, buffer)], attr):
                faults += 1
                pages.add(sample.addr // mmap.PAGESIZE)

        async def report():
            while True:
                await asyncio.sleep(0.1)
                print(f"{faults} page faults, {len(pages)} pages", flush=True)

        for fd in fds:
            loop.add_reader(fd, drain)
        drain()
        command.start()
        reports = asyncio.create_task(report())
        status = await asyncio.to_thread(command.wait)
        reports.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reports
        for fd in fds:
            loop.remove_reader(fd)
            os.close(fd)
        drain()
    print(f"{argv[0]} ended with status {status}: {faults} page faults, {len(pages)} pages")


if len(sys.argv) < 2:
    sys.exit(__doc__)
asyncio.run(main(sys.argv[1:]))

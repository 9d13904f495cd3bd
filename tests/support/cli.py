"""The command line as a process: run to its end, or watched while it counts."""

import contextlib
import json
import os
import select
import subprocess
import sys

CLI = [sys.executable, "-m", "perf_event_open_sys"]
# Says that it runs, then waits: the shell replaces itself, so that there is one process.
SLEEPER = ["sh", "-c", "echo $$; exec sleep 60"]


def run(*arguments, **options):
    """Run the command line to its end."""
    return subprocess.run([*CLI, *arguments], **({"capture_output": True, "text": True} | options))


def json_rows(*arguments, **options):
    """Return the rows of ``stat --json``, by event."""
    return {row["event"]: row for row in json.loads(run("stat", "--json", *arguments, **options).stderr)["events"]}


@contextlib.contextmanager
def counting(*arguments, command=SLEEPER, subcommand="stat", **options):
    """Run ``stat`` of a command that has begun: give its process, and the command's pid; 0 if it has ended already."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([*CLI, subcommand, *arguments, "--", *command], **(pipes | options)) as process:
        try:
            yield process, int(process.stdout.readline() or 0)
        finally:
            process.kill()


def gone(pid):
    """Wait for the end of a process that is no child of ours; tell whether it came within ten seconds."""
    if not pid:
        return True
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], 10)[0])
    finally:
        os.close(fd)

"""Work for events to count: page faults of this process, and child processes that begin when the test says so."""

import contextlib
import mmap
import subprocess
import sys
from pathlib import Path

from .machine import PAGE_SIZE

# A child that faults pages in until its standard input is closed.
PRODUCER = "import select\nwhile not select.select([sys.stdin], [], [], 0)[0]:\n    fault(500)"


def touch(area, pages):
    """Write to each of the first *pages* pages of a mapping: a page fault each where they are not there yet."""
    area[: pages * PAGE_SIZE : PAGE_SIZE] = bytes(pages)


def fault(pages):
    """Cause *pages* page faults in user space, one a page."""
    with mmap.mmap(-1, pages * PAGE_SIZE) as area:
        area.madvise(mmap.MADV_NOHUGEPAGE)
        touch(area, pages)


@contextlib.contextmanager
def waiting(command):
    """Start a shell that runs *command* when it has read a line; yield the process, and end it."""
    process = subprocess.Popen(
        ["sh", "-c", f"echo; read line; {command}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        process.stdout.readline()
        yield process


def let_go(process):
    """Send the line that the shell waits for, and wait for its end."""
    process.communicate("\n")
    assert process.returncode == 0


@contextlib.contextmanager
def child(script):
    """Run *script* in another Python, once started: yield (its process, a function that lets it go and waits).

    The script begins when that function is called; it has ``os``, ``mmap``, ``ctypes`` and ``fault``.
    """
    tests = str(Path(__file__).parent.parent)
    prelude = f"import ctypes, mmap, os, sys; sys.path.insert(0, {tests!r}); from support.workloads import fault"
    code = f"{prelude}\nprint(end='.', flush=True); sys.stdin.read(1)\n{script}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(1) == b"."

        def go():
            start(process)
            assert process.wait(60) == 0

        try:
            yield process, go
        finally:
            if process.poll() is None:
                process.kill()


def start(process):
    """Let a child go, and do not wait for it."""
    process.stdin.write(b"\n")
    process.stdin.flush()

"""Calls in a forked child: as another user, under a filter, or where they may end the process.

The child does not exec, so the user it becomes need not be able to read the interpreter's files.
"""

import ast
import ctypes
import importlib
import io
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import perf_event_open_sys

PR_SET_DUMPABLE = 4
ORDINARY = 65534


def in_child(function, *arguments, setup=None):
    """Call *function* in a child process, after *setup*: return what it returns, raise what it raises.

    Raises:
        ChildProcessError: a signal killed the child; the message names it.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            try:
                if setup:
                    setup()
                outcome = (True, function(*arguments))
            except BaseException as error:  # the parent raises it
                outcome = (False, error)
            with open(writing, "wb") as pipe:
                pickle.dump(outcome, pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise ChildProcessError(f"the child was killed by {signal.Signals(os.WTERMSIG(status)).name}")
    assert data, "what the child returned or raised cannot be pickled"
    succeeded, outcome = pickle.loads(data)
    if succeeded:
        return outcome
    raise outcome


def become_ordinary():
    """Give up root, its groups and capabilities, for good; an ordinary user stays who he is."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(ORDINARY, ORDINARY, ORDINARY)
        os.setresuid(ORDINARY, ORDINARY, ORDINARY)
        # The kernel lets nobody look into a process that changed its user: not even itself, in /proc/self.
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def as_user(function, *arguments):
    """Call *function* in a child that is an ordinary user: return what it returns, raise what it raises."""
    import_everything()
    return in_child(function, *arguments, setup=become_ordinary)


def import_everything():
    """Import all that the package imports anywhere: a child that gave up root may not reach the files any more."""
    root = Path(perf_event_open_sys.__file__).parent
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        if parts[-1] not in ("__main__", "__init__"):
            importlib.import_module(".".join(parts))
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]  # type: ignore[list-item]
            for name in names:
                if name.split(".")[0] in sys.stdlib_module_names:
                    importlib.import_module(name)


def captured(main, *arguments):
    """Call *main*: a CompletedProcess with its status and what it, and its children, wrote. For a child process."""
    files = [os.memfd_create("stdout"), os.memfd_create("stderr")]
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w", closefd=False)) for number in (1, 2))
    try:
        status = main(*arguments) or 0
    except SystemExit as end:
        status = end.code or 0
        if isinstance(status, str):
            sys.stderr.write(f"{status}\n")
            status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    written = [os.pread(file, os.fstat(file).st_size, 0).decode() for file in files]
    return subprocess.CompletedProcess(arguments, status, *written)


def rest_of(terminal):
    """Read what is written to a pseudoterminal until its other side is closed; close this side, and return it."""
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1000)
        except OSError:  # EIO: the other side is closed
            break
    os.close(terminal)
    return shown

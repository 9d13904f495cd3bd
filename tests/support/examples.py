"""Run the programs under examples/, each from a directory of the caller's."""

import contextlib
import importlib.machinery
import re
import signal
import subprocess
import sys
import threading
import types

from .compilers import TESTS

EXAMPLES = TESTS.parent / "examples"


def module(name):
    """Return an example as a module of its own, new at each call."""
    made = types.ModuleType(name)
    importlib.machinery.SourceFileLoader(name, str(EXAMPLES / f"{name}.py")).exec_module(made)
    return made


def matched(pattern, text):
    """Return the match of all of *text*, of which there must be one."""
    found = re.fullmatch(pattern, text)
    assert found, text
    return found


def command_of(name, *arguments):
    """Return the command that runs an example."""
    return [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]


def run(name, *arguments, cwd, **options):
    """Run an example to its end."""
    return subprocess.run(command_of(name, *arguments), capture_output=True, text=True, cwd=cwd, **options)


@contextlib.contextmanager
def started(name, *arguments, cwd):
    """Start an example; at the end, interrupt it as from the keyboard: it ends well.

    After a minute it is killed, so that a test that waits for a line gets none instead of waiting for ever.
    """
    command, pipe = command_of(name, *arguments), subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=cwd) as process:
        limit = threading.Timer(60, process.kill)
        limit.start()
        try:
            yield process
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate()
            assert process.returncode == 0, errors
        finally:
            limit.cancel()
            process.kill()

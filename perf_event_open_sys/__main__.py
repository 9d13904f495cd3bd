"""``python -m perf_event_open_sys``: what this machine lets be counted, its events by name, and counts of a program."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TextIO

SUBCOMMANDS = {
    "check": "what this machine lets this user count (the default)",
    "list": "the events of this machine, in the syntax of stat -e",
    "record": "sample the events of a command, of processes, threads or CPUs into a file for perf report",
    "stat": "count the events of a command, of processes, threads, CPUs or cgroups",
}
FAILED, CLOSED_PIPE, INTERRUPTED = 2, 128 + 13, 128 + 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    name = words[0] if words else "check"
    status = FAILED
    try:
        if name in ("-h", "--help"):
            rows = "".join(f"  {subcommand:8}{text}\n" for subcommand, text in SUBCOMMANDS.items())
            print(f"{_usage()}\n\nCount events of Linux's perf.\n\n{rows}\nEach has its own --help.")
            status = 0
        elif name == "--version":
            from . import HEADERS_VERSION, __version__

            print(f"perf-event-open-sys {__version__} (headers of Linux {HEADERS_VERSION})")
            status = 0
        elif name not in SUBCOMMANDS:
            _complain(f"{_usage()}\nerror: there is no subcommand {name!r}")
        elif name != "stat" and sys.stdout is None:
            _complain(f"{name}: standard output is closed")
        else:
            status = _run(name, words[1:])
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the pipe has gone, as in `list | head -1`
        status = CLOSED_PIPE
    except KeyboardInterrupt:
        status = INTERRUPTED
    except (OSError, ValueError, ArithmeticError, BufferError, EOFError, MemoryError) as error:
        usage = getattr(error, "usage", "")  # only a UsageError has one
        text = error.strerror if isinstance(error, OSError) and error.filename is None else None
        _complain(f"{usage}\n{name}: error: {error}" if usage else f"{name}: {text or error}")
        status = FAILED
    for stream in (sys.stdout, sys.stderr):
        _give_up_what_cannot_be_written(stream)
    return status


def _run(name: str, arguments: list[str]) -> int:
    # Only this subcommand's module is imported: each takes some milliseconds.
    module = __import__(f"{__package__}._cli.{name}", fromlist=["run"])
    status: int = module.run(arguments)
    return status


def _usage() -> str:
    from ._cli.options import program

    return f"usage: {program()} [-h] [--version] [{' | '.join(SUBCOMMANDS)}] ..."


def _complain(text: str) -> None:
    """Print to standard error, or, if that is closed, to standard output."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return


def _give_up_what_cannot_be_written(stream: TextIO | None) -> None:
    """Flush a stream; if that fails, point it to /dev/null, since the interpreter would flush it again at its exit."""
    if not stream:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run_and_exit() -> NoReturn:
    """Run the command line and end the process, without the interpreter's clean-up: main() has flushed the streams."""
    os._exit(main())


if __name__ == "__main__":
    run_and_exit()

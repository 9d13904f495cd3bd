"""``python -m perf_event_open_sys``: what this machine lets be counted, its events by name, and counts of a program."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from functools import partial


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments if arguments is not None else sys.argv[1:] or ["check"])
    try:
        if options.subcommand == "stat":
            return _stat(parser, options)
        if options.subcommand == "check":
            from ._cli.check import check

            status = check(options)
        else:
            from ._cli.list import list_events

            status = list_events(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # as of `list | head`; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) and error.filename is None else error
        print(f"{options.subcommand}: {text}", file=sys.stderr)
        return 2


class _Help(argparse.HelpFormatter):
    """The same at any width of the terminal: asking for it costs every start some milliseconds."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100)


def _parser() -> argparse.ArgumentParser:
    prog = "python -m perf_event_open_sys"
    parser = argparse.ArgumentParser(prog, description="Count events of Linux's perf.", formatter_class=_Help)
    commands = parser.add_subparsers(dest="subcommand", metavar="check | list | stat", prog=prog, required=True)
    add_command = partial(commands.add_parser, formatter_class=_Help)
    add_command("check", help="what this machine lets this user count (the default)")
    listing = add_command("list", help="the events of this machine, in the syntax of stat -e")
    listing.add_argument("glob", nargs="?", default="*", metavar="GLOB", help="only those that match, or contain this")
    text = "count the events of a command, of processes, or of all CPUs"
    stat = add_command("stat", help=text, description=f"C{text[1:]}.")
    add = stat.add_argument
    add("-e", dest="events", metavar="EVENT,...", action="append", help="events in perf's syntax; {a,b} is a group")
    whom = stat.add_mutually_exclusive_group()
    whom.add_argument("-p", dest="pids", metavar="PID,...", type=_pids, default=[], help="processes that run already")
    whom.add_argument("-a", dest="all_cpus", action="store_true", help="all that runs on any CPU")
    add("-I", dest="interval", metavar="MS", type=_positive, default=0, help="print every so many milliseconds")
    add("-r", dest="repeat", metavar="N", type=_positive, default=1, help="run the command N times; print the means")
    add("--json", action="store_true", help="print JSON; with -I, a line for each interval")
    add("-o", dest="output", metavar="FILE", help="print to this file, not to standard error")
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="the program and its arguments, best after --")
    return parser


def _stat(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from ._cli.stat import Stat

    if options.command[:1] == ["--"]:  # argparse leaves it to us
        del options.command[0]
    if not (options.command or options.pids or options.all_cpus):
        parser.error("stat needs a COMMAND, -p PID or -a")
    if options.pids and options.command:
        parser.error("stat takes a COMMAND or -p, not both")
    if options.repeat > 1 and (options.interval or not options.command):
        parser.error("stat repeats a COMMAND, and without -I")
    with open(options.output, "w") if options.output else nullcontext(sys.stderr) as output:
        return Stat(options, output).main()


def _pids(text: str) -> list[int]:
    return [_positive(pid) for pid in text.split(",")]


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"not a positive number: {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

"""``record``: sample events of a command, of processes and threads, or of CPUs, into a perf.data file."""

from __future__ import annotations

import os
import stat
import sys
import time

from .. import __version__, perf_data
from .._native import lib
from ..targets import Command
from . import whom
from .counter import refuse
from .ending import Ending, started
from .options import Option, Subcommand, positive
from .recorder import Recorder
from .sampling import DEFAULT_HZ, DEFAULTS, Sampling
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import SimpleNamespace

    from .counter import _Target

PROGRESS_S = 1.0


def _pages(text: str) -> int:
    """Read the size of a ring: a number of pages, or of bytes with K, M or G behind it."""
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper())
    pages = -(-positive(text[:-1]) * unit // os.sysconf("SC_PAGE_SIZE")) if unit else positive(text)
    if pages & (pages - 1) or pages > 1 << 30:
        raise ValueError(f"not a power of two pages: {text!r}")
    return pages


def _seconds(text: str) -> float:
    whole, _, fraction = text.partition(".")
    if not all(part.isascii() and part.isdecimal() for part in (whole or "0", fraction or "0")) or len(text) > 18:
        raise ValueError(f"not a number of seconds: {text!r}")
    if not (seconds := float(text if whole or fraction else "0")):
        raise ValueError(f"not a number of seconds above 0: {text!r}")
    return seconds


def _call_graph(text: str) -> str:
    if text != "fp":
        raise ValueError(f"there is only fp, by frame pointers, and not {text!r}")
    return text


COMMAND = Subcommand(
    "record",
    "Sample events of a command, processes, threads or CPUs into a file for perf report",
    [
        Option("-e --event", "events", "EVENT,...", "events in perf's syntax; {a,b} is a group", many=True),
        Option(
            "-F --freq", "frequency", "HZ", f"samples in a second of each event ({DEFAULT_HZ})", positive, default=0
        ),
        Option("-c --count", "count", "COUNT", "a sample each time that an event has happened so often", positive),
        Option("-g", "graph", text="the functions that called, too (--call-graph fp)"),
        Option("--call-graph", "call_graph", "fp", "the functions that called, found by frame pointers", _call_graph),
        Option("-d --data", "data", text="the addresses of the data, too"),
        *whom.OPTIONS,
        Option(
            "-m --mmap-pages", "pages", "PAGES", "size of each CPU's ring: 2^n pages, or as in 4M", _pages, default=0
        ),
        Option("-o --output", "output", "FILE", "the file; one that exists becomes FILE.old", default="perf.data"),
        Option("--duration", "duration", "S", "end after so many seconds, and the command too", _seconds, default=0.0),
        Option("-q --quiet", "quiet", text="print errors only"),
        Option("-v --verbose", "verbose", text="print the attrs of the events"),
    ],
    "[--] COMMAND ...",
)


def run(arguments: list[str]) -> int:
    """Run ``record`` with these arguments; return the exit status."""
    options = COMMAND.parse(arguments)
    if options is None:
        return 0
    whom.given(COMMAND, options)
    if options.count and options.frequency:
        raise COMMAND.error("-F and -c exclude each other")
    if options.output == "-":
        raise COMMAND.error("-o -: a perf.data file is not written in order, as a pipe would need it: name a file")
    options.call_graph = options.call_graph or ("fp" if options.graph else "")
    with Watch() as watch:
        return Record(options, watch).main()


class Record:
    """The run of one ``record`` command line."""

    def __init__(self, options: SimpleNamespace, watch: Watch) -> None:
        self.options, self.watch = options, watch
        self.of_cpus = bool(options.all_cpus or options.cpus)
        self.of_command = not (self.of_cpus or options.pids or options.tids)
        self.ending = Ending(watch, None, None)
        self.shows_progress = not options.quiet and sys.stderr is not None and sys.stderr.isatty()

    def main(self) -> int:
        """Record until the end; return the exit status."""
        command = Command(self.options.rest) if self.options.rest else None
        limit = whom.FileLimit()
        try:
            limit.raise_to_maximum()  # the command is forked already, with the limit that it was given
            recorder = self._opened(command)
            try:
                with Destination(self.options.output) as destination:
                    status = self._record(recorder, command, destination)
            finally:
                recorder.close()
        finally:
            limit.restore()
            if command:
                command.close()
        return 128 + self.ending.signal if self.ending.signal else 0 if self.ending.timed_out else status

    def _opened(self, command: Command | None) -> Recorder:
        """Open the events that are asked for, or the first of the default ones that this machine has, and map the rings."""
        targets = self._targets(command)
        sampling = Sampling(self.options, of_cpus=self.of_cpus, of_command=self.of_command)
        texts = [",".join(self.options.events)] if self.options.events else DEFAULTS
        for text in texts:
            recorder = Recorder(sampling.groups(text), self.options.pages)
            try:
                recorder.open(targets)
                if text != texts[-1] and any(counter.reason and not counter.refusal for counter in recorder.counters):
                    recorder.close()
                    continue
                refuse("record", [counter for counter in recorder.counters if counter.reason])
                recorder.map()
            except BaseException:
                recorder.close()
                raise
            break
        if self.options.verbose:
            from ..bindings import dump

            for counter in recorder.counters:
                print(f"{counter.name}:\n{dump(counter.event.attr)}", file=sys.stderr)
        return recorder

    def _targets(self, command: Command | None) -> list[_Target]:
        """Return what each event is opened on: pid, cpu and flags, each time."""
        pids = [whom.ALL] if self.of_cpus else whom.tids(self.options)
        if self.of_command and command:
            pids = [command.pid]
        return [(pid, cpu, lib.PERF_FLAG_FD_CLOEXEC) for pid in pids for cpu in whom.cpus(self.options)]

    def _record(self, recorder: Recorder, command: Command | None, destination: Destination) -> int:
        """Let the command run, and write what is sampled until the end; return the command's exit status."""
        features: dict[str | int, object] = {
            "version": f"perf_event_open_sys {__version__}",
            "group_desc": recorder.group_desc() or None,
        }
        with destination.create(recorder.events(), features) as writer:
            self._begin(recorder, writer)
            if command and (status := started(command, "record")):
                return status
            destination.keep()
            try:
                self._watch(recorder, writer, command)
                recorder.disable()
                recorder.drain(writer)
            finally:
                self.ending.after_error()
                self._print_totals(recorder, writer)
        return command.wait() if command else 0

    def _begin(self, recorder: Recorder, writer: perf_data.Writer) -> None:
        """Write what runs already, and enable the events; those of a command are enabled by its exec."""
        if self.of_command:
            writer.synthesize_kernel()
            return
        *_, side_band = recorder.counters
        side_band.enable()
        for pid in [None] if self.of_cpus else whom.pids(self.options):
            writer.synthesize(pid)
        for counter in recorder.counters:
            counter.enable()

    def _watch(self, recorder: Recorder, writer: perf_data.Writer, command: Command | None) -> None:
        """Write what comes until the end."""
        options, began = self.options, time.perf_counter()
        self.ending = Ending(self.watch, command, began + options.duration if options.duration else None)
        self.watch.watch([command.pid] if command else options.pids)
        self.watch.watch([] if command else options.tids, threads=True)
        self.watch.watch_events(recorder.counters[0].open_fds())
        of_processes = bool(command or options.pids or options.tids)  # the end of these is the end
        shown = began + PROGRESS_S if self.shows_progress else None
        while self.watch.living or not of_processes:
            self.watch.until(min((at for at in (shown, self.ending.deadline) if at is not None), default=None))
            recorder.drain(writer)
            if shown and time.perf_counter() >= shown:
                print(f"\r{_totals(writer, writer.lost)}\x1b[K", end="", file=sys.stderr, flush=True)
                shown = time.perf_counter() + PROGRESS_S
            if self.ending.is_now():
                break

    def _print_totals(self, recorder: Recorder, writer: perf_data.Writer) -> None:
        if not self.options.quiet and sys.stderr is not None:
            line = f"{_totals(writer, max(recorder.lost(), writer.lost))}: {self.options.output}"
            print(f"\r{line}\x1b[K" if self.shows_progress else line, file=sys.stderr)


def _totals(writer: perf_data.Writer, lost: int) -> str:
    return f"record: {writer.n_samples} samples in {_bytes(writer.size)}, {lost} lost"


def _bytes(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


class Destination:
    """The file that is written. Until :meth:`keep` it has another name, and is removed if that is never called.

    So a file that exists is not touched where nothing is recorded; otherwise it becomes FILE.old, as by perf.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        is_file = stat.S_ISREG(os.lstat(path).st_mode) if os.path.lexists(path) else bool(path)
        self._first_name = f"{path}.{os.getpid()}" if is_file else ""
        self._temporary = ""  # the first name, once the file is there

    def create(self, events: list[perf_data.Event], features: dict[str | int, object]) -> perf_data.Writer:
        """Create the file."""
        writer = perf_data.create(self._first_name or self.path, events, features=features)
        self._temporary = self._first_name
        return writer

    def keep(self) -> None:
        """Give the file its name."""
        if self._temporary:
            if os.path.lexists(self.path) and os.path.getsize(self.path):
                os.replace(self.path, f"{self.path}.old")
            os.replace(self._temporary, self.path)
            self._temporary = ""

    def __enter__(self) -> Destination:
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, OSError) and error.filename == self._first_name:
            error.filename = self.path
        if self._temporary:
            os.unlink(self._temporary)

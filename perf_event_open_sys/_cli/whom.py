"""What a command line asks to look at: a command, processes, threads or CPUs."""

from __future__ import annotations

from .._files import parse_cpu_list
from ..targets import online_cpus, process_of, threads
from .options import Option, positive_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import SimpleNamespace

    from .options import Subcommand

ALL = -1  # pid or cpu of perf_event_open: any
OPTIONS = [
    Option("-p --pid", "pids", "PID,...", "processes that run already", positive_list, default=[]),
    Option("-t --tid", "tids", "TID,...", "threads that run already", positive_list, default=[]),
    Option("-a --all-cpus", "all_cpus", text="all that runs on any CPU"),
    Option("-C --cpu", "cpus", "CPUS", "all that runs on these CPUs, as in 0-3,8", parse_cpu_list, default=()),
]


def given(subcommand: Subcommand, options: SimpleNamespace) -> list[str]:
    """Return the flags of what is asked for, beside a command; those of CPUs and cgroups go together, others do not.

    Raises:
        UsageError: nothing is asked for, or what does not go together.
    """
    values = {"-p": options.pids, "-t": options.tids, "-a": options.all_cpus, "-C": options.cpus}
    if hasattr(options, "cgroups"):
        values["-G"] = options.cgroups
    flags = [flag for flag, value in values.items() if value]
    if not (options.rest or flags):
        *others, last = values
        raise subcommand.error(f"it needs a COMMAND, or one of {', '.join(others)} and {last}")
    of_processes = {"-p", "-t"} & set(flags)
    if len(of_processes) + (len(flags) > len(of_processes)) > 1:
        raise subcommand.error(f"{' and '.join(flags)} exclude each other")
    return flags


def tids(options: SimpleNamespace) -> list[int]:
    """Return the threads of -t, or of the processes of -p, each once.

    Raises:
        ProcessLookupError: there is no such process.
    """
    found = options.tids or [tid for pid in options.pids for tid in threads(pid)]
    return list(dict.fromkeys(found))


def pids(options: SimpleNamespace) -> list[int]:
    """Return the processes of -p, or those of the threads of -t, each once."""
    if options.pids:
        return list(dict.fromkeys(options.pids))
    found = (process_of(tid) for tid in options.tids)
    return list(dict.fromkeys(pid for pid in found if pid))


def cpus(options: SimpleNamespace) -> tuple[int, ...]:
    """Return the CPUs of -C, or all that are online.

    Raises:
        ValueError: a CPU is not online.
    """
    online = online_cpus()
    absent = [cpu for cpu in options.cpus if cpu not in online]
    if absent:
        raise ValueError(f"CPU {', '.join(map(str, absent))} is not online: {', '.join(map(str, online))} are")
    return options.cpus or online


class FileLimit:
    """The number of files that this process may open. Events have a file for each of their targets.

    A command keeps the limit that it was forked with: raise it after the fork.
    """

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def raise_to_maximum(self) -> None:
        """Set the limit to the highest that this process may set."""
        import resource

        self._before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._before[1], self._before[1]))

    def restore(self) -> None:
        """Set the limit to what it was."""
        if self._before:
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, self._before)

"""What a command line asks to look at: which options go together, and the threads, processes and CPUs they mean."""

import os
import resource
import threading
from types import SimpleNamespace

import pytest
from support.workloads import child

from perf_event_open_sys._cli import record, stat, whom
from perf_event_open_sys._cli.options import UsageError
from perf_event_open_sys.targets import online_cpus

THERE = str(os.getpid())


def given(subcommand, arguments):
    """Return the flags that a subcommand finds in its arguments."""
    options = subcommand.parse(arguments)
    assert options
    return whom.given(subcommand, options)


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["x"], []),
        (["-p", THERE], ["-p"]),
        (["-t", THERE, "x"], ["-t"]),
        (["-a"], ["-a"]),
        (["-C", "0", "x"], ["-C"]),
        (["-G", "c"], ["-G"]),
        (["-a", "-C", "0", "-G", "c"], ["-a", "-C", "-G"]),
    ],
)
def test_what_may_be_asked_for(arguments, flags):
    """A command, processes, threads, or CPUs and cgroups; a command may run beside any of these."""
    assert given(stat.COMMAND, arguments) == flags
    if "-G" not in flags:
        assert given(record.COMMAND, arguments) == flags


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "1", "-t", "1"], "-p and -t exclude each other"),
        (["-p", "1", "-a"], "-p and -a exclude each other"),
        (["-t", "1", "-C", "0"], "-t and -C exclude each other"),
        (["-p", "1", "-t", "1", "-a", "x"], "-p and -t and -a exclude each other"),
        ([], "it needs a COMMAND, or one of -p, -t, -a and -C"),
    ],
)
def test_what_does_not_go_together(arguments, message):
    """Of processes, threads and CPUs there is one kind; and something there must be."""
    with pytest.raises(UsageError, match=f"^{message}$"):
        given(record.COMMAND, arguments)


def test_cgroups_are_a_choice_of_stat_alone():
    """Its usage names them, and they exclude processes."""
    with pytest.raises(UsageError, match=r"^it needs a COMMAND, or one of -p, -t, -a, -C and -G$"):
        given(stat.COMMAND, [])
    with pytest.raises(UsageError, match=r"^-p and -G exclude each other$"):
        given(stat.COMMAND, ["-p", "1", "-G", "c"])


def test_threads_and_processes_are_found_once_each():
    """-p means all threads of its processes; -t the processes of its threads, which may end meanwhile."""
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    with child("") as (process, _):
        other.start()
        try:
            me, it = os.getpid(), process.pid
            of_processes = SimpleNamespace(pids=[me, it, me], tids=[])
            found = whom.tids(of_processes)
            assert {me, other.native_id, it} <= set(found)
            assert len(set(found)) == len(found)
            assert whom.pids(of_processes) == [me, it]
            of_threads = SimpleNamespace(pids=[], tids=[other.native_id, me, it, other.native_id, 4194305])
            assert whom.tids(of_threads) == [other.native_id, me, it, 4194305]
            assert whom.pids(of_threads) == [me, it]
        finally:
            stop.set()
            other.join()


def test_cpus_are_those_of_the_option_or_all():
    """Each must be online; the error names those that are not, and all that are."""
    online = online_cpus()
    assert whom.cpus(SimpleNamespace(cpus=())) == online
    assert whom.cpus(SimpleNamespace(cpus=online[-1:])) == online[-1:]
    shown = ", ".join(map(str, online))
    with pytest.raises(ValueError, match=f"^CPU 4094, 4095 is not online: {shown} are$"):
        whom.cpus(SimpleNamespace(cpus=(*online[:1], 4094, 4095)))


def test_the_limit_of_open_files_is_raised_and_restored():
    """To the hard limit, and back to what it was; without having been raised it stays."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = whom.FileLimit()
    limit.restore()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        limit.raise_to_maximum()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        limit.restore()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft - 1, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

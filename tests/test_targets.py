"""CPUs, threads, and a command that is held before its exec."""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.cli import gone
from support.marks import needs_events
from support.processes import become_ordinary, in_child

import perf_event_open_sys
from perf_event_open_sys import counters, perf_event_open, targets
from perf_event_open_sys._files import parse_cpu_list
from perf_event_open_sys.targets import Command


def said(argv, **options):
    """What a command prints."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    with (
        open(reading, "rb") as pipe,
        Command(["sh", "-c", f'exec "$@" >/proc/self/fd/{writing}', "sh", *argv], **options) as command,
    ):
        os.close(writing)
        command.start()
        said = pipe.read()
        assert command.wait() == 0
    return said


def test_targets_is_imported_by_its_first_use():
    """It is an attribute of the package, and costs nothing to those who do not need it."""
    script = "import sys, perf_event_open_sys as p; print(f'{p.__name__}.targets' in sys.modules, p.targets.threads)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False <function threads")
    assert perf_event_open_sys.targets is targets


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-1\n", (0, 1)), ("", ()), ("\n", ()), ("8,0-3", (0, 1, 2, 3, 8)), (" 5 , 7-7", (5, 7)), ("1,1-2", (1, 2))],
)
def test_a_list_of_cpus_is_read_as_the_kernel_writes_it(text, cpus):
    """A list of CPUs is read with its newline or without; the numbers come sorted, each once."""
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["x", "1-", "-1", "3-1", "0,", "0x1", "1-2-3", "٣", "0-99999999999", "9" * 5000])
def test_nonsense_is_no_list_of_cpus(text):
    """A ValueError that quotes it, and no attempt at the numbers in between."""
    with pytest.raises(ValueError, match="no list of CPUs") as caught:
        parse_cpu_list(text)
    assert repr(text[:80]) in str(caught.value)


def test_online_cpus_are_those_of_sysfs():
    """As many as the machine says it has online."""
    assert len(targets.online_cpus()) == os.sysconf("SC_NPROCESSORS_ONLN")


def test_threads_of_a_process():
    """``threads`` gives all ids in order; the id of a thread that is no process is refused, and its process named."""
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        found = targets.threads(os.getpid())
        assert {os.getpid(), other.native_id} <= set(found)  # pytest may have a thread of its own
        assert list(found) == sorted(found)
        with pytest.raises(
            ProcessLookupError, match=f"{other.native_id} is no process, but a thread of process {os.getpid()}"
        ) as caught:
            targets.threads(other.native_id or 0)
    finally:
        stop.set()
        other.join()
    assert caught.value.errno == errno.ESRCH
    with pytest.raises(ProcessLookupError, match="there is no process 4194305") as caught:
        targets.threads(4194305)
    assert caught.value.errno == errno.ESRCH


def test_threads_of_a_process_with_colons_in_its_name():
    """A process may be named as a line of /proc/PID/status is written."""

    def named():
        with open("/proc/self/comm", "w") as file:
            file.write("Tgid:7:8")
        return targets.threads(os.getpid()) == (os.getpid(),)

    assert in_child(named)


def test_a_process_that_is_not_there_has_no_pidfd():
    """It is -1, which no file has."""
    assert targets.pidfd(4194305) == -1


@needs_events
def test_an_event_opened_on_a_held_command_counts_all_of_it():
    """With enable_on_exec it counts from the exec on, and nothing of the fork."""
    from perf_event_open_sys import events

    with Command(["true"]) as command:
        fd = perf_event_open(events.attr("page-faults:u", disabled=1, enable_on_exec=1), command.pid)
        try:
            assert counters.read(fd)[0].value == 0
            command.start()
            assert command.wait() == 0
            assert counters.read(fd)[0].value > 0
        finally:
            os.close(fd)
    assert command.rusage.ru_minflt > 0


@pytest.mark.parametrize(
    ("script", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 0", 0)]
)
def test_wait_gives_the_exit_status(script, status):
    """Or 128 and the signal's number; the same when it is asked for again."""
    with Command(["sh", "-c", script]) as command:
        command.start()
        assert command.rusage is None
        assert (command.wait(), command.wait()) == (status, status)
        command.send_signal(signal.SIGTERM)  # to nobody: the pid may be another process's by now


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["/nowhere/to/be/found"], errno.ENOENT),
        (["no-program-has-this-name"], errno.ENOENT),
        (["/nowhere to be found"], errno.ENOENT),
        (["/" + "long" * 2000], errno.ENAMETOOLONG),
        (["/etc/passwd/x"], errno.ENOTDIR),
        ([""], errno.ENOENT),
        (["/etc/passwd"], errno.EACCES),
        (["/"], errno.EACCES),
        (["true", "x" * 200_000], errno.E2BIG),
    ],
)
def test_start_raises_what_the_exec_says(argv, code):
    """The error of the exec itself, with the program's name; no process is left."""
    with Command(argv, env={"PATH": "/bin:/usr/bin"}) as command:
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            command.start()
        assert (caught.value.errno, caught.value.filename) == (code, argv[0])
        assert command.wait() == 127
        assert not os.path.exists(f"/proc/{command.pid}")


def test_a_directory_that_is_not_there_is_named():
    """If the working directory does not exist, the error names it, and not the program."""
    with Command(["true"], cwd="/nowhere") as command, pytest.raises(FileNotFoundError) as caught:
        command.start()
    assert caught.value.filename == "/nowhere"


def test_the_command_is_found_as_by_a_shell(tmp_path):
    """In the PATH of its own environment, what cannot be run being passed over."""
    for name, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name / "tool").chmod(mode)
    path = f"{tmp_path}/first:{tmp_path}/second:/bin:/usr/bin"
    assert said(["tool"], env={"PATH": path}) == b"second\n"
    assert said(["echo", "no PATH"], env={}) == b"no PATH\n"
    for path in (f"{tmp_path}/first:/nowhere", f"/nowhere:{tmp_path}/first"):
        with Command(["tool"], env={"PATH": path}) as command, pytest.raises(PermissionError):
            command.start()


def test_environment_and_directory_are_the_commands_own(tmp_path):
    """Strings, bytes and paths are taken alike."""
    (tmp_path / "tool").write_text('#!/bin/sh\necho "$A $B"; pwd\n')
    (tmp_path / "tool").chmod(0o755)
    env = {"A": "å", "B": "b", "PATH": "/bin:/usr/bin"}
    assert said(["./tool"], env=env, cwd=tmp_path).decode() == f"å b\n{tmp_path}\n"
    assert said([b"./tool"], env={k.encode(): v.encode() for k, v in env.items()}, cwd=os.fsencode(tmp_path))
    assert said([tmp_path / "tool"]).endswith(os.fsencode(os.getcwd() + "\n"))


@pytest.mark.parametrize(
    ("argv", "options", "error", "message"),
    [
        ([], {}, ValueError, "argv is empty"),
        ("true", {}, TypeError, "argv is a list of strings, the program first, and not str"),
        (b"true", {}, TypeError, "argv is a list of strings, the program first, and not bytes"),
        ([1], {}, TypeError, "not int"),
        (["true\0"], {}, ValueError, "embedded null byte in 'true"),
        (["true"], {"cwd": "a\0b"}, ValueError, "embedded null byte in 'a"),
        (["true"], {"env": {"A=B": "c"}}, ValueError, "no name of an environment variable: b'A=B'"),
        (["true"], {"env": {"": "c"}}, ValueError, "no name of an environment variable: b''"),
        (["true"], {"env": {"A": 1}}, TypeError, "not int"),
        (["true"], {"env": {"A": "\0"}}, ValueError, "embedded null byte"),
        (["true"], {"env": ["A=B"]}, AttributeError, "items"),
    ],
)
def test_nonsense_is_refused_before_the_fork(argv, options, error, message):
    """Wrong arguments are refused before the fork, so that no process is left."""
    with pytest.raises(error, match=message):
        Command(argv, **options)


def test_a_command_that_cannot_be_made_leaves_nothing():
    """A call without arguments is a TypeError and no more; one without free files leaves none open, and kills nobody."""
    with pytest.raises(TypeError):
        Command()  # type: ignore[call-arg]

    def without_files(n):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        before = os.listdir("/proc/self/fd")
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + n, hard))
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            Command(["true"])
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return len(os.listdir("/proc/self/fd")) - len(before)

    assert [in_child(without_files, n, setup=become_ordinary) for n in (1, 3)] == [0, 0]


def test_a_command_is_started_once():
    """A second start, and a wait before the first, are refused: they would block for ever."""
    with Command(["true"]) as command:
        with pytest.raises(ValueError, match="was not started"):
            command.wait()
        command.start()
        with pytest.raises(ValueError, match="was started before"):
            command.start()
    with pytest.raises(ValueError, match="is closed"):
        command.start()


@pytest.mark.parametrize("started", [False, True])
def test_the_end_of_the_block_leaves_no_process(started):
    """Held or running, the command is killed and waited for."""
    with Command(["sleep", "60"]) as command:
        if started:
            command.start()
    assert not os.path.exists(f"/proc/{command.pid}")


def test_a_command_that_is_killed_while_it_is_held():
    """start() of a held command that was killed raises nothing, and wait() gives 128 + the signal's number."""
    with Command(["true"]) as command:
        os.kill(command.pid, signal.SIGKILL)
        os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT)
        command.start()
        assert command.wait() == 137


def test_a_command_that_somebody_else_has_waited_for():
    """Its status is lost: wait() says so, and the end of the block neither raises nor sends a signal to its pid."""
    with Command(["true"]) as command:
        command.start()
        os.waitpid(command.pid, 0)
        with pytest.raises(ChildProcessError):
            command.wait()
    command.send_signal(signal.SIGTERM)
    assert command.wait() == 127
    command = Command(["true"])
    command.start()
    os.waitpid(command.pid, 0)
    del command  # without a warning that it still runs


def test_a_held_command_ends_with_its_parent():
    """Killed, the parent cannot clean up; and another child has its pipes open."""
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        command, other = Command(["sleep", "60"]), os.fork()
        if other == 0:
            time.sleep(60)
        os.write(writing, f"{command.pid} {other}".encode())
        signal.pause()
    held, other = map(int, os.read(reading, 100).split())
    os.close(reading)
    os.close(writing)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    try:
        assert gone(held)
    finally:
        os.kill(other, signal.SIGKILL)


def test_a_started_command_outlives_the_thread_that_made_it():
    """A command, held or started, lives on when the thread that made it ends; it dies with the process."""
    made = []
    thread = threading.Thread(target=lambda: made.append(Command(["true"])))
    thread.start()
    thread.join()
    with made[0] as command:
        command.start()
        assert command.wait() == 0


def test_signals_are_the_callers_own():
    """What Python ignores is not ignored, what it handles is not handled; the mask is the caller's."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        text = said(["grep", "^Sig", "/proc/self/status"]).decode()
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
    sets = {name: int(value, 16) for name, value in (line.split(":") for line in text.splitlines()) if name != "SigQ"}
    assert sets["SigBlk"] == 1 << signal.SIGUSR2 - 1
    assert not sets["SigIgn"] & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
    assert not sets["SigCgt"] & 1 << signal.SIGUSR1 - 1


def test_a_handler_of_the_caller_does_not_run_in_the_child():
    """A signal that the caller handles ends a command that is held, as it ends one that runs."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with Command(["true"]) as command:
            command.send_signal(signal.SIGUSR1)
            command.start()
            assert command.wait() == 128 + signal.SIGUSR1
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_not_inheritable_is_closed():
    """While the command is held, too: who waits for the end of a pipe is not kept waiting by it."""
    reading, writing = os.pipe()
    with Command(["sleep", "60"]) as command, open(reading, "rb") as pipe:
        os.close(writing)
        assert pipe.read() == b""
        command.start()
        files = {os.readlink(f"/proc/{command.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{command.pid}/fd")}
        assert f"pipe:[{os.fstat(reading).st_ino}]" not in files


def without_standard_files():
    for fd in (0, 1, 2):
        os.close(fd)
    with Command(["sh", "-c", "exit 5"]) as command:
        command.start()
        return command.wait()


def test_standard_files_may_be_closed():
    """If files 0 to 2 are closed, the pipes to the child get these numbers; the command still does not have them."""
    assert in_child(without_standard_files) == 5


def interrupted():
    signal.signal(signal.SIGALRM, lambda *_: 1 / 0)
    for step in range(1, 200):
        with contextlib.suppress(ZeroDivisionError):
            signal.setitimer(signal.ITIMER_REAL, step * 20e-6)
            with Command(["true"]) as command:
                command.start()
                command.wait()
        signal.setitimer(signal.ITIMER_REAL, 0)
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(-1, os.WNOHANG)


def test_an_exception_from_a_signal_leaves_no_process():
    """Whenever a signal handler raises during the making of a Command, its child is killed and waited for."""
    assert in_child(interrupted) is None


def test_a_command_that_is_forgotten_is_no_process():
    """A held command whose object is gone is killed: nobody can start it. A forked copy of the object kills nothing."""
    command = Command(["sleep", "60"])
    pid = command.pid
    in_child(command.close)
    assert os.path.exists(f"/proc/{pid}")
    del command
    assert not os.path.exists(f"/proc/{pid}")

"""What events are opened on: the CPUs that are online, the threads of a process, a command held before its exec."""

from __future__ import annotations

import os
import select
import sys
from errno import ENOENT, ENOTDIR, ESRCH

from ._files import contents, parse_cpu_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    import resource
    import signal
    from collections.abc import Mapping, Sequence
    from typing import NoReturn, TypeAlias

    _StrOrBytesPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
else:
    import _signal as signal  # the functions of signal without its enums, whose import takes milliseconds

__all__ = ["Command", "online_cpus", "threads"]

_NOT_STARTED = 127  # the exit status of a child that did not come to its exec


def online_cpus() -> tuple[int, ...]:
    """Return the numbers of the CPUs that are online, in order.

    Raises:
        OSError: sysfs is not mounted.
    """
    with open("/sys/devices/system/cpu/online") as file:
        return parse_cpu_list(file.read())


def threads(pid: int) -> tuple[int, ...]:
    """Return the ids of the threads that a process has now, in order.

    Raises:
        ProcessLookupError: there is no such process; *pid* may be a thread of one, which is named then.
    """
    status = dict(line.split(":", 1) for line in contents(f"/proc/{pid:d}/status").splitlines() if ":" in line)
    process = int(status.get("Tgid", pid))
    if process != pid:  # /proc has threads, too: it does not list them
        raise ProcessLookupError(ESRCH, f"{pid} is no process, but a thread of process {process}")
    try:
        return tuple(sorted(map(int, os.listdir(f"/proc/{pid:d}/task"))))
    except FileNotFoundError:
        raise ProcessLookupError(ESRCH, f"there is no process {pid}") from None


def pidfd(pid: int, flags: int = 0) -> int:
    """Return a file that is readable once a process has ended, or -1 where there are none (before Linux 5.3)."""
    try:
        return os.pidfd_open(pid, flags)
    except (OSError, AttributeError):  # AttributeError: Python was built on an older Linux
        return -1


class Command:
    """A program that is forked, and held before its exec until :meth:`start`.

    Between the two, events are opened on ``pid`` with ``enable_on_exec``: they count the program and nothing of the fork.
    A context manager: at its end the program is killed, if it still runs, and no process is left behind. A held child ends
    by itself when the process that made it ends.

    The program gets the caller's signal mask; SIGPIPE and SIGXFSZ, which Python ignores, at their defaults; and the open
    files that are inheritable. *argv* is searched for in the PATH of *env*, as by ``subprocess``.

    Args:
        argv: The program and its arguments, each a str, bytes or path.
        env: The program's whole environment; the caller's if None.
        cwd: The directory that the program starts in.

    Raises:
        ValueError: *argv* is empty, a string has a null byte in it, or a name in *env* has a ``=``.
        OSError: there are too many processes or open files.
    """

    def __init__(
        self,
        argv: Sequence[_StrOrBytesPath],
        *,
        env: Mapping[str, str] | Mapping[bytes, bytes] | None = None,
        cwd: _StrOrBytesPath | None = None,
    ) -> None:
        self.pid = -1
        self.rusage: resource.struct_rusage | None = None  # what it used, once it was waited for
        self._started, self._status, self._owner = False, -1, os.getpid()
        self._pipes: list[int] = []  # go: reading and writing end; error: the same
        self._argv = _strings(argv)
        self._env = None if env is None else _environment(env)
        self._cwd = None if cwd is None else _string(cwd)
        self._paths = _candidates(self._argv[0], self._env)
        try:
            self._fork()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Let the program go.

        Raises:
            OSError: it cannot be run: the error of its exec, or of the change to *cwd*.
            ValueError: it was started before, or has been closed.
        """
        if self._started:
            raise ValueError(f"command {self.pid} was started before, or is closed")
        self._started = True
        os.write(self._pipes[1], b"x")  # the reading end is open here, too: a child that is dead is no broken pipe
        error = self._pipes[2]
        reason = b"".join(iter(lambda: os.read(error, 4096), b""))  # ends when the exec closes the child's end
        self._close_pipes()
        if reason:
            code, _, name = reason.partition(b" ")
            self.wait()
            raise OSError(int(code), os.strerror(int(code)), os.fsdecode(name))

    def wait(self) -> int:
        """Wait for the program's end; return its exit status, or 128 + n where signal n killed it.

        ``rusage`` then is what it and the children that it has waited for used. Called again, it returns the same.

        Raises:
            ValueError: the program was not started.
            ChildProcessError: somebody else has waited for it, or SIGCHLD is ignored.
        """
        if self._status < 0:
            if not self._started:
                raise ValueError(f"command {self.pid} was not started")
            _, status, self.rusage = os.wait4(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            self._status = code if code >= 0 else 128 - code
        return self._status

    def send_signal(self, number: int) -> None:
        """Send a signal to the program, unless it was waited for: its pid may be another's then."""
        if self.pid > 0 and self._status < 0:
            os.kill(self.pid, number)

    def close(self) -> None:
        """Kill the program, if it was not waited for, and wait for it."""
        try:
            if self._owner == os.getpid():  # a forked copy of this object kills nothing
                self.send_signal(signal.SIGKILL)
                self._started = True
                if self.pid > 0:
                    self.wait()
        except (ProcessLookupError, ChildProcessError):  # somebody else has waited for it
            self._status = _NOT_STARTED
        finally:
            self._close_pipes()

    def __del__(self) -> None:
        if getattr(self, "_pipes", None):  # it is held, and nobody can start it any more
            self.close()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _close_pipes(self) -> None:
        pipes, self._pipes = self._pipes, []
        for fd in pipes:
            os.close(fd)

    def _fork(self) -> None:
        self._pipes += os.pipe()
        self._pipes += os.pipe()
        parent = pidfd(os.getpid())
        # No handler runs between the fork and the note of its pid.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = _fork()
            if self.pid == 0:
                self._run_child(mask, parent)
        finally:
            os.close(self._pipes.pop())
            if parent >= 0:
                os.close(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _run_child(self, mask: set[int | signal.Signals], parent: int) -> NoReturn:
        """Be the child: wait for the word to go, or for the end of the parent."""
        try:
            go, _, _, error = self._pipes
            _restore_signals(mask)
            _close_uninherited({go, error, parent})
            poll = select.poll()
            poll.register(go, select.POLLIN)  # at its end, too: but another child may have the writing end open
            if parent >= 0:
                poll.register(parent, select.POLLIN)
            poll.poll()
            if (go, select.POLLIN) in poll.poll(0) and os.read(go, 1):
                self._exec(error)
        finally:
            os._exit(_NOT_STARTED)

    def _exec(self, error: int) -> None:
        name = self._cwd or b""
        try:
            if self._cwd is not None:
                os.chdir(self._cwd)
            name = self._argv[0]
            reason = None if name else OSError(ENOENT, "")  # as the kernel has it; Python's exec is no OSError
            for path in self._paths if name else ():
                try:
                    if self._env is None:
                        os.execv(path, self._argv)
                    else:
                        os.execve(path, self._argv, self._env)
                except OSError as failed:
                    # As a shell does: of all that is wrong along PATH, the last that is more than "not here".
                    if reason is None or failed.errno not in (ENOENT, ENOTDIR):
                        reason = failed
            if reason:
                raise reason
        except OSError as failed:
            os.write(error, b"%d %s" % (failed.errno or 0, name))


def _fork() -> int:
    """Fork, and say nothing of other threads, for which the child is prepared."""
    if sys.version_info < (3, 12):
        return os.fork()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _restore_signals(mask: set[int | signal.Signals]) -> None:
    for number in signal.valid_signals():
        ours = callable(signal.getsignal(number)) or number in (signal.SIGPIPE, signal.SIGXFSZ)
        if ours:  # a handler of the parent's is not to run here
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _close_uninherited(kept: set[int]) -> None:
    """Close what the exec would close: a held child is not to keep the other end of the parent's pipes open."""
    try:
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc: they are closed by the exec
        return
    for fd in fds:
        try:
            if fd not in kept and not os.get_inheritable(fd):
                os.close(fd)
        except OSError:  # the directory itself, which is closed by now
            pass


def _string(text: _StrOrBytesPath) -> bytes:
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise ValueError(f"embedded null byte in {text!r}")
    return encoded


def _strings(argv: Sequence[_StrOrBytesPath]) -> list[bytes]:
    if isinstance(argv, (str, bytes, os.PathLike)):
        raise TypeError(f"argv is a list of strings, the program first, and not {type(argv).__name__}")
    encoded = [_string(text) for text in argv]
    if not encoded:
        raise ValueError("argv is empty: it begins with the program")
    return encoded


def _environment(env: Mapping[str, str] | Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    encoded = {_string(name): _string(value) for name, value in env.items()}
    for name in encoded:
        if b"=" in name or not name:
            raise ValueError(f"no name of an environment variable: {name!r}")
    return encoded


def _candidates(program: bytes, env: dict[bytes, bytes] | None) -> list[bytes]:
    """Return where a program may be: itself if it has a slash, or in each directory of PATH."""
    if b"/" in program or not program:
        return [program]
    path = (os.environb if env is None else env).get(b"PATH", os.fsencode(os.defpath))
    return [os.path.join(directory, program) for directory in path.split(b":")]

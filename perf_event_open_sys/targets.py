"""List the CPUs and threads that events can be opened on, and start a command on which they are opened before its exec."""

from __future__ import annotations

import os
import select
import sys
from errno import ENOENT, ENOTDIR, ESRCH

from ._files import parse_cpu_list, process_status

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

_NOT_STARTED = 127  # the exit status of a child that ended before its exec, or whose exec failed


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
        ProcessLookupError: there is no such process; if *pid* is a thread of another process, the message names that.
    """
    process = process_of(pid) or pid
    if process != pid:  # /proc/TID exists for every thread, though a listing of /proc does not show it
        raise ProcessLookupError(ESRCH, f"{pid} is no process, but a thread of process {process}")
    try:
        return tuple(sorted(map(int, os.listdir(f"/proc/{pid:d}/task"))))
    except FileNotFoundError:
        raise ProcessLookupError(ESRCH, f"there is no process {pid}") from None


def process_of(tid: int) -> int:
    """Return the process that a thread belongs to; 0 if there is no such thread."""
    return int(process_status(f"{tid:d}").get("Tgid", 0))


def pidfd(pid: int, flags: int = 0) -> int:
    """Return a pidfd, which poll(2) finds readable once the process has ended; -1 if there is none, as before Linux 5.3."""
    try:
        return os.pidfd_open(pid, flags)
    except (OSError, AttributeError):  # AttributeError: Python was built on an older Linux
        return -1


class Command:
    """A child process that waits before its exec of a program until :meth:`start` is called.

    Before that call, open events on ``pid`` with ``enable_on_exec``: they count the program, and nothing of the fork.
    As a context manager, it kills the child at the end of the block if that still runs, and waits for it. A child that
    has not been started ends by itself when the process that made it ends.

    The program gets the caller's signal mask and the open files that are inheritable. SIGPIPE and SIGXFSZ, which Python
    ignores, have their default actions again. The program is searched for in the PATH of *env*, as by ``subprocess``.

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
        self.pid: int = -1
        self.rusage: resource.struct_rusage | None = None  # set by wait()
        self._started, self._status, self._owner = False, -1, os.getpid()
        # Reading and writing end of two pipes: by one start() tells the child to go on, by the other the child tells
        # why its exec failed.
        self._pipes: list[int] = []
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
        """Let the child exec the program; return when it has.

        Raises:
            OSError: the exec failed, or before it the change to the directory *cwd*.
            ValueError: it was started before, or has been closed.
        """
        if self._started:
            raise ValueError(f"command {self.pid} was started before, or is closed")
        self._started = True
        os.write(self._pipes[1], b"x")  # no EPIPE if the child is dead: the reading end is open in this process too
        error = self._pipes[2]
        reason = b"".join(iter(lambda: os.read(error, 4096), b""))  # ends when the exec closes the child's end
        self._close_pipes()
        if reason:
            code, _, name = reason.partition(b" ")
            self.wait()
            raise OSError(int(code), os.strerror(int(code)), os.fsdecode(name))

    def wait(self) -> int:
        """Wait for the program's end; return its exit status, or 128 + n if signal n killed it.

        This sets ``rusage``: what the program used, and those of its children that it has waited for. Called again, the
        method returns the same status.

        Raises:
            ValueError: the program was not started.
            ChildProcessError: another part of this process has waited for the child, or SIGCHLD is ignored.
        """
        if self._status < 0:
            if not self._started:
                raise ValueError(f"command {self.pid} was not started")
            _, status, self.rusage = os.wait4(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            self._status = code if code >= 0 else 128 - code
        return self._status

    def send_signal(self, number: int) -> None:
        """Send a signal to the child; do nothing once it was waited for: its pid may belong to another process by then."""
        if self.pid > 0 and self._status < 0:
            os.kill(self.pid, number)

    def close(self) -> None:
        """Kill the child and wait for it, unless it was waited for already."""
        try:
            if self._owner == os.getpid():  # in a forked child of ours, this object is a copy: it must not kill
                self.send_signal(signal.SIGKILL)
                self._started = True
                if self.pid > 0:
                    self.wait()
        except (ProcessLookupError, ChildProcessError):  # somebody else has waited for it
            self._status = _NOT_STARTED
        finally:
            self._close_pipes()

    def __del__(self) -> None:
        if getattr(self, "_pipes", None):  # not started, and nothing can start it any more
            self.close()
        elif getattr(self, "pid", -1) > 0 and self._status < 0 and self._owner == os.getpid():
            try:
                running = os.waitpid(self.pid, os.WNOHANG) == (0, 0)  # if not, it is no zombie any more
            except ChildProcessError:  # somebody else has waited for it
                running = False
            if running and not sys.is_finalizing():
                import warnings

                warnings.warn(f"command {self.pid} is still running", ResourceWarning, source=self, stacklevel=2)

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
        # All signals are blocked, so that no handler raises between the fork and the assignment to self.pid.
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
        """Run in the child: wait for the byte that start() writes, then exec; or for the end of the parent, then exit."""
        try:
            go, _, _, error = self._pipes
            _restore_signals(mask)
            _close_uninherited({go, error, parent})
            poll = select.poll()
            # Readable too if the parent ends and so closes the writing end; unless another child has that open as well,
            # hence the pidfd.
            poll.register(go, select.POLLIN)
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
            # For an empty name the kernel's error is ENOENT; os.execv would raise ValueError.
            reason = None if name else OSError(ENOENT, "")
            for path in self._paths if name else ():
                try:
                    if self._env is None:
                        os.execv(path, self._argv)
                    else:
                        os.execve(path, self._argv, self._env)
                except OSError as failed:
                    # As in a shell: of the errors along PATH, report the last that is not just "no such file here".
                    if reason is None or failed.errno not in (ENOENT, ENOTDIR):
                        reason = failed
            if reason:
                raise reason
        except OSError as failed:
            os.write(error, b"%d %s" % (failed.errno or 0, name))


def _fork() -> int:
    """Fork without Python's warning about other threads: the child runs only code that needs none of their locks."""
    if sys.version_info < (3, 12):
        return os.fork()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _restore_signals(mask: set[int | signal.Signals]) -> None:
    for number in signal.valid_signals():
        ours = callable(signal.getsignal(number)) or number in (signal.SIGPIPE, signal.SIGXFSZ)
        if ours:  # handlers of the parent must not run in the child
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _close_uninherited(kept: set[int]) -> None:
    """Close the files that the exec would close: a waiting child must not keep the parent's pipes open, for example."""
    try:
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # /proc is not mounted: the files stay open until the exec
        return
    for fd in fds:
        try:
            if fd not in kept and not os.get_inheritable(fd):
                os.close(fd)
        except OSError:  # the fd by which os.listdir() read the directory is closed by now
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
    """Return the paths to try for a program: itself if it has a slash, otherwise one in each directory of PATH."""
    if b"/" in program or not program:
        return [program]
    path = (os.environb if env is None else env).get(b"PATH", os.fsencode(os.defpath))
    return [os.path.join(directory, program) for directory in path.split(b":")]

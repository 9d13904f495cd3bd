"""Starting a command, and ending it: by the first signal, or at a time, and firmly if it does not end by itself."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from ..targets import Command
    from .watch import Watch
else:
    import _signal as signal  # the functions of signal without its enums, whose import takes milliseconds

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # exit statuses, as the shell has them
PATIENCE_S = 2.0  # how long a command may take to end after each signal, the last of which is SIGKILL


def started(command: Command, subcommand: str) -> int:
    """Let the command run; return 0, or the exit status if it cannot, after a message."""
    try:
        command.start()
    except OSError as error:
        if sys.stderr:
            print(f"{subcommand}: {error.filename or repr('')}: {error.strerror}", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    return 0


class Ending:
    """What ends a run, and then the command of it: signals that *watch* receives, or a time of ``time.perf_counter()``.

    Attributes:
        signal: the first signal that came; 0 for none.
        timed_out: True if the time came before a signal.
        deadline: when to call :meth:`is_now` at the latest; None for never.
    """

    def __init__(self, watch: Watch, command: Command | None, deadline: float | None) -> None:
        self.watch, self.command, self.deadline = watch, command, deadline
        self.signal, self.timed_out = 0, False
        self._to_send: list[int] = []  # signals, until the command ends

    def is_now(self) -> bool:
        """Tell whether the run ends at once. If there is a command, it does not: the command gets the next signal."""
        now = time.perf_counter()
        received, self.watch.received = self.watch.received, []
        if not received and (self.deadline is None or now < self.deadline):
            return False
        if not self.signal and not self.timed_out:
            self.timed_out, self.signal = not received, received[0] if received else 0
            self._to_send = _signals_to_end(self.signal or signal.SIGTERM)
        if not self.command:
            return True
        number = self._to_send.pop(0) if self._to_send else signal.SIGKILL
        if number:
            self.command.send_signal(number)
        self.deadline = now + PATIENCE_S
        return False

    def after_error(self) -> None:
        """Ask the command to end, before it is killed, if it was not asked before."""
        if self.command and self.watch.living and not self.signal:
            self.command.send_signal(signal.SIGTERM)
            self.watch.until(time.perf_counter() + PATIENCE_S)


def _signals_to_end(first: int) -> list[int]:
    """Return what to send to the command, one after the other, until it ends; 0 for nothing, only waiting."""
    sent = 0 if first == signal.SIGINT and _in_foreground() else first
    return [sent, *([] if first == signal.SIGTERM else [signal.SIGTERM]), signal.SIGKILL]


def _in_foreground() -> bool:
    """Tell whether this process is in the terminal's foreground group, so that a Ctrl-C was sent to the command too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

"""When a run ends, and what its command is sent: the signals that came, then firmer ones."""

import os
import pty
import signal
import time
from types import SimpleNamespace
from typing import Any

import pytest
from support.processes import rest_of

from perf_event_open_sys._cli import ending
from perf_event_open_sys._cli.ending import PATIENCE_S, Ending

TERM, INT, HUP, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL
PAST, FUTURE = 0.0, time.perf_counter() + 3600


def commanded() -> Any:
    """A command that notes the signals that it is sent, in ``sent``."""
    sent: list[int] = []
    return SimpleNamespace(send_signal=sent.append, sent=sent)


def watching(*received, living=True) -> Any:
    """A watch that received signals; what until() was called with is in ``waited``."""
    waited: list[float] = []
    return SimpleNamespace(received=list(received), living=living, until=waited.append, waited=waited)


@pytest.mark.parametrize(
    ("received", "deadline", "ends", "number", "timed_out"),
    [
        ([], None, False, 0, False),
        ([], FUTURE, False, 0, False),
        ([], PAST, True, 0, True),
        ([HUP], None, True, HUP, False),
        ([INT, TERM], FUTURE, True, INT, False),
        ([TERM], PAST, True, TERM, False),
    ],
)
def test_what_ends_a_run(received, deadline, ends, number, timed_out):
    """The first signal, or the time: what runs without a command ends at once."""
    one = Ending(watching(*received), None, deadline)
    assert one.is_now() is ends
    assert (one.signal, one.timed_out) == (number, timed_out)
    assert one.watch.received == []


@pytest.mark.parametrize(
    ("first", "sent"),
    [(HUP, [HUP, TERM, KILL, KILL]), (TERM, [TERM, KILL, KILL]), (INT, [INT, TERM, KILL]), (0, [TERM, KILL, KILL])],
)
def test_a_command_that_goes_on_is_sent_firmer_signals(first, sent, monkeypatch):
    """Its own first, if a signal came; then TERM, and KILL as long as it lives; the run goes on until it has ended."""
    monkeypatch.setattr(ending, "_in_foreground", lambda: False)
    command = commanded()
    one: Any = Ending(watching(*([first] if first else [])), command, None if first else PAST)
    for number in range(len(sent)):
        before = time.perf_counter()
        assert one.is_now() is False
        assert command.sent == sent[: number + 1]
        assert before + PATIENCE_S <= one.deadline <= time.perf_counter() + PATIENCE_S
        assert one.is_now() is False  # before the time that it has to end
        assert command.sent == sent[: number + 1]
        one.deadline = PAST
    assert (one.signal, one.timed_out) == (first, not first)


def test_a_second_signal_is_passed_on_at_once(monkeypatch):
    """Whoever presses Ctrl-C twice does not wait; what ends the run is the first signal all the same."""
    monkeypatch.setattr(ending, "_in_foreground", lambda: True)
    command = commanded()
    one = Ending(watching(INT), command, FUTURE)
    assert one.is_now() is False
    assert command.sent == []  # the terminal has sent it to the command, too
    one.watch.received = [TERM]
    assert one.is_now() is False
    assert (command.sent, one.signal) == ([TERM], INT)


@pytest.mark.parametrize(
    ("living", "number", "sent"), [(True, 0, [TERM]), (False, 0, []), (True, INT, [])], ids=["lives", "ended", "asked"]
)
def test_after_an_error_the_command_is_asked_to_end(living, number, sent):
    """If it lives and was not asked before; it has some time for it."""
    command = commanded()
    watch = watching(living=living)
    one = Ending(watch, command, None)
    one.signal = number
    before = time.perf_counter()
    one.after_error()
    assert command.sent == sent
    assert len(watch.waited) == len(sent)
    assert all(before + PATIENCE_S <= until <= time.perf_counter() + PATIENCE_S for until in watch.waited)
    Ending(watching(), None, None).after_error()  # without a command there is nothing to do


def test_the_foreground_is_that_of_the_terminal():
    """A process in another group than the terminal's foreground, or without a terminal, gets no Ctrl-C from it."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            found = [ending._in_foreground()]
            for leave in (lambda: os.setpgid(0, 0), os.setsid):
                inner = os.fork()
                if inner == 0:
                    leave()
                    os._exit(ending._in_foreground())
                found.append(os.waitpid(inner, 0)[1] != 0)
            os.write(1, f"{found}".encode())
        finally:
            os._exit(0)
    shown = rest_of(terminal)
    os.waitpid(child, 0)
    assert shown == b"[True, False, False]"

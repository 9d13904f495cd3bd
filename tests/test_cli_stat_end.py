"""Whatever ends ``stat``: no process of its own is left, and what was counted is printed where it can be."""

import os
import pty
import select
import signal
import subprocess

import pytest
from support.cli import CLI, SLEEPER, counting, gone, run
from support.marks import needs_events, needs_root
from support.processes import rest_of

pytestmark = needs_events
ENDINGS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
STUBBORN = ["sh", "-c", "trap '' TERM INT HUP; echo $$; while :; do read line; done </dev/zero"]


@pytest.mark.parametrize("interval", [[], ["-I", "20"]])
@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_ends_the_command_and_prints_what_was_counted(number, interval):
    """A signal to stat is sent on to the command, the table is printed, and the status is 128 + the signal's number."""
    with counting(*interval, "-e", "task-clock:u") as (process, pid):
        process.send_signal(number)
        shown = process.stderr.read()
        assert process.wait() == 128 + number
        assert gone(pid)
    assert "task-clock:u" in shown
    assert "Traceback" not in shown


def test_a_signal_to_all_of_the_group_prints_too():
    """A signal to the whole process group, which is what a terminal sends, still prints the table."""
    with counting("-e", "task-clock:u") as (process, pid):
        os.killpg(process.pid, signal.SIGINT)
        assert "seconds time elapsed" in process.stderr.read()
        assert process.wait() == 130
        assert gone(pid)


def test_control_c_on_a_terminal():
    """The terminal sends SIGINT to the command itself; the table comes."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(CLI[0], [*CLI, "stat", "-e", "task-clock:u", "--", *SLEEPER])
    shown = os.read(terminal, 100)
    command = int(shown)
    os.write(terminal, b"\x03")
    shown += rest_of(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert b"task-clock:u" in shown
    assert gone(command)


def test_a_second_signal_is_a_firmer_one():
    """A command that heeds neither SIGINT nor SIGTERM is killed at the third, or after some seconds."""
    with counting("-e", "task-clock:u", command=STUBBORN) as (process, pid):
        command = os.pidfd_open(pid)
        # Until the command has ended, and not stat itself: at its very end nobody takes its signals any more.
        while not select.select([command], [], [], 0.01)[0]:
            process.send_signal(signal.SIGINT)
        os.close(command)
        assert process.wait() == 130
        assert "seconds time elapsed" in process.stderr.read()
        assert gone(pid)


@pytest.mark.parametrize(
    ("output", "status", "message"), [("/dev/full", 2, "stat: No space left on device\n"), (None, 141, None)]
)
def test_an_error_while_printing_ends_the_command(output, status, message):
    """A full disk is an error message; a closed pipe ends stat with SIGPIPE's status; the command ends in both cases."""
    arguments = ["-I", "10", "-e", "task-clock:u", *(["-o", output] if output else [])]
    with counting(*arguments) as (process, pid):
        if output:
            assert process.stderr.read() == message
        else:
            process.stderr.close()
        assert process.wait() == status
        assert gone(pid)


def test_an_interval_of_ages_is_waited_for():
    """An interval that is longer than poll(2)'s largest timeout is waited for in parts."""
    with counting("-I", "99999999999999", "-e", "task-clock:u") as (process, pid):
        process.send_signal(signal.SIGTERM)
        assert "Traceback" not in process.stderr.read()
        assert process.wait() == 143
        assert gone(pid)


@needs_root
def test_a_background_job_of_a_script_can_be_interrupted():
    """It inherits SIGINT as ignored. Its first interval says that it counts."""
    script = '"$@" & echo $!; wait $!; echo $?'
    arguments = [*CLI, "stat", "-a", "-I", "10", "-e", "dummy"]
    with subprocess.Popen(
        ["sh", "-c", script, "sh", *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as shell:
        job = int(shell.stdout.readline())
        assert shell.stderr.readline().startswith("#")
        os.kill(job, signal.SIGINT)
        assert shell.stdout.readline() == "130\n"
        shell.stderr.read()


def test_what_nohup_ignores_stays_ignored():
    """Started by nohup, which ignores SIGHUP, stat is not ended by a SIGHUP."""
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with counting("-e", "task-clock:u", **ignore) as (process, _):
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait() == 143


@pytest.mark.parametrize("closed", ["2>&-", "2>&- >&-", "0>&- 2>&-"])
def test_a_closed_standard_error_is_no_silent_failure(closed, tmp_path):
    """If standard error is closed, the error is printed to standard output, and the command is not run."""
    marker = tmp_path / "ran"
    script = f'"$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *CLI, "stat", "touch", str(marker)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == (
        "" if ">&- >" in script else "stat: standard error is closed: print to a file, with -o FILE\n"
    )
    assert not marker.exists()


def test_a_full_standard_error_is_status_2():
    """If standard error is full, no message can be printed; the status is 2."""
    with open("/dev/full", "w") as full:
        assert run("stat", "-e", "dummy:u", "--", "true", capture_output=False, stderr=full).returncode == 2

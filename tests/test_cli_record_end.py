"""Whatever ends ``record``: the file is whole, nothing is left running, and where nothing was recorded there is no file."""

import os
import pty
import re
import resource
import signal
import subprocess
import sys

import pytest
from support.cli import CLI, counting, gone, run
from support.marks import needs_events
from support.perf_files import read_file
from support.processes import rest_of

from perf_event_open_sys import records
from perf_event_open_sys.perf_data import _layout

pytestmark = needs_events
FAULTS = ["-e", "page-faults:u", "-c", "1"]
# Faults pages in for ever, having said its pid.
BUSY = [
    sys.executable,
    "-c",
    "import mmap, os, signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\nprint(os.getpid(), flush=True)\n"
    "while True: mmap.mmap(-1, 4096 * 50)[::4096]\n",
]


def n_samples(path):
    """Return the number of samples in a file that is complete: its features are there."""
    file = read_file(path)
    assert _layout.FEATURE_NUMBERS["event_desc"] in file.features
    return len(records.parse(file.data, next(iter(file.by_id.values()))))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_and_leaves_a_whole_file(number, tmp_path):
    """The status is 128 and the signal's number, the command gets the signal, and the totals are printed."""
    path = tmp_path / "data"
    with counting(*FAULTS, "-o", str(path), command=BUSY, subcommand="record") as (process, pid):
        process.send_signal(number)
        shown = process.stderr.read()
        assert process.wait() == 128 + number
        assert gone(pid)
    assert shown.startswith(f"record: {n_samples(path)} samples in ")


def test_the_status_tells_of_the_signal_even_if_the_command_does_not(tmp_path):
    """A command that ends well when it is asked to does not hide that the recording was ended."""
    command = ["sh", "-c", "trap 'exit 0' TERM; echo $$; while :; do read line; done </dev/zero"]
    with counting(*FAULTS, "-o", str(tmp_path / "data"), command=command, subcommand="record") as (process, _):
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait() == 128 + signal.SIGTERM


def test_the_time_ends_the_command(tmp_path):
    """--duration: the command gets SIGTERM, and the status is 0."""
    path = tmp_path / "data"
    with counting("--duration", "0.2", *FAULTS, "-o", str(path), command=BUSY, subcommand="record") as (process, pid):
        assert process.wait(60) == 0
        assert gone(pid)
    assert n_samples(path) > 0


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_status_is_the_commands(script, status, tmp_path):
    """Its own, or 128 and the number of the signal that killed it."""
    done = run("record", *FAULTS, "-o", str(tmp_path / "data"), "--", "sh", "-c", script)
    assert done.returncode == status
    assert n_samples(tmp_path / "data") > 0


def test_a_killed_recorder_leaves_what_it_wrote(tmp_path):
    """Whole records, though no features; and the command is not its prisoner: it runs on."""
    path = tmp_path / "data"
    with counting(*FAULTS, "-m", "1", "-o", str(path), command=BUSY, subcommand="record") as (process, pid):
        while not path.exists() or path.stat().st_size < 100_000:
            assert process.poll() is None
        process.kill()
        process.wait()
        os.kill(pid, signal.SIGKILL)
    file = read_file(path)
    assert file.features == {}
    assert len(records.parse(file.data, next(iter(file.by_id.values())))) > 100


def test_a_full_disk_ends_the_command_and_keeps_whole_records(tmp_path):
    """With a message and status 2; the file is complete up to there."""
    path = tmp_path / "data"
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))}
    with counting(*FAULTS, "-o", str(path), command=BUSY, subcommand="record", **limit) as (process, pid):
        shown = process.stderr.read()
        assert process.wait(60) == 2
        assert gone(pid)
    found = n_samples(path)
    assert 150_000 < path.stat().st_size <= 200_000
    totals, error = shown.splitlines()
    assert totals.startswith(f"record: {found} samples in ")
    assert error == f"record: [Errno 27] File too large: {str(path)!r}"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["./absent-command"], 127, "record: ./absent-command: No such file or directory"),
        (["/etc/passwd"], 126, "record: /etc/passwd: Permission denied"),
        (["-e", "nosuch", "true"], 2, "record: no event 'nosuch'"),
        (["-p", "{gone}"], 2, "record: there is no process {gone}"),
        (["-t", "{gone}"], 2, "record: all threads have ended that were to be sampled"),
        (
            ["-e", "breakpoint/config=9/u", "-c", "1", "true"],
            2,
            "record: breakpoint/config=9/u: perf_event_open: Invalid argument",
        ),
        (["-C", "4095", "true"], 2, "record: CPU 4095 is not online"),
        (["-F", "999999999", "true"], 2, "record: -F 999999999: kernel.perf_event_max_sample_rate is "),
    ],
)
def test_where_nothing_is_recorded_there_is_no_file(arguments, status, message, tmp_path):
    """What cannot begin is a plain error; a file of before stays as it was, and is not moved away."""
    (tmp_path / "data").write_text("precious")
    with subprocess.Popen("true") as ended:
        pass
    words = [word.format(gone=ended.pid) for word in arguments]
    done = run("record", *(["-e", "page-faults:u"] if "-e" not in words else []), "-o", str(tmp_path / "data"), *words)
    assert done.returncode == status
    assert message.format(gone=ended.pid) in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["data"]
    assert (tmp_path / "data").read_text() == "precious"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".", "[Errno 21] Is a directory: '.'"),
        ("absent/data", "[Errno 2] No such file or directory: 'absent/data'"),
        ("/dev/full", "[Errno 28] No space left on device: '/dev/full'"),
        ("", "[Errno 2] No such file or directory: ''"),
    ],
)
def test_an_output_that_cannot_be_written(path, message, tmp_path):
    """The command is not started, and nothing is left."""
    done = run("record", *FAULTS, "-o", path, "touch", "ran", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"record: {message}\n")
    assert os.listdir(tmp_path) == []


def test_progress_is_shown_on_a_terminal(tmp_path):
    """Once a second, in a line that the totals replace."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(CLI[0], [*CLI, "record", *FAULTS, "--duration", "1.5", "--", *BUSY])
    shown = rest_of(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    progress, totals = re.findall(rb"\rrecord: (\d+) samples in [^\r]* lost(?:: perf.data)?\x1b\[K", shown)
    assert 0 < int(progress) < int(totals) == n_samples(tmp_path / "perf.data")


def test_no_progress_is_shown_in_a_pipe(tmp_path):
    """There the totals are all that is printed, however long it takes."""
    shown = run("record", *FAULTS, "--duration", "1.1", "-o", str(tmp_path / "data"), "--", "sleep", "60").stderr
    assert re.fullmatch(r"record: \d+ samples in [^\r\n]*\n", shown)

"""Fixtures that every test module may use. Tests run as root and as an ordinary user; a skip says what is missing."""

import os
import subprocess

import pytest

from perf_event_open_sys import events, perf_event_attr, perf_event_open

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True)
def _no_descriptor_leaks():
    """Every test leaves as many files open as it found, whatever it provoked."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= len(before), "a file descriptor was leaked"


@pytest.fixture
def event(_no_descriptor_leaks):
    """Open an event of this thread from attr fields, in user space where the user may no more; closed at the end."""
    opened = []

    def open_event(*, pid=0, cpu=-1, group_fd=-1, **fields):
        if os.geteuid() != 0:
            fields = {"exclude_kernel": 1} | fields
        fd = perf_event_open(perf_event_attr(**fields), pid, cpu, group_fd)
        opened.append(fd)
        return fd

    yield open_event
    for fd in opened:
        os.close(fd)


@pytest.fixture(scope="session")
def tracefs():
    """The root of tracefs, mounted for the purpose where we may."""
    try:
        root = events.tracefs()
    except FileNotFoundError:
        if os.geteuid() != 0:
            pytest.skip("tracefs is not mounted, and only root can mount it")
        mounted = subprocess.run(["mount", "-t", "tracefs", "nodev", "/sys/kernel/tracing"], capture_output=True)
        if mounted.returncode:
            pytest.skip(f"tracefs cannot be mounted: {mounted.stderr.decode().strip()}")
        root = events.tracefs()
    if not os.access(os.path.join(root, "events"), os.R_OK | os.X_OK):
        pytest.skip(f"{root} is for root only")
    return root

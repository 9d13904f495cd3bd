"""Fixtures that every test module may use. Tests run as root and as an ordinary user; a skip says what is missing."""

import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

# The same examples in every run, without a limit of time, and without files that the user may not be able to write.
hypothesis.settings.register_profile("tests", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("tests")

TESTS = Path(__file__).parent
# `python -m pytest` in an unpacked source distribution puts its uncompiled package before the installed one.
if not list(TESTS.parent.glob("perf_event_open_sys/_native.*.so")):
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != TESTS.parent]

from support.machine import IS_COMPAT  # noqa: E402
from support.marks import REFUSED, REFUSED_REASON  # noqa: E402 - after the path is right

import perf_event_open_sys  # noqa: E402
from perf_event_open_sys import bindings, events, ffi, perf_event_attr, perf_event_open  # noqa: E402


def pytest_collection_modifyitems(items):
    """Mark the tests of tests/kernel, tests/oracle and tests/tools: ``-m "not kernel"`` leaves them out."""
    for item in items:
        if item.path.parent.name in ("kernel", "oracle", "tools"):
            item.add_marker("kernel")


@pytest.fixture(scope="session", autouse=True)
def _children_import_the_same_package():
    """Have other Pythons import the package that is tested, not one that lies where pytest was started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(perf_event_open_sys.__file__).parent.parent), prepend=os.pathsep)
        patch.chdir("/")
        yield


@pytest.fixture(scope="session", autouse=True)
def _a_hangup_ends_children():
    """Have SIGHUP end the commands that tests start, where pytest itself was started by nohup, which ignores it."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _no_descriptor_leaks():
    """Every test leaves as many files open as it found, whatever it provoked."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= len(before), "a file descriptor was leaked"


@pytest.fixture
def event(_no_descriptor_leaks):
    """Open an event of this thread from attr fields, in user space where the user may no more; closed at the end."""
    if REFUSED:
        pytest.skip(REFUSED_REASON)
    opened = []

    def open_event(*, pid=0, cpu=-1, group_fd=-1, flags=bindings.PERF_FLAG_FD_CLOEXEC, **fields):
        if os.geteuid() != 0:
            fields = {"exclude_kernel": 1} | fields
        fd = perf_event_open(perf_event_attr(**fields), pid, cpu, group_fd, flags)
        opened.append(fd)
        return fd

    yield open_event
    for fd in opened:
        os.close(fd)


class Ring:
    """The ring of an event, read in the plainest way: Python's mmap, and every record copied out."""

    def __init__(self, fd, data_pages):
        self.area = mmap.mmap(fd, (1 + data_pages) * mmap.PAGESIZE)
        self.buffer = ffi.from_buffer(self.area)
        self.page = ffi.cast("struct perf_event_mmap_page *", self.buffer)

    def close(self):
        """Unmap the ring."""
        ffi.release(self.buffer)
        self.area.close()

    def records(self):
        """Consume all records that are in the ring now; return a list of (type, body)."""
        head, tail = self.page.data_head, self.page.data_tail  # once: what copies the data may add records
        start, size = self.page.data_offset, self.page.data_size
        data, taken = self.area[start : start + size] * 2, []
        while tail < head:
            at = tail % size
            kind, _, length = struct.unpack_from("=IHH", data, at)
            taken.append((kind, data[at + 8 : at + length]))
            tail += length
        self.page.data_tail = tail
        return taken

    def samples(self):
        """Consume all records that are in the ring now; return the bodies of those of type PERF_RECORD_SAMPLE."""
        return [body for kind, body in self.records() if kind == bindings.PERF_RECORD_SAMPLE]


@pytest.fixture
def ring(event):  # noqa: ARG001 - unmapped before the events are closed
    """Map the ring of an event; it is unmapped when the test ends."""
    rings = []

    def map_ring(fd, data_pages=8):
        rings.append(Ring(fd, data_pages))
        return rings[-1]

    yield map_ring
    for mapped in rings:
        mapped.close()


@pytest.fixture
def closed_fd():
    """A file descriptor that is not open, with a number too large for the next files that are opened."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1


@pytest.fixture
def foreign_fd():
    """An open file that is no perf event."""
    fd = os.open("/dev/null", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture(scope="session")
def tracefs():
    """The root of tracefs. If it is not mounted and we are root, it is mounted until all tests have ended."""
    mounted = None
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
    yield root
    if mounted:
        subprocess.run(["umount", root], capture_output=True)


@pytest.fixture
def getpgid_tracepoint(tracefs):
    """The id of a tracepoint that ``os.getpgid()`` hits once, and nobody else at the same time."""
    if IS_COMPAT:
        pytest.skip("a 64-bit kernel's tracepoints of system calls leave out those of 32-bit processes")
    try:
        with open(os.path.join(tracefs, "events", "syscalls", "sys_enter_getpgid", "id")) as file:
            return int(file.read())
    except FileNotFoundError:
        pytest.skip("the kernel has no tracepoints of system calls (CONFIG_FTRACE_SYSCALLS)")


@pytest.fixture
def paranoid():
    """Set kernel.perf_event_paranoid for a test."""
    path = "/proc/sys/kernel/perf_event_paranoid"
    with open(path) as file:
        before = file.read()

    def set_level(level):
        with open(path, "w") as file:
            file.write(str(level))

    yield set_level
    set_level(before)


@pytest.fixture
def cgroup():
    """A function that makes a cgroup where perf hears of it, and returns its path; removed at the end."""
    made = []

    def make(suffix=""):
        with open("/proc/self/mounts") as mounts:
            lines = [line.split() for line in mounts]
        roots = [
            where for _, where, kind, options, *_ in lines if kind == "cgroup" and "perf_event" in options.split(",")
        ]
        roots += [where for _, where, kind, *_ in lines if kind == "cgroup2"]  # always on, unless a v1 has it
        if not roots:
            pytest.skip("no cgroup hierarchy is mounted that has the perf_event controller")
        path = os.path.join(roots[0], f"perf_event_open_sys.{os.getpid()}{suffix}")
        try:
            os.mkdir(path)
        except OSError as error:
            pytest.skip(f"no cgroup can be made: {error}")
        made.append(path)
        return path

    yield make
    for path in made:
        os.rmdir(path)

"""scripts/regenerate.py as a module, and tiny headers for it."""

import importlib.util
import os
import shlex
import shutil
import sys

import pytest
from support.tiny_headers import SCRIPT, files, put

from perf_event_open_sys import _cdef

CC = shlex.split(os.environ.get("CC", "cc"))


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    if not SCRIPT.exists():
        pytest.skip("no scripts/ beside tests/")
    if sys.maxsize < 2**32:
        pytest.skip("needs a 64-bit Python: the layouts that the script writes are those of 64-bit machines")
    if not shutil.which(CC[0]):
        pytest.skip(f"needs a C preprocessor ({CC[0]})")
    sys.path.insert(0, str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("regenerate", SCRIPT)
    module = sys.modules["regenerate"] = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(SCRIPT.parent))
    for name in [name for name in sys.modules if name.split(".")[0] in ("regenerate", "generator")]:
        del sys.modules[name]


@pytest.fixture
def root(script, tmp_path, monkeypatch):
    """A project whose own headers declare one function, into which the script writes."""
    project = tmp_path / "project"
    for topic in _cdef.TOPICS:
        (project / "cdefs").mkdir(parents=True, exist_ok=True)
        (project / "cdefs" / f"{topic}.h").touch()
    put(project, {"cdefs/ioctls.h": "int ioctl_enable(int fd);\n"})
    monkeypatch.setattr(script, "ROOT", project)
    return project


@pytest.fixture
def headers(tmp_path):
    """Write a kernel's headers, of which perf_event.h is *text*; return their include directory."""

    def write(text, breakpoint="", **registers):  # noqa: A002 - the header's name
        include = tmp_path / "linux-9.9.9" / "include"
        texts = {"linux/perf_event.h": text, "linux/hw_breakpoint.h": breakpoint}
        registers = registers or {"z80": "enum perf_event_z80_regs { PERF_REG_Z80_A };"}
        texts |= {f"arch/{arch}/asm/perf_regs.h": body for arch, body in registers.items()}
        put(include, texts)
        return include

    return write


@pytest.fixture
def translate(script, headers, root):
    """Return the declarations that the script makes of a header: the lines after the version."""

    def translated(text, **more):
        lines = script.generate(headers(text, **more), root)["cdefs/kernel/perf_event.h"].splitlines()
        [version] = [i for i, line in enumerate(lines) if line.startswith("#define perf_headers_version")]
        return "\n".join(lines[version + 1 :])

    return translated


@pytest.fixture
def refusal(script, headers, root, capsys):
    """Return the message with which the script stops at a header, having written nothing."""

    def refused(text, **more):
        before = files(root)
        assert script.main([str(headers(text, **more))]) == 2
        assert files(root) == before
        return capsys.readouterr().err

    return refused

"""The documentation as a site: it is built without a warning, and has what the package has."""

import importlib
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import perf_event_open_sys

ROOT = Path(__file__).parent.parent.parent

pytestmark = [
    pytest.mark.skipif(not (ROOT / "docs/conf.py").exists(), reason="no docs/ beside tests/"),
    pytest.mark.skipif(not importlib.util.find_spec("sphinx"), reason="needs Sphinx: pip install --group docs"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site that was built without a warning."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-nWq", "--keep-going", "-c", "docs", ".", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def entries(site):
    """The names that the site has an entry for, each with its page."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = [line.split(" ") for line in zlib.decompress(packed).decode().splitlines()]
    return {name: uri.split("#")[0] for name, kind, _, uri, *_ in lines if kind.startswith("py:")}


def public_modules():
    """Return the package's public modules by name."""
    names = [found.name for found in pkgutil.iter_modules(perf_event_open_sys.__path__) if found.name[0] != "_"]
    return {name: importlib.import_module(f"perf_event_open_sys.{name}") for name in names}


def public_names(module):
    """Return the functions and classes of a module that are its own, or listed in its ``__all__``."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    ]
    found = {name: getattr(module, name) for name in names}
    return [name for name, value in found.items() if inspect.isfunction(value) or inspect.isclass(value)]


def test_each_public_function_and_class_has_an_entry_on_the_page_of_its_module(entries):
    """What the modules have is found by introspection: a new function is on the site with its docstring."""
    modules = public_modules()
    assert {"ring", "records", "events", "perf_data"} <= set(modules)
    wanted = {
        f"perf_event_open_sys.{module}.{name}": f"docs/{module}.html"
        for module in modules
        for name in public_names(modules[module])
    }
    assert len(wanted) > 60
    assert {name: entries.get(name) for name in wanted} == wanted

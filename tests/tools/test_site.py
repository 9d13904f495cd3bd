"""The documentation as a site: it is built without a warning, and has what the package has."""

import importlib
import importlib.util
import inspect
import pkgutil
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import perf_event_open_sys
from perf_event_open_sys import lib
from perf_event_open_sys.__main__ import SUBCOMMANDS
from perf_event_open_sys._cli.options import Subcommand

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
    return {name: uri.split("#")[0] for name, kind, _, uri, *_ in lines if kind.startswith(("py:", "c:struct"))}


def public_modules():
    """Return the package's public modules by name."""
    names = [found.name for found in pkgutil.iter_modules(perf_event_open_sys.__path__) if found.name[0] != "_"]
    return {name: importlib.import_module(f"perf_event_open_sys.{name}") for name in names}


def public_names(module):
    """Return the functions and classes of a module that are its own, or listed in its ``__all__``."""
    own = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    ]
    names = own if module is perf_event_open_sys else getattr(module, "__all__", own)
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
    wanted |= {f"perf_event_open_sys.{name}": "docs/c-api.html" for name in public_names(perf_event_open_sys)}
    assert len(wanted) > 60
    assert {name: entries.get(name) for name in wanted} == wanted


def test_each_constant_and_struct_has_an_entry(entries):
    """Whoever searches for a name of the kernel's finds its value, or its members."""
    constants = {name for name in dir(lib) if re.match(r"PERF_|HW_BREAKPOINT_", name)}
    assert {"PERF_SAMPLE_ADDR", "PERF_RECORD_LOST"} <= constants
    assert {name for name in constants if f"perf_event_open_sys.bindings.{name}" not in entries} == set()
    assert {"perf_sample", "perf_counts", "perf_event_attr", "perf_record_mmap2"} <= set(entries)


class Page(HTMLParser):
    """What a page of the site has: its anchors, its links, and the files that it loads."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loaded = {"", "top"}, set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        """Note what a tag names."""
        attributes = dict(attrs)
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        if tag == "a" and "href" in attributes:
            self.links.add(attributes["href"])
        elif tag in ("img", "script", "link", "iframe", "source"):
            self.loaded |= {attributes[name] for name in ("src", "href") if attributes.get(name)}


@pytest.fixture(scope="module")
def pages(site):
    """The pages of the site by their paths."""
    found = {path: Page(path) for path in site.rglob("*.html")}
    assert len(found) > 40
    return found


def test_each_link_within_the_site_leads_to_a_page_and_an_anchor_that_are_there(pages):
    """Links of pages, of the tables of contents, and from a docstring to another one."""
    dead = []
    for path, page in pages.items():
        for link in page.links:
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            if "://" not in link and not (target.exists() and anchor in getattr(pages.get(target), "anchors", {""})):
                dead.append(f"{path.name}: {link}")
    assert dead == []


def test_site_needs_no_other_host(site, pages):
    """Scripts, styles, fonts and pictures are files of the site: it can be read without a network, and searched."""
    loaded = {
        (path, name)
        for path, page in pages.items()
        for name in page.loaded
        if name[0] != "#" and not name.startswith("data:")
    }
    assert len(loaded) > 100
    assert [name for path, name in loaded if not (path.parent / name.split("?")[0]).exists()] == []
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*\)|@import[^;]*//[^;]*;", styles) == []
    index = (site / "searchindex.js").read_text()
    assert "drain_into" in index


def test_command_lines_page_has_each_subcommand_and_option():
    """A section for each subcommand, which names each of its options in code."""
    text = (ROOT / "docs/command-line.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    options = 0
    for name in SUBCOMMANDS:
        module = importlib.import_module(f"perf_event_open_sys._cli.{name}")
        [command] = {value for value in vars(module).values() if isinstance(value, Subcommand)}
        assert command.name == name
        named = set(re.findall(r"(?<![\w-])--?\w[\w-]*", " ".join(re.findall(r"`([^`\n]+)`", sections[name]))))
        assert [option.flags for option in command.options if not named & set(option.flags)] == []
        options += len(command.options)
    assert options > 10

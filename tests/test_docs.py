"""The pages: each module and subcommand has one, links lead somewhere, and the tables name what there is."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

import perf_event_open_sys

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "cdefs/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="no docs/ beside tests/")


def prose(page):
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


def anchors(page):
    """Return the anchors that headings get: as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", prose(page)), re.M
    )  # links by their text
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    """A relative link names a file that is there, and after # a heading of it."""
    page = ROOT / name
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(link)
    assert broken == []


def linked(page):
    """Return the files that a page links to."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#\S+)?\)", prose(page))
    return {(page.parent / link).resolve() for link in links if "://" not in link}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("docs/")])
def test_page_can_be_found(name):
    """One link or two lead to it from the README or the site's start page: a page that no page names is not read."""
    starts = {ROOT / "README.md", ROOT / "docs/index.md"}
    first = set.union(starts, *map(linked, starts))
    pages = [page for page in first if page.suffix == ".md" and page.exists()]
    assert (ROOT / name).resolve() in set.union(first, *map(linked, pages))


def test_each_public_module_has_a_page_of_its_name():
    """The page's title is the module's name, and the README's table has a row for it."""
    package = Path(perf_event_open_sys.__file__).parent
    modules = {path.stem for path in package.glob("[!_]*.py")} | {
        path.parent.name for path in package.glob("[!_]*/__init__.py")
    }
    assert {"bindings", "events", "records"} <= modules
    titles = {page.stem: page.read_text().split("\n", 1)[0] for page in ROOT.glob("docs/*.md")}
    assert {module: titles.get(module) for module in modules} == {module: f"# {module}" for module in modules}
    rows = re.findall(r"^\| \[`(\w+)`\]\(docs/(\w+)\.md\) \|", (ROOT / "README.md").read_text(), re.M)
    assert sorted(rows) == sorted((module, module) for module in modules)


@pytest.mark.parametrize("name", NAMES)
def test_page_has_one_title_and_no_heading_skips_a_level(name):
    """A page has one title, and headings go down one level at a time, as a table of contents needs."""
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose(ROOT / name), re.M)]
    assert levels[:1] == [1]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_files_of_cdefs_are_all_in_its_table():
    """Every file of cdefs/ is named in the table of cdefs/README.md."""
    text = (ROOT / "cdefs/README.md").read_text()
    names = [path.name for path in ROOT.glob("cdefs/*.[ch]")]
    assert names
    assert [name for name in names if name not in text and f"`{name.rsplit('.', 1)[0]}`" not in text] == []

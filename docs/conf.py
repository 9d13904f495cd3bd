"""How Sphinx builds the site: ``make site``. The pages are the Markdown files of docs/, and those beside the source.

What a forge cannot show is not in the pages but added here: the tables of contents, and each module's docstrings.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING

import perf_event_open_sys
from perf_event_open_sys import bindings, ffi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

project = "perf_event_open_sys"
author = "the perf_event_open_sys authors"
release = perf_event_open_sys.__version__
language = "en"

# The source directory is the root of the repository, so that the links between all pages are those that a forge follows.
root_doc = "docs/index"
include_patterns = ["docs/**.md", "*.md", "cdefs/README.md"]
exclude_patterns = ["build", "dist", ".*"]

# The order of the table of contents. A page that is not listed comes after those that are, by its name.
GUIDES = ["counting", "sampling", "tracepoints", "breakpoints", "bpf", "aux", "threads"]
GUIDES += ["permissions", "compatibility", "speed", "from-perf", "from-rust", "from-ctypes"]
MODULES = ["bindings", "ioctls", "counters", "ring", "records", "events", "targets", "perf_data", "errors"]
BESIDE = ["README", "CONTRIBUTING", "CHANGELOG", "SECURITY", "cdefs/README"]
ROOT = Path(__file__).parent.parent

for found in pkgutil.iter_modules(perf_event_open_sys.__path__):
    if not found.name.startswith("_"):
        MODULES += [found.name] if found.name not in MODULES else []
        module = importlib.import_module(f"perf_event_open_sys.{found.name}")
        for name in getattr(module, "__all__", ()):
            setattr(module, name, getattr(module, name))  # autodoc does not see what is imported at its first use

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
myst_heading_anchors = 4
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Source", "notes")]
add_module_names = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
highlight_language = "none"  # of blocks that do not say theirs, in docstrings
# Types in signatures: cffi's, those of the stub files, private ones, other libraries'. Links to functions are checked.
nitpick_ignore_regex = [("py:class", r".*"), ("c:identifier", r".*")]

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = html_show_copyright = False
pygments_dark_style = "github-dark"  # the default underlines the names of modules
html_additional_pages = {"index": "redirect.html"}  # the start page is docs/index.html
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
copybutton_exclude = ".linenos, .gp, .go"


def contents() -> str:
    """Return the tables of contents: all pages there are."""
    guides = sorted(path.stem for path in ROOT.glob("docs/guides/*.md"))
    guides = [*(name for name in GUIDES if name in guides), *(name for name in guides if name not in GUIDES)]
    others = {path.stem for path in ROOT.glob("docs/*.md")} - {"index", "command-line", "scale", *MODULES}
    tables = {
        "Guides": [*(f"guides/{name}" for name in guides), "scale", "command-line"],
        "Modules": MODULES,
        "More": [*sorted(others), *(f"{name} </{name}>" if name == "README" else f"/{name}" for name in BESIDE)],
    }
    return "".join(
        f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
        for caption, pages in tables.items()
    )


def complete(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Add the tables of contents to the start page, and a module's docstrings to its page; mend links."""
    module = docname.removeprefix("docs/")

    def mended(link: re.Match[str]) -> str:
        """Return the text alone of a link to a folder of the repository: the site does not have it."""
        return link[1] if (ROOT / docname).parent.joinpath(link[2]).is_dir() else link[0]

    source[0] = re.sub(r"\[([^\]\n]+)\]\(([^)#\s]+)\)", mended, source[0])
    # Sphinx fails at a heading that is a link to a file of the repository: the link gets a line of its own.
    source[0] = re.sub(r"^(#+) \[(.+)\]\((.+)\)$", r"\1 \2\n\n[\2](\3)", source[0], flags=re.M)
    if docname == root_doc:
        source[0] += contents()
    elif module in MODULES:
        source[0] += section("Reference", f".. automodule:: perf_event_open_sys.{module}")
        if module == "bindings":
            source[0] += section("Structs", *structs()) + section("Constants", *constants())
    elif module == "c-api":
        own = (value for value in vars(perf_event_open_sys).values() if inspect.isfunction(value))
        names = [one.__qualname__ for one in own if one.__module__ == "perf_event_open_sys" and one.__name__[0] != "_"]
        source[0] += section("Reference", *(f".. autofunction:: perf_event_open_sys.{name}" for name in names))


def structs() -> Iterator[str]:
    """Yield an entry for each struct, with its members as in C."""
    for name in (name for name in ffi.list_types()[1] if name.startswith("perf_")):
        yield f"\n.. c:struct:: {name}\n   :no-contents-entry:\n"
        for member, field in ffi.typeof(f"struct {name}").fields:
            if not member.startswith("_"):
                bits = f" : {field.bitsize}" if field.bitsize >= 0 else ""
                yield f"   .. c:member:: {ffi.getctype(field.type, member)}{bits}\n      :no-contents-entry:\n"


def constants() -> Iterator[str]:
    """Yield an entry for each constant, with its value: large ones in hexadecimal."""
    for name, value in sorted(vars(bindings).items()):
        if name.isupper() and isinstance(value, int):
            shown = hex(value) if value > 9 and "COUNT" not in name and "SIZE" not in name else value
            yield f".. py:data:: {name}\n   :value: {shown}\n   :no-contents-entry:\n"


def section(title: str, *directives: str) -> str:
    """Return a section of Sphinx's directives."""
    return f"\n\n## {title}\n\n" + "```{eval-rst}\n" + "\n".join(directives) + "\n```\n"


def prepare(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Change a docstring before napoleon reads it.

    Each field of a named tuple has one from Python, "Alias for field number 0": it is left out. In the first line of an
    attribute's, napoleon would take what is before a colon for a type: that line is made the second.
    """
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    elif what in ("attribute", "data", "property"):
        lines.insert(0, "")


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("autodoc-process-docstring", prepare, priority=400)
    app.connect("source-read", complete)

"""How Sphinx builds the site: ``make site``. The pages are the Markdown files of docs/, and those beside the source."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

import perf_event_open_sys

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "perf_event_open_sys"
author = "the perf_event_open_sys authors"
release = perf_event_open_sys.__version__
language = "en"

# The source directory is the root of the repository, so that the links between all pages are those that a forge follows.
root_doc = "docs/index"
include_patterns = ["docs/**.md", "*.md", "cdefs/README.md"]
exclude_patterns = ["build", "dist", "mutants", ".*"]
MODULES = [found.name for found in pkgutil.iter_modules(perf_event_open_sys.__path__) if not found.name.startswith("_")]
for module in map(importlib.import_module, (f"perf_event_open_sys.{name}" for name in MODULES)):
    for name in getattr(module, "__all__", ()):
        setattr(module, name, getattr(module, name))  # autodoc does not see what a module imports at its first use

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
myst_heading_anchors = 4
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Source", "notes")]
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
# Types in signatures without an entry of their own: pointers and arrays of the stub files, private names, other libraries'.
nitpick_ignore_regex = [("py:class", r"\w+_[aps]|CType|_.*|numpy\..*")]

html_theme = "furo"
html_title = f"perf_event_open_sys {release}"
html_copy_source = False
html_show_sphinx = False
html_additional_pages = {"index": "redirect.html"}  # the start page is docs/index.html
templates_path = ["_templates"]
copybutton_exclude = ".linenos, .gp, .go"


def add_reference(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Add the module's docstrings to the end of its page: the text on a forge is the page alone."""
    module = docname.removeprefix("docs/")
    if module in MODULES:
        source[0] += f"\n\n## Reference\n\n```{{eval-rst}}\n.. automodule:: perf_event_open_sys.{module}\n```\n"


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", add_reference)

"""scripts/draw_architecture.py: the picture is that of these imports, and no import breaks the order of the layers."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_headers import put

PROJECT = Path(__file__).parent.parent.parent
SCRIPT = PROJECT / "scripts" / "draw_architecture.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="no scripts/ beside tests/")


@pytest.fixture
def draw(tmp_path, capsys):
    """Run the script on a package of made-up files; return its status and what it wrote to standard error."""
    main = runpy.run_path(str(SCRIPT))["main"]

    def drawn(*arguments, **files):
        put(tmp_path, {f"perf_event_open_sys/{name.replace('__', '/')}.py": text for name, text in files.items()})
        (tmp_path / "docs").mkdir(exist_ok=True)
        return main(list(arguments), tmp_path), capsys.readouterr().err

    return drawn


@pytest.fixture
def whole():
    """A file for each layer, importing downwards."""
    return {
        "ring": "from . import errors\nfrom ._native import lib\n",
        "errors": "def f():\n    from . import bindings\n",
        "bindings": "from .bindings import perf_event_attr_p\nimport os\n",
        "targets": "from perf_event_open_sys import ring\n",
        "_cli__stat": "from ..targets import threads\nfrom . import table\n",
        "_cli__table": "",
    }


def test_picture_is_up_to_date():
    """docs/architecture.svg is drawn from the imports as they are, and none breaks a rule."""
    assert runpy.run_path(str(SCRIPT))["main"](["--check"]) == 0


def test_every_file_of_the_package_is_read():
    """A file that is not read could break any rule."""
    files, imports = runpy.run_path(str(SCRIPT))["read_imports"](PROJECT)
    assert len(files) == len(list(PROJECT.glob("perf_event_open_sys/**/*.py")))
    assert {("ring", "errors"), ("ring", "_mappings"), ("_cli/stat", "targets"), ("events/_format", "records")} <= {
        (found.importer, found.imported) for found in imports
    }


def test_same_imports_give_the_same_picture(draw, whole, tmp_path):
    """Nothing in it comes from the order of a set or of a directory, and --check is content with it."""
    pictures = []
    for _ in range(2):
        assert draw(**whole) == (0, "")
        pictures.append((tmp_path / "docs" / "architecture.svg").read_text())
    assert pictures[0] == pictures[1]
    assert draw("--check") == (0, "")
    assert all(f">{name}<" in pictures[0] for name in ("ring", "errors", "bindings", "targets", "_cli/"))


def test_check_finds_an_old_picture_and_leaves_it(draw, whole, tmp_path):
    """An import that the picture does not show is status 1."""
    draw(**whole)
    picture = tmp_path / "docs" / "architecture.svg"
    before = picture.read_text()
    status, text = draw("--check", counters="from . import errors\n")
    assert status == 1
    assert "architecture.svg is not up to date" in text
    assert picture.read_text() == before


@pytest.mark.parametrize(
    "line",
    [
        "from . import ring",
        "from .ring import map",
        "import perf_event_open_sys.ring",
        "from perf_event_open_sys import ring",
    ],
)
def test_import_that_leads_upwards_is_named(draw, whole, line):
    """Its file, its line, and the two layers, whatever way it is written."""
    status, text = draw(**whole | {"bindings": f"import os\n{line}\n"})
    assert status == 2
    assert (
        "perf_event_open_sys/bindings.py:2 imports ring, which is in a higher layer ('events that are open' is" in text
    )


def test_files_that_import_each_other_are_named(draw, whole):
    """An import for type checkers only makes a circle as well."""
    text = "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from .stat import Stat\n"
    assert draw(**whole | {"_cli__table": text}) == (2, "these import each other: _cli/stat, _cli/table\n")


def test_circle_of_three_is_found(draw, whole):
    """None of them imports the one that imports it."""
    circle = {"_mappings": "from . import errors\n", "bindings": "from ._mappings import find\n"}
    assert draw(**whole | circle) == (2, "these import each other: _mappings, bindings, errors\n")


def test_file_without_a_layer_is_named(draw, whole, tmp_path):
    """A new file is put into a layer by hand; until then nothing is drawn."""
    status, text = draw(**whole | {"sampling": ""})
    assert status == 2
    assert "perf_event_open_sys/sampling.py is in no layer: add it to LAYERS" in text
    assert not (tmp_path / "docs" / "architecture.svg").exists()


def test_it_runs_as_a_program():
    """The command that CONTRIBUTING names works on this tree."""
    assert subprocess.run([sys.executable, str(SCRIPT), "--check"]).returncode == 0

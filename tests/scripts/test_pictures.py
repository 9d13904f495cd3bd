"""The pictures of docs/: each is an SVG that says what it shows, and those that are not measured are up to date."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent.parent
PICTURES = sorted(ROOT.glob("docs/pictures/*.svg"))

pytestmark = pytest.mark.skipif(not (ROOT / "scripts").exists(), reason="no scripts/ beside tests/")


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_picture_is_whole_and_is_shown_on_a_page(path):
    """It is well-formed SVG, and a page shows it, with a text for those who cannot see it."""
    root = ElementTree.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert [float(number) > 0 for number in root.get("viewBox").split()] == [False, False, True, True]
    pages = "".join(page.read_text() for page in ROOT.glob("docs/**/*.md"))
    assert f"](../pictures/{path.name})" in pages.replace("![]", "")


def test_ring_is_up_to_date():
    """What scripts/draw_ring.py draws is what is committed."""
    script = ROOT / "scripts/draw_ring.py"
    assert subprocess.run([sys.executable, str(script), "--check"]).returncode == 0

"""The code in docs/ runs as it stands, with real events; a comment above a block says what it needs of the machine."""

import doctest
import subprocess
import sys

import pytest
from support.marks import needs_events
from support.pages import blocks, skip_unless_here


@needs_events
@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.name)
def test_block_of_the_docs_runs(block, tmp_path, request):
    """What a page shows can be pasted into a file and run."""
    skip_unless_here(block.needs, request)
    script = tmp_path / "page.py"
    script.write_text(block.text)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@needs_events
@pytest.mark.parametrize("block", blocks("pycon"), ids=lambda block: block.name)
def test_session_of_the_docs_prints_what_it_shows(block, tmp_path, request):
    """Interactive examples are doctests."""
    skip_unless_here(block.needs, request)
    page = tmp_path / "page.txt"
    page.write_text(block.text)
    assert doctest.testfile(str(page), module_relative=False).failed == 0

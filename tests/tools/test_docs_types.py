"""The code in docs/ that not every machine can run is right by its names and types; the other is run."""

import importlib.util
import subprocess
import sys

import pytest
from support.pages import blocks

# What a page may leave out: annotations, and questions whether a value is None.
RELAXED = ["union-attr", "var-annotated", "import-untyped"]


@pytest.mark.skipif(not importlib.util.find_spec("mypy"), reason="needs mypy")
def test_block_that_needs_hardware_uses_names_and_types_that_there_are(tmp_path):
    """A misspelt function, constant or field of a block that needs hardware is an error to mypy: the stub files list all."""
    needy = [block for block in blocks("python") if block.needs]
    assert any("intel_pt" in block.needs for block in needy)
    for block in needy:
        (tmp_path / f"{block.name}.py").write_text(block.text)
    codes = [f"--disable-error-code={code}" for code in RELAXED]
    options = ["--config-file=", "--check-untyped-defs", "--hide-error-context", "--no-pretty", "--python-version=3.10"]
    command = [sys.executable, "-m", "mypy", *options, *codes, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

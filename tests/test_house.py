"""The rules that CONTRIBUTING names, where they can be counted: lengths, names, who raises, what a Makefile target is."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from perf_event_open_sys import _cdef

ROOT = Path(__file__).parent.parent
MAX_LINES = 400
PACKAGE = sorted(ROOT.glob("perf_event_open_sys/**/*.py"))
TESTS = sorted(path for path in ROOT.glob("tests/**/test_*.py"))

pytestmark = pytest.mark.skipif(not (ROOT / "cdefs").exists(), reason="the package's source is not beside tests/")
needs_make = pytest.mark.skipif(
    not (shutil.which("make") and (ROOT / "Makefile").exists()), reason="needs make and the Makefile"
)


def git(*arguments):
    """Run git in the project, whoever owns it; skip where this is no checkout."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs a git checkout: an unpacked source distribution has no list of its files")
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def files():
    """The files of the checkout, by path, and whether .gitattributes says that they are generated."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")[:-1]
    listed = [name for name in listed if (ROOT / name).is_file()]
    words = git("check-attr", "-z", "linguist-generated", "--", *listed).split("\0")
    return {name: value == "set" for name, value in zip(words[::3], words[2::3], strict=False)}


def test_no_file_that_is_written_by_hand_has_more_than_400_lines(files):
    """A longer one is two topics, or says something twice."""
    assert len(files) > 100
    lengths = {name: len((ROOT / name).read_bytes().splitlines()) for name, generated in files.items() if not generated}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_generated_files_say_so_on_their_first_line(files):
    """And no other file begins like one: .gitattributes lists all of them, so that reviews collapse them."""
    mark = rb'(#compdef .*\n)?(/\*|#|<!--|\.\\") (generated|drawn) by scripts/'  # zsh wants #compdef before all else
    says_so = {name for name in files if re.match(mark, (ROOT / name).read_bytes())}
    assert says_so == {name for name, generated in files.items() if generated}


def test_no_text_of_the_kernel_is_committed(files):
    """What is generated are names and values; the kernel's headers themselves have its licence's mark."""
    mark = b"WITH Linux-" + b"syscall-note"
    assert [name for name in files if mark in (ROOT / name).read_bytes()] == []


def test_text_ends_in_one_newline_and_no_line_in_blanks(files):
    """As .editorconfig says."""
    texts = {name: (ROOT / name).read_text() for name in files}
    assert [name for name, text in texts.items() if text and (not text.endswith("\n") or text.endswith("\n\n"))] == []
    assert [name for name, text in texts.items() if re.search(r"[ \t\r]$", text, re.M)] == []


@pytest.mark.parametrize("topic", [*_cdef.TOPICS, "bindings", "errors", "events", "perf_data", "targets"])
def test_topic_has_its_source_its_tests_and_its_page(topic):
    """Samples are part of records in Python."""
    module = {"samples": "records"}.get(topic, topic)
    if topic in _cdef.TOPICS:
        assert (ROOT / f"cdefs/{topic}.h").exists()
        assert (ROOT / f"cdefs/{topic}.c").exists()
    assert (ROOT / f"perf_event_open_sys/{module}.py").exists() or (ROOT / f"perf_event_open_sys/{module}").is_dir()
    assert list(ROOT.glob(f"tests/test_{module}*.py"))
    assert (ROOT / f"docs/{module}.md").exists()


@pytest.mark.parametrize("topic", _cdef.TOPICS)
def test_functions_of_a_header_are_named_after_it(topic):
    """<topic>_<verb>: whoever reads a call knows the file."""
    text = re.sub(r"/\*.*?\*/|^#.*?$", "", (ROOT / f"cdefs/{topic}.h").read_text(), flags=re.S | re.M)
    functions = re.findall(r"^[a-z][\w \t*]*?\b(\w+)\(", text, re.M)
    prefix = {"ioctls": "ioctl_", "samples": "records_"}.get(topic, f"{topic}_")
    assert functions
    assert [name for name in functions if not name.startswith(prefix) and name != "perf_event_open"] == []


def test_c_allocates_nothing():
    """The caller brings the memory."""
    sources = [*ROOT.glob("cdefs/*.[ch]")]
    assert sources
    assert [
        path.name for path in sources if re.search(r"\b([mc]alloc|realloc|free|alloca|strn?dup)\(", path.read_text())
    ] == []


def test_what_the_kernel_refuses_is_raised_by_errors_alone():
    """So that each refusal has its reason. Those of processes are targets', and the command line's are its own."""
    builtin = {
        name
        for name, kind in vars(__import__("builtins")).items()
        if isinstance(kind, type) and issubclass(kind, OSError)
    }
    raising = set()
    for path in PACKAGE:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Raise)
                and isinstance(node.exc, ast.Call)
                and getattr(node.exc.func, "id", "") in builtin
            ):
                raising.add(str(path.relative_to(ROOT / "perf_event_open_sys")))
    assert {name for name in raising if not name.startswith("_cli/")} == {"errors.py", "targets.py"}


def test_each_test_says_its_behaviour():
    """A test without a docstring, or of which the first line is not a sentence, leaves the reader to guess."""
    silent = []
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                first = (ast.get_docstring(node) or "").split("\n")[0]
                if not re.search(r"[.:!?…)]$", first):
                    silent.append(f"{path.name}:{node.lineno} {node.name}: {first}")
    assert silent == []


@needs_make
def test_makefile_targets_that_pages_name_exist_and_are_explained():
    """`make help` lists each, and make finds what it would do."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
    named = {target for page in pages for target in re.findall(r"^make ([a-z-]+)", page.read_text(), re.M)}
    assert {"build", "test", "quick", "lint", "types", "regenerate", "bench", "docs", "mutation"} <= named
    listed = subprocess.run(["make", "-s", "-C", str(ROOT), "help"], check=True, capture_output=True, text=True).stdout
    explained = set(re.findall(r"^make ([a-z-]+)", listed, re.M))
    assert named <= explained
    for target in sorted(explained):
        subprocess.run(["make", "-n", "-C", str(ROOT), target], check=True, capture_output=True)

"""The man page and the completions of the shells: they have every subcommand and option, and man, bash and zsh take them."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perf_event_open_sys.__main__ import SUBCOMMANDS

ROOT = Path(__file__).parent.parent.parent
PROGRAM = "perf-event-open-sys"
MAN = ROOT / f"share/man/man1/{PROGRAM}.1"
BASH = ROOT / f"share/bash-completion/completions/{PROGRAM}"
ZSH = ROOT / f"share/zsh/site-functions/_{PROGRAM}"

pytestmark = pytest.mark.skipif(not MAN.exists(), reason="no share/ beside tests/")


def needs(tool):
    """Skip where a program is not installed."""
    return pytest.mark.skipif(not shutil.which(tool), reason=f"needs {tool}")


def flags(name):
    """Return all flags of a subcommand."""
    command = importlib.import_module(f"perf_event_open_sys._cli.{name}").COMMAND
    return {flag for option in command.options for flag in option.flags}


def bash_completes(*words):
    """Return what bash offers after these words, of which the last is not finished."""
    line = " ".join(f"'{word}'" for word in words)
    program = f"""
        source '{BASH}'
        function=$(complete -p {PROGRAM} | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE="${{COMP_WORDS[*]}}"; COMP_POINT=${{#COMP_LINE}}
        $function {PROGRAM} '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return subprocess.run(["bash", "-c", program], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("name", SUBCOMMANDS)
@pytest.mark.parametrize("path", [MAN, BASH, ZSH], ids=["man", "bash", "zsh"])
def test_every_option_of_each_subcommand_is_there(path, name):
    """A new option is in each file once ``make regenerate`` has run."""
    text = path.read_text().replace("\\-", "-")
    assert re.search(rf"\b{name}\b", text)
    assert [flag for flag in flags(name) if not re.search(rf"{flag}(?![\w-])", text)] == []


@needs("man")
def test_man_renders_the_page_without_a_warning():
    """As `man perf-event-open-sys` does where the package is installed."""
    page = subprocess.run(
        ["man", "--warnings", "-l", MAN], env={"MANWIDTH": "100", "LC_ALL": "C.UTF-8"}, capture_output=True, text=True
    )
    assert page.returncode == 0
    assert page.stderr == ""
    for name in SUBCOMMANDS:
        assert f"COMMAND '{PROGRAM} {name}'" in page.stdout
    assert re.search(r"^ +-e EVENT,\.\.\., --event EVENT,\.\.\.$", page.stdout, re.M)


@needs("bash")
def test_bash_completes_subcommands_and_options():
    """`perf-event-open-sys st<TAB>` is stat, and `stat --ev<TAB>` its option."""
    assert bash_completes(PROGRAM, "st") == ["stat"]
    assert bash_completes(PROGRAM, "stat", "--ev") == ["--event"]
    assert set(bash_completes(PROGRAM, "stat", "--")) == {
        "--help",
        *(flag for flag in flags("stat") if flag.startswith("--")),
    }


@needs("zsh")
def test_zsh_can_read_its_file():
    """A zsh loads the function that `compinit` finds."""
    subprocess.run(["zsh", "-fn", ZSH], check=True)


def test_files_are_in_step_with_the_options():
    """And they are what the script writes: nothing was edited by hand."""
    pytest.importorskip("shtab", reason="needs shtab, to write the completions anew")
    pytest.importorskip("argparse_manpage", reason="needs argparse-manpage")
    script = ROOT / "scripts/command_files.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")

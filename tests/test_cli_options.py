"""The options of a subcommand: how they are read, and the lines that help and usage have."""

import sys

import pytest

from perf_event_open_sys._cli import options
from perf_event_open_sys._cli.options import Option, Subcommand
from perf_event_open_sys._cli.stat import COMMAND


@pytest.fixture
def _installed(monkeypatch):
    """As if the installed command had been called, by a short name."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/p", "sub"])


@pytest.mark.parametrize(
    ("argv0", "shown"),
    [
        ("/usr/bin/perf-event-open-sys", "perf-event-open-sys"),
        ("/lib/perf_event_open_sys/__main__.py", "python -m perf_event_open_sys"),
        ("-c", "python -m perf_event_open_sys"),
        ("-m", "python -m perf_event_open_sys"),
        ("", "python -m perf_event_open_sys"),
    ],
)
def test_the_usage_shows_how_the_program_was_called(argv0, shown, monkeypatch):
    """By the name of the installed command; as a module where that has no name to be called by."""
    monkeypatch.setattr(sys, "argv", [argv0])
    assert Subcommand("sub", "").usage() == f"usage: {shown} sub"


@pytest.mark.usefixtures("_installed")
def test_a_long_usage_goes_on_below_the_subcommand():
    """A line is as long as WIDTH at the most; the next begins where the options of the first do."""
    first = "usage: p sub"
    fits = options.WIDTH - len(first) - 1 - len(" [-b B]") - len("[]")
    for length, lines in (
        (fits, [f"{first} [{'a' * fits}] [-b B]", " " * 13 + "rest"]),
        (fits + 1, [f"{first} [{'a' * (fits + 1)}]", " " * 13 + "[-b B] rest"]),
    ):
        command = Subcommand("sub", "", [Option("a" * length, "a"), Option("-b", "b", "B")], "rest")
        assert command.usage().splitlines() == lines


@pytest.mark.usefixtures("_installed")
def test_the_help_is_usage_summary_and_a_row_for_each_option():
    """Texts stand in a column; behind longer flags they begin on the next line; long ones go on below themselves."""
    half = "w" * ((options.WIDTH - 30) // 2 - 1)
    fits, longer = "--" + "x" * 26, "--" + "x" * 27
    command = Subcommand(
        "sub",
        "Do it",
        [
            Option("-a --all", "all", text="everything"),
            Option(fits, "fits", text="beside"),
            Option(longer, "longer", text="below"),
            Option("-c", "c", "C", text=f"{half} {half} {half}"),
            Option("-d", "d", "D", text=f"{half} {half}w"),
        ],
    )
    below = " " * 31
    assert command.help().splitlines() == [
        *command.usage().splitlines(),
        "",
        "Do it.",
        "",
        f"  {'-a, --all':28} everything",
        f"  {fits} beside",
        f"  {longer}",
        f"{below}below",
        f"  {'-c C':28} {half} {half}",
        f"{below}{half}",
        f"  {'-d D':28} {half}",
        f"{below}{half}w",
        f"  {'-h, --help':28} print this",
    ]


def test_a_value_may_be_empty_behind_an_equals_sign():
    """--flag= is the empty value; the next word is not taken for it."""
    read = COMMAND.parse(["--output=", "x"])
    assert (read.output, read.rest) == ("", ["x"])


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_printed_wherever_it_stands(flag, capsys):
    """Before the command, in which it is the command's own."""
    assert COMMAND.parse(["-a", flag]) is None
    assert capsys.readouterr().out == COMMAND.help() + "\n"
    assert COMMAND.parse(["x", flag]).rest == ["x", flag]


def test_numbers_have_18_digits_at_the_most():
    """Which a C long holds, whatever they are multiplied by 1 to 9."""
    assert options.positive("9" * 18) == 10**18 - 1
    for text in ("9" * 19, "0", "-1", "²", "1 ", ""):
        with pytest.raises(ValueError, match="not a number from 1 on"):
            options.positive(text)

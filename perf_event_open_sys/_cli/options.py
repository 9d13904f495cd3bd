"""The options of a subcommand, read from its arguments. argparse would double the time that ``stat`` takes to start."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

WIDTH = 100  # of help and usage, on any terminal


class UsageError(ValueError):
    """A wrong command line; *usage* is the text that shows how the subcommand is used."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class Option:
    """An option: its flags, and where its value goes.

    Without *metavar* it takes no value, and what is kept is how often it is given. With *many* the values are a list.
    """

    def __init__(
        self,
        flags: str,
        name: str,
        metavar: str = "",
        text: str = "",
        convert: Callable[[str], Any] = str,
        *,
        default: Any = None,
        many: bool = False,
    ) -> None:
        self.flags, self.name, self.metavar, self.text = flags.split(), name, metavar, text
        self.convert, self.many = convert, many
        self.default = 0 if not metavar else default

    def __str__(self) -> str:
        return " ".join(filter(None, [self.flags[0], self.metavar]))


class Subcommand:
    """A subcommand: what it does, its options, and what may follow them."""

    def __init__(self, name: str, summary: str, options: Sequence[Option] = (), rest: str = "") -> None:
        self.name, self.summary, self.options, self.rest = name, summary, options, rest

    def usage(self) -> str:
        """Return how the subcommand is called, in lines of at most ``WIDTH`` columns."""
        line = f"usage: {program()} {self.name}"
        indent, lines = " " * (len(line) + 1), []
        for part in [*(f"[{option}]" for option in self.options), *filter(None, [self.rest])]:
            if len(line) + 1 + len(part) > WIDTH:
                lines.append(line)
                line = indent + part
            else:
                line += f" {part}"
        return "\n".join([*lines, line])

    def help(self) -> str:
        """Return the usage with a line or two for each option."""
        rows = [(f"{', '.join(option.flags)} {option.metavar}".rstrip(), option.text) for option in self.options]
        rows.append(("-h, --help", "print this"))
        return "\n".join([self.usage(), "", f"{self.summary}.", "", *(_row(flags, text) for flags, text in rows)])

    def error(self, message: str) -> UsageError:
        """Return the exception for a command line that makes no sense."""
        return UsageError(message, self.usage())

    def parse(self, arguments: list[str]) -> SimpleNamespace | None:
        """Read the arguments: a field for each option, and in ``rest`` all from the first that is not an option.

        If they ask for help, print it and return None.

        Raises:
            UsageError: an option that is not known, or a value that is missing, wrong, or too much.
        """
        values: dict[str, Any] = {option.name: [] if option.many else option.default for option in self.options}
        known = {flag: option for option in self.options for flag in option.flags}
        rest = list(arguments)
        while rest and rest[0].startswith("-") and rest[0] != "-":
            word = rest.pop(0)
            if word == "--":
                break
            if word in ("-h", "--help"):
                print(self.help())
                return None
            flag, given = (word.partition("=")[::2]) if word.startswith("--") else (word[:2], word[2:])
            option = known.get(flag)
            if not option:
                raise self.error(f"there is no option {flag}")
            if option.metavar:
                if not given and "=" not in word:
                    if not rest:
                        raise self.error(f"{flag} needs {option.metavar}")
                    given = rest.pop(0)
                self._keep(values, option, flag, given)
            elif given and word.startswith("--"):
                raise self.error(f"{flag} takes no value")
            else:
                values[option.name] += 1
                if given:  # -aA is -a -A
                    rest.insert(0, f"-{given}")
        if rest and not self.rest:
            raise self.error(f"{self.name} takes no {rest[0]!r}")
        return SimpleNamespace(**values, rest=rest)

    def _keep(self, values: dict[str, Any], option: Option, flag: str, text: str) -> None:
        try:
            value = option.convert(text)
        except ValueError as error:
            raise self.error(f"{flag}: {error}") from None
        if option.many:
            values[option.name].append(value)
        else:
            values[option.name] = value


def program() -> str:
    """Return how the program was called: by its installed name, or as a module."""
    name = os.path.basename(sys.argv[0])
    return "python -m perf_event_open_sys" if name in ("__main__.py", "-c", "-m", "") else name


def positive(text: str) -> int:
    """Read a number of one or more."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 18 or not int(text):
        raise ValueError(f"not a number from 1 on: {text!r}")
    return int(text)


def positive_list(text: str) -> list[int]:
    """Read numbers of one or more, with commas between them."""
    return [positive(part) for part in text.split(",")]


def _row(flags: str, text: str) -> str:
    lines, line = [], f"  {flags:28}"
    if len(line) > 30:
        lines.append(line)
        line = " " * 30
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = " " * 30
        line += f" {word}"
    return "\n".join([*lines, line])

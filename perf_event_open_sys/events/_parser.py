"""Parse a string of perf's event syntax into groups, events, terms and modifiers, without looking at this machine.

The parser goes through the characters by itself, without regular expressions. Importing ``re`` and compiling them takes
longer than importing all of ``perf_event_open_sys.events``, and the time of this parser is linear in the string's
length.
"""

from __future__ import annotations

from .._files import parse_number
from .._namedtuple import NamedTuple
from .._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_IN_NAMES = "_.@*?![]-"  # besides letters and digits
_DECIMAL = "0123456789"
_HEXADECIMAL = _DECIMAL + "abcdefABCDEF"
_ACCESS = {"r": lib.HW_BREAKPOINT_R, "w": lib.HW_BREAKPOINT_W, "x": lib.HW_BREAKPOINT_X}


class Term(NamedTuple):
    """A term between an event's slashes: ``name``, or ``name=value``."""

    name: str
    value: str | None
    at: int  # the index of its first character in the whole string


class ParsedEvent(NamedTuple):
    """The parts of one event's text. An ``_at`` is the index of a part's first character in the whole string."""

    text: str
    at: int
    name: str  # of a generic event, an event in sysfs, a PMU, or a tracepoint's system; "" if *fields* is not empty
    fields: dict[str, int]  # the fields of the attr, if the event is rNNN, TYPE:CONFIG or mem:ADDRESS
    second: str  # what follows the name's colon: a tracepoint's name, or modifiers
    second_at: int
    terms: list[Term] | None  # what is between the slashes; None if there are no slashes
    terms_text: str
    modifiers: str
    modifiers_at: int


class ParsedGroup(NamedTuple):
    """What stands between two commas of a list: one event, or several in braces and the modifiers that they share."""

    events: list[ParsedEvent]
    in_braces: bool
    modifiers: str
    modifiers_at: int


def refuse(text: str, at: int, message: str) -> NoReturn:
    """Raise the ``ValueError`` that shows *text* with a caret below its character *at*."""
    raise ValueError(f"{message}\n  {text}\n  {' ' * at}^")


def parse_list(text: str) -> list[ParsedGroup]:
    """Return the groups of a list of events.

    Raises:
        ValueError: *text* is no such list; a caret shows where.
    """
    scanner = _Scanner(text)
    groups = [_group(scanner)]
    while scanner.at < len(text):
        if not scanner.accept(","):
            scanner.fail("the event ends here, and no comma follows")
        groups.append(_group(scanner))
    return groups


def parse_one(text: str) -> ParsedEvent:
    """Return the one event that *text* is; errors as for :func:`parse_list`."""
    scanner = _Scanner(text)
    event = _event(scanner)
    if scanner.at < len(text):
        scanner.fail("the event ends here, and one is all that can be read")
    return event


class _Scanner:
    """A string, and the index ``at`` of the character to be read next."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        refuse(self.text, self.at if at is None else at, message)

    def accept(self, character: str) -> bool:
        """If *character* comes next, pass over it and return True; otherwise return False."""
        found = self.text.startswith(character, self.at)
        self.at += found
        return found

    def skip(self, characters: str) -> None:
        """Pass over the next characters as long as they are in *characters*."""
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1

    def word(self, others: str) -> str:
        """Pass over the next characters as long as they are letters, digits or in *others*; return them."""
        begin = self.at
        while self.at < len(self.text) and (self.text[self.at].isalnum() or self.text[self.at] in others):
            self.at += 1
        return self.text[begin : self.at]

    def number(self) -> int:
        begin = self.at
        if self.text[begin : begin + 2] in ("0x", "0X"):
            self.at += 2
            self.skip(_HEXADECIMAL)
        else:
            self.skip(_DECIMAL)
        value = parse_number(self.text[begin : self.at])
        if value is None:
            self.fail("a number of up to 64 bits belongs here", begin)
        return value

    def value(self) -> str:
        """Pass over, and return, the value of a term, without its quotes."""
        begin, quote = self.at, self.text[self.at : self.at + 1]
        if quote and quote in "'\"":
            self.at = self.text.find(quote, begin + 1) + 1
            if self.at == 0:
                self.fail("this quote has no closing one", begin)
            return self.text[begin + 1 : self.at - 1]
        while self.at < len(self.text) and self.text[self.at] not in ",/'\"":
            self.at += 1
        return self.text[begin : self.at]


def _group(scanner: _Scanner) -> ParsedGroup:
    if not scanner.accept("{"):
        return ParsedGroup([_event(scanner)], False, "", scanner.at)
    events = [_event(scanner)]
    while scanner.accept(","):
        events.append(_event(scanner))
    if not scanner.accept("}"):
        scanner.fail("the group's closing brace is missing")
    scanner.accept(":")
    modifiers_at = scanner.at
    return ParsedGroup(events, True, scanner.word("_"), modifiers_at)


def _event(scanner: _Scanner) -> ParsedEvent:
    at = second_at = scanner.at
    name, second = scanner.word(_IN_NAMES), ""
    fields: dict[str, int] = {}
    if not name:
        scanner.fail("an event is missing here")
    if name == "mem" and scanner.accept(":"):
        fields = _breakpoint(scanner)
    elif (name.isdecimal() or parse_number(name) is not None) and scanner.text.startswith(":", scanner.at):
        scanner.at = at
        kind = scanner.number()
        scanner.accept(":")
        fields = {"type": kind, "config": scanner.number()}
    elif name[0] == "r" and (raw := parse_number(f"0x{name[1:]}")) is not None:
        fields = {"type": lib.PERF_TYPE_RAW, "config": raw}
    elif scanner.accept(":"):
        second_at, second = scanner.at, scanner.word(_IN_NAMES)
        if not second:
            scanner.fail("modifiers, or the name of a tracepoint, are missing here")
    slash = scanner.at
    terms = _terms(scanner) if scanner.accept("/") else None
    terms_text = scanner.text[slash + 1 : scanner.at - 1]  # "" if there are no slashes
    scanner.accept(":")
    modifiers_at, modifiers = scanner.at, scanner.word("_")
    text = scanner.text[at : scanner.at]
    name = "" if fields else name
    return ParsedEvent(text, at, name, fields, second, second_at, terms, terms_text, modifiers, modifiers_at)


def _breakpoint(scanner: _Scanner) -> dict[str, int]:
    """Read what follows ``mem:``, and return the attr's fields."""
    address, length, access = scanner.number(), 0, "rw"
    begin = scanner.at
    if scanner.accept("/"):
        if scanner.text[scanner.at : scanner.at + 1] in [*_DECIMAL]:
            length = scanner.number()
        else:
            scanner.at = begin  # the slash begins the terms, not a length
    begin = scanner.at
    if scanner.accept(":"):
        word = scanner.word("_")
        if word and not set(word) - set(_ACCESS):
            access = word
        else:
            scanner.at = begin  # the colon begins the modifiers, not an access
    # x86 takes an execute breakpoint only with the length of a long.
    default = ffi.sizeof("long") if access == "x" else lib.HW_BREAKPOINT_LEN_4
    kind = sum(_ACCESS[letter] for letter in set(access))
    return {"type": lib.PERF_TYPE_BREAKPOINT, "bp_type": kind, "bp_addr": address, "bp_len": length or default}


def _terms(scanner: _Scanner) -> list[Term]:
    """Read terms and the closing slash; the opening one has been read."""
    slash = scanner.at - 1
    terms: list[Term] = []
    while not scanner.accept("/"):
        separated = not terms or scanner.accept(",")
        at, name = scanner.at, scanner.word(_IN_NAMES)
        if at == len(scanner.text):
            scanner.fail("this '/' has no closing one", slash)
        if not name or not separated:
            scanner.fail("terms are name or name=value, with commas between")
        terms.append(Term(name, scanner.value() if scanner.accept("=") else None, at))
    return terms

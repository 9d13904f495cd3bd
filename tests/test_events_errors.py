"""Strings that are no events: what is wrong, and where."""

import re
import sys

import hypothesis
import pytest
from hypothesis import strategies
from support.trees import hybrid_machine

from perf_event_open_sys import events


@pytest.fixture
def hybrid(tmp_path):
    """The sysfs of a hybrid machine with an uncore PMU in two boxes, and one with parameters."""
    return hybrid_machine(tmp_path)


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("cpu_core/evnt=1/", "PMU cpu_core has no term 'evnt'; did you mean event", 9),
        ("cpu_core/event=1,umask=0x100/", "umask has 8 bits: it goes up to 0xff", 17),
        ("cpu_core/event=x/", "event takes a number of up to 64 bits, not 'x'", 9),
        ("cpu_corn/event=1/", "this machine has no PMU 'cpu_corn'; did you mean cpu_core", 0),
        ("hv_24x7/PM_X/", "PM_X leaves core to you: hv_24x7/PM_X,core=.../", 8),
        ("PM_X", "PM_X leaves core to you: hv_24x7/PM_X,core=.../", 0),
        ("uncore_abc//", "this machine has no PMU 'uncore_abc'", 0),
        ("imc/data_reads/", "2 events have this name: uncore_imc_0/data_reads/, uncore_imc_1/data_reads/", 0),
        ("cpu_core/event=1", "this '/' has no closing one", 8),
        ("cycels", "no event 'cycels'; did you mean cycles", 0),
        ("cycels:u", "no event 'cycels'; did you mean cycles", 0),
        ("slot", "no event 'slot'; did you mean slots", 0),
        ("cycles:ux", "no modifier 'x'", 8),
        ("cycles:upppp", "too many 'p'", 8),
        ("cycles:uu", "too many 'u'", 7),
        ("cycles:", "modifiers, or the name of a tracepoint, are missing here", 7),
        ("cycles:u/period=1/", "modifiers come last", 8),
        ("cycles,cycles", "the event ends here", 6),
        ("page-faults/call-graph=x/", "call-graph takes fp or no, not 'x'", 12),
        ("page-faults/aa/", "this event has no term 'aa'", 12),
        ("software/cycles/", "PMU software has no term 'cycles'", 9),
        ("page-faults/a b/", "terms are name or name=value", 13),
        ("page-faults/name='a'config/", "terms are name or name=value", 26),
        ("duration_time", "duration_time is no event of the kernel", 0),
        ("", "an event is missing here", 0),
    ],
)
def test_a_wrong_event_is_a_value_error_with_a_caret(hybrid, text, message, caret):
    """What is wrong, the nearest names, and a caret under the place."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        events.attr(text, sysfs=hybrid)
    assert str(caught.value).splitlines()[1:] == [f"  {text}", f"  {' ' * caret}^"]


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("mem:0x10000000000000000", "a number of up to 64 bits belongs here", 4),
        ("cs/config=0x1ffffffffffffffff/", "config takes a number of up to 64 bits", 3),
        ("4294967296:0", "perf_event_attr.type: ", 0),
        ("cs/inherit=2/", "perf_event_attr.inherit: ", 0),
    ],
)
def test_a_number_too_large_is_a_value_error_with_its_place(text, message, caret):
    """What does not fit its field is the text's fault; an override that does not is an OverflowError."""
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}.*\n.*\n  {' ' * caret}\^$"):
        events.attr(text)
    with pytest.raises(OverflowError, match=r"perf_event_attr\.disabled"):
        events.attr("cs", disabled=2)


PIECES = [
    "cycles",
    "cs",
    "mem:0x10",
    "r1a",
    "1:2",
    "cpu_core",
    "slots",
    "event",
    "=",
    "0x1",
    "a:b",
    *"/:,{}'\"u*?~ \0é²٣",
]


@hypothesis.given(strategies.lists(strategies.sampled_from(PIECES), max_size=8))
@hypothesis.settings(
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_any_text_is_an_event_or_a_value_error(hybrid, pieces):
    """Text of the syntax's own pieces, and of others, is read or refused with a caret: nothing else."""
    text = "".join(pieces)
    try:
        refusal = "" if events.parse(text, sysfs=hybrid, tracefs=f"{hybrid}/bus") else "no event, and no error\n"
    except ValueError as error:
        refusal = str(error)
    except FileNotFoundError:  # a tracepoint, of a tree that has none
        refusal = "" if ":" in text else "tracefs was looked for\n"
    assert refusal == "" or refusal.endswith(" ^")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{page-faults", "the group's closing brace is missing"),
        ("page-faults}", "the event ends here, and no comma follows"),
        *((text, "an event is missing here") for text in ("{}", "page-faults,", "{{cs}}")),
        ("{page-faults}x", "no modifier 'x'"),
    ],
)
def test_a_wrong_list_is_a_value_error(text, message):
    """Braces and commas that do not fit are shown with a caret."""
    with pytest.raises(ValueError, match=rf"^{message}(?s:.*)\^$"):
        events.parse(text)


@pytest.mark.parametrize(
    ("text", "caret"),
    [
        ("cs/period={}/", 3),
        ("1:{}", 2),
        ("{}:1", 0),
        ("mem:{}", 4),
        ("mem:0x10/{}", 9),
        ("mem:0x10/0x{}", 9),
        ("r{}", 0),
        ("cpu_core/event={}/", 9),
    ],
)
def test_a_number_of_thousands_of_digits_is_a_value_error_with_a_caret(hybrid, text, caret):
    """Python's own limit of 4,300 digits is never met."""
    with pytest.raises(ValueError, match=rf"\n  {' ' * caret}\^$"):
        events.attr(text.format("9" * 5000), sysfs=hybrid)


@pytest.mark.parametrize("text", ["cs/period=٣/", "٣:1", "1:٣", "mem:٣"])
def test_digits_are_ascii(text):
    """Digits of other scripts are letters here, as in C."""
    with pytest.raises(ValueError, match=r"\^$"):
        events.attr(text)


@pytest.mark.parametrize("text", ["{}", "cs/{}/", "{{{}}}", "cs:{}", "mem:0x10:{}", "cpu_core/{}/"])
@pytest.mark.parametrize(
    "piece", ["config=1,", "cs,", "'", "/", "a*", "[", "u", "L1-dcache-", "-load", "?", "é", "event,"]
)
def test_a_long_string_is_read_or_refused(hybrid, text, piece):
    """A hundred thousand characters of anything: no recursion, no error but ours."""
    refusal = " ^"
    try:
        events.parse(text.format(piece * (100_000 // len(piece))), sysfs=hybrid, tracefs=f"{hybrid}/bus")
    except ValueError as error:
        refusal = str(error)
    except FileNotFoundError:  # a tracepoint, of a tree that has none
        refusal = " ^" if ":" in text else "tracefs was looked for"
    assert refusal.endswith(" ^")


def test_the_work_grows_as_the_string(hybrid):
    """Ten times as many terms or events make ten times as many calls, not a hundred."""

    def calls(text):
        count = 0

        def profile(_frame, kind, _argument):
            nonlocal count
            count += kind in ("call", "c_call")

        sys.setprofile(profile)
        try:
            events.parse(text, sysfs=hybrid)
        finally:
            sys.setprofile(None)
        return count

    for begin, piece, end in (("cs/", "config=1,", "config=1/"), ("", "slots:u,", "cs"), ("{", "r1a,", "cs}")):
        few, many = (calls(begin + piece * n + end) for n in (100, 1000))
        assert many < 11 * few


@pytest.mark.parametrize("text", ["cs/name='a/", 'cs/name="', "cs/config='1,config=2/"])
def test_a_quote_without_its_end_is_shown(text):
    """The caret stands under the quote."""
    with pytest.raises(ValueError, match="this quote has no closing one") as caught:
        events.attr(text)
    assert str(caught.value).splitlines()[2].index("^") == 2 + re.search("['\"]", text).start()

"""How counts are shown: rates and ratios, columns, means. The counts are made up: no machine need have the events."""

import contextlib
import io
import json

import pytest

from perf_event_open_sys import bindings as b
from perf_event_open_sys._cli.as_json import Json
from perf_event_open_sys._cli.count import NOT_COUNTED, Count, Result, mean, standard_error
from perf_event_open_sys._cli.metric import metric
from perf_event_open_sys._cli.output import Output
from perf_event_open_sys._cli.separated import Separated
from perf_event_open_sys._cli.table import Table

CYCLES = (b.PERF_TYPE_HARDWARE, b.PERF_COUNT_HW_CPU_CYCLES)
INSTRUCTIONS = (b.PERF_TYPE_HARDWARE, b.PERF_COUNT_HW_INSTRUCTIONS)
BRANCHES = (b.PERF_TYPE_HARDWARE, b.PERF_COUNT_HW_BRANCH_INSTRUCTIONS)
BRANCH_MISSES = (b.PERF_TYPE_HARDWARE, b.PERF_COUNT_HW_BRANCH_MISSES)
FAULTS = (b.PERF_TYPE_SOFTWARE, b.PERF_COUNT_SW_PAGE_FAULTS)
LOADS = (b.PERF_TYPE_HW_CACHE, b.PERF_COUNT_HW_CACHE_L1D)
LOAD_MISSES = (b.PERF_TYPE_HW_CACHE, b.PERF_COUNT_HW_CACHE_L1D | b.PERF_COUNT_HW_CACHE_RESULT_MISS << 16)
NODE_MISSES = (b.PERF_TYPE_HW_CACHE, b.PERF_COUNT_HW_CACHE_NODE | b.PERF_COUNT_HW_CACHE_RESULT_MISS << 16)
NODE_LOADS = (b.PERF_TYPE_HW_CACHE, b.PERF_COUNT_HW_CACHE_NODE)
RAW = (b.PERF_TYPE_RAW, b.PERF_COUNT_HW_CACHE_RESULT_MISS << 16)  # of which no bit means a miss
CLOCK = (b.PERF_TYPE_SOFTWARE, b.PERF_COUNT_SW_TASK_CLOCK)


def count(kind, value, **fields):
    """A count that was on its counter for a second."""
    return Count("event", kind, value=value, enabled_ns=10**9, running_ns=10**9, **fields)


def clock(seconds, **fields):
    """A count of task-clock, in milliseconds as perf shows it."""
    return count(CLOCK, seconds * 1000, scale=1e-6, unit="msec", **fields)


@pytest.mark.parametrize(
    ("kind", "value", "others", "shown"),
    [
        (INSTRUCTIONS, 150, [count(CYCLES, 100)], ("1.50", "insn per cycle")),
        (BRANCH_MISSES, 5, [count(BRANCHES, 200)], ("2.50%", "of all branches")),
        (LOAD_MISSES, 30, [count(LOADS, 40)], ("75.00%", "of all L1-dcache accesses")),
        (NODE_MISSES, 30, [count(NODE_LOADS, 40)], ("75.00%", "of all accesses")),
        (BRANCH_MISSES, 5, [], None),
        (BRANCH_MISSES, 5, [count(BRANCHES, 0)], None),
        (BRANCH_MISSES, 5, [count(BRANCHES, None)], None),
        (CYCLES, 6_000_000_000, [clock(2)], ("3.000", "GHz")),
        (CYCLES, 6_000_000_000, [], None),
        (FAULTS, 999, [clock(2)], ("499.500", "/sec")),
        (FAULTS, 2000, [clock(2)], ("1.000", "K/sec")),
        (FAULTS, 1_999_998, [clock(2)], ("999.999", "K/sec")),
        (FAULTS, 2_000_000, [clock(2)], ("1.000", "M/sec")),
        (FAULTS, 2_000_000_000, [clock(2)], ("1.000", "G/sec")),
        (LOADS, 2000, [clock(2)], ("1.000", "K/sec")),
        (RAW, 2000, [clock(2), count(NODE_LOADS, 4000)], ("1.000", "K/sec")),
        (FAULTS, 5_000_000, [clock(2)], ("2.500", "M/sec")),
        (FAULTS, 7_000_000_000, [clock(2)], ("3.500", "G/sec")),
        (FAULTS, 999, [], None),
        (FAULTS, 999, [clock(0)], None),
        (FAULTS, None, [clock(2)], None),
    ],
)
def test_a_count_is_set_in_proportion(kind, value, others, shown):
    """The table shows a count per cycle, per second of task-clock or as a share of another; none if that is missing or 0."""
    one = count(kind, value)
    found = metric(one, [one, *others], elapsed_s=4.0)
    assert (found and (found[0].strip(), found[1])) == shown


def test_a_clock_is_set_in_proportion_to_the_time_elapsed():
    """Beside task-clock stands how many CPUs were busy: its time divided by the time elapsed."""
    assert metric(clock(6), [], elapsed_s=4.0) == ("   1.500", "CPUs utilized")
    assert metric(clock(6), [], elapsed_s=0.0) is None


def test_proportions_are_those_of_one_cpu_and_cgroup():
    """A ratio is of counts of the same CPU and cgroup, never of different ones."""
    cycles = [count(CYCLES, 10, cpu=0), count(CYCLES, 100, cpu=1)]
    instructions = [count(INSTRUCTIONS, 50, cpu=cpu) for cpu in (0, 1)]
    shown = [metric(one, cycles + instructions, 1.0) for one in instructions]
    assert shown == [("   5.00", "insn per cycle"), ("   0.50", "insn per cycle")]
    groups = [count(CYCLES, 10, cgroup="a"), count(INSTRUCTIONS, 50, cgroup="b")]
    assert metric(groups[1], groups, 1.0) is None


def test_of_two_counts_of_an_event_the_first_is_divided_by():
    """As with -e cycles:u,cycles:k,instructions, whose counts of cycles differ in their modifiers only."""
    counts = [count(CYCLES, 10), count(CYCLES, 100), count(INSTRUCTIONS, 50)]
    assert metric(counts[2], counts, 1.0) == ("   5.00", "insn per cycle")


def printed(report, *results, of_intervals=False):
    """What a report prints of results."""
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        one = report(Output(None, append=False))
        for result in results:
            (one.interval if of_intervals else one.result)(result)
    return shown.getvalue()


def not_counted(name, kind, reason, **fields):
    """A count that there is not."""
    return Count(name, kind, state=NOT_COUNTED, reason=reason, **fields)


def test_the_table_line_by_line():
    """Values under each other, then units, names, metrics, spreads and shares; below them seconds, and each reason once."""
    counts = [
        clock(1.5),
        count(CYCLES, 3_000_000_000),
        count(INSTRUCTIONS, 5, cgroup="a"),
        not_counted("a name that is longer than its column", BRANCHES, "why", unit="B"),
        not_counted("other", BRANCH_MISSES, "why"),
        count(FAULTS, 2.5, spread=12.345),
        Count("half", LOADS, value=10, enabled_ns=4, running_ns=1, spread=1.0),
        not_counted("third", BRANCH_MISSES, "why not"),
    ]
    assert (
        printed(lambda output: Table(output, "'x'"), Result(counts, 2.0, 1.25, 0.5))
        == """
 Performance counter stats for 'x':

          1,500.00 msec event                        #    0.750 CPUs utilized
     3,000,000,000      event                        #    2.000 GHz
                 5      event                        a
     <not counted> B    a name that is longer than its column
     <not counted>      other
              2.50      event                        #    1.667 /sec                  ( +- 12.35% )
                10      half                         #    6.667 /sec                  ( +-  1.00% ) (25.00% of the time)
     <not counted>      third

       2.000000000 seconds time elapsed

       1.250000000 seconds user
       0.500000000 seconds sys

 a name that is longer than its column, other: why
 third: why not

"""
    )
    for user_s, shown in ((0.0, []), (0.25, ["", "       0.250000000 seconds user", "       0.000000000 seconds sys"])):
        table = printed(lambda output: Table(output, "'x'"), Result([count(FAULTS, 3)], 2.0, user_s))
        assert table.splitlines()[4:] == ["", "       2.000000000 seconds time elapsed", *shown, ""]


def test_the_table_of_intervals_line_by_line():
    """A header first and after each 25 intervals, the time of each line's end, and the reasons once."""
    counts = [count(FAULTS, 3, cpu=1), not_counted("other", BRANCH_MISSES, "why", cpu=12)]
    results = [Result(counts, 0.5, started_s=number / 2) for number in range(26)]
    header, *lines = printed(lambda output: Table(output, "'x'"), *results, of_intervals=True).splitlines()
    assert [header, *lines[:5]] == [
        "#           time CPU                counts unit events",
        "     0.500000000 CPU1                    3      event",
        "     0.500000000 CPU12       <not counted>      other",
        "# other: why",
        "     1.000000000 CPU1                    3      event",
        "     1.000000000 CPU12       <not counted>      other",
    ]
    assert [number for number, line in enumerate(lines) if line.startswith("#")] == [2, 51]
    assert lines[51] == header
    without = printed(lambda output: Table(output, "'x'"), Result([count(FAULTS, 3)], 0.5), of_intervals=True)
    assert without.splitlines()[0] == "#           time             counts unit events"


def test_json_line_by_line():
    """A document for a run; for each interval a line, with the time of its end."""
    counts = [count(FAULTS, 2.5, spread=1.5), not_counted("other", BRANCH_MISSES, "why", cpu=0, cgroup="a", unit="B")]
    seconds = {"time_enabled": 10**9, "time_running": 10**9}
    events = [
        {"event": "event", "value": 2.5, "unit": "", **seconds, "spread_percent": 1.5},
        {"event": "other", "cpu": 0, "cgroup": "a", "value": None, "unit": "B", "time_enabled": 0, "time_running": 0}
        | {"state": "not counted", "reason": "why"},
    ]
    document = {"elapsed_s": 2.0, "user_s": 1.0, "system_s": 0.5, "events": events}
    assert printed(Json, Result(counts, 2.0, 1.0, 0.5)) == json.dumps(document, indent=2) + "\n"
    interval = {"elapsed_s": 2.0, "events": events}
    assert printed(Json, Result(counts, 0.5, started_s=1.5), of_intervals=True) == json.dumps(interval) + "\n"


def test_columns_one_by_one():
    """CPU, cgroup and spread where they are asked for; of a metric the number and the words; under a heading in a file."""
    counts = [count(BRANCH_MISSES, 5, cgroup="a", cpu=3, spread=1.5), count(BRANCHES, 200, cgroup="a", cpu=3)]
    rows = printed(lambda output: Separated(output, ";", repeated=True, cgroups=True), Result(counts, 2.0))
    assert rows.splitlines() == [
        "CPU3;5;;event;a;1.50%;1000000000;100.00;2.50;of all branches",
        "CPU3;200;;event;a;0.00%;1000000000;100.00;;",
    ]


def test_a_count_that_shared_its_counter_says_so():
    """In the table and in the columns: the share of the time, in per cent."""
    half = Count("cycles", CYCLES, value=1234567, enabled_ns=4000, running_ns=1000)
    never = Count("cycles", CYCLES, state=NOT_COUNTED, reason="never", enabled_ns=4000)
    table = printed(lambda output: Table(output, "'x'"), Result([half, never], 1.0))
    assert "1,234,567" in table
    assert "(25.00% of the time)" in table
    assert " cycles: never\n" in table
    rows = printed(lambda output: Separated(output, ";", repeated=False, cgroups=False), Result([half, never], 1.0))
    assert rows.splitlines() == ["1234567;;cycles;1000;25.00;;", "<not counted>;;cycles;0;0.00;;"]


def test_the_columns_of_an_event_that_was_never_enabled_have_100_per_cent():
    """As perf's; and runs whose spread is not known have 0 per cent of it."""
    never = Count("cycles", CYCLES, state=NOT_COUNTED)
    rows = printed(lambda output: Separated(output, ";", repeated=True, cgroups=False), Result([never], 1.0))
    assert rows.splitlines() == ["<not counted>;;cycles;0.00%;0;100.00;;"]


def test_the_table_says_nothing_of_the_time_for_a_count_that_had_its_counter_to_itself():
    """No share of the time beside a count that was on its counter as long as it was enabled."""
    table = printed(lambda output: Table(output, "'x'"), Result([count(FAULTS, 3)], 1.0))
    assert "event" in table
    assert "of the time" not in table


def test_the_table_shows_a_mean_that_is_no_whole_number():
    """Two digits behind the point for 2.5 faults, none for 3, and two for a clock in milliseconds."""
    counts = [count(FAULTS, 2.5), count(FAULTS, 3.0), clock(0.003)]
    table = printed(lambda output: Table(output, "'x'"), Result(counts, 1.0))
    assert [line.split()[0] for line in table.splitlines() if "event" in line] == ["2.50", "3", "3.00"]


def test_the_json_of_several_runs_says_how_many():
    """With their spread; that of a single run has neither."""
    runs = [Result([count(FAULTS, value)], elapsed) for value, elapsed in ((2, 1.0), (4, 3.0))]
    both, one = (json.loads(printed(Json, result)) for result in (mean(runs), runs[0]))
    assert (both["runs"], both["elapsed_spread_percent"]) == (2, pytest.approx(50))
    assert not {"runs", "elapsed_spread_percent"} & set(one)


def test_an_interval_is_shown_with_its_end():
    """The seconds since the start of the run, not those of the interval, in the table and in the columns."""
    interval = Result([count(FAULTS, 3)], elapsed_s=0.5, started_s=2.0)
    for report in (
        lambda output: Table(output, "'x'"),
        lambda output: Separated(output, " ", repeated=False, cgroups=False),
    ):
        with contextlib.redirect_stderr(io.StringIO()) as shown:
            report(Output(None, append=False)).interval(interval)
        assert shown.getvalue().splitlines()[-1].split()[0] == "2.500000000"


def test_a_value_has_digits_behind_the_point_if_its_scale_has():
    """As perf's: energy in Joules has two, bytes that are counted in blocks of 64 have none."""
    counts = [count((9, 1), 3.14159, scale=2.3e-10, unit="Joules"), count((9, 2), 6400.0, scale=64.0, unit="B")]
    rows = printed(lambda output: Separated(output, ",", repeated=False, cgroups=False), Result(counts, 1.0))
    assert rows.splitlines() == ["3.14,Joules,event,1000000000,100.00,,", "6400,B,event,1000000000,100.00,,"]


def test_the_mean_of_runs():
    """With -r, counts and seconds are the mean of the runs; an event counted in no run shows the last run's reason."""
    runs = [
        Result([count(FAULTS, value), count(CYCLES, None, state="x")], elapsed, 0.1 * elapsed, elapsed)
        for value, elapsed in ((2, 1), (4, 3))
    ]
    whole = mean(runs)
    assert (whole.runs, whole.elapsed_s, whole.system_s) == (2, 2, 2)
    assert whole.user_s == pytest.approx(0.2)
    assert whole.elapsed_spread == pytest.approx(50)
    assert whole.counts[0].value == 3
    assert whole.counts[0].spread == pytest.approx(100 / 3)
    assert (whole.counts[1].value, whole.counts[1].state) == (None, "x")
    assert mean(runs[:1]) is runs[0]


def test_the_table_of_two_runs_shows_their_spread():
    """Behind the seconds and behind each count; a single run has none."""
    runs = [Result([count(FAULTS, value)], elapsed) for value, elapsed in ((2, 1.0), (4, 3.0))]
    both, one = (printed(lambda output: Table(output, "'x'"), result) for result in (mean(runs), runs[0]))
    assert "2.000000000 seconds time elapsed  ( +- 50.00% )" in both
    assert "( +- 33.33% )" in both
    assert " Performance counter stats for 'x' (2 runs):\n" in both
    assert "+-" not in one


def test_the_mean_of_an_event_that_was_not_counted_in_the_last_run():
    """It is the mean of the others, and no state or reason says that there is none."""
    last = count(FAULTS, None, state=NOT_COUNTED, reason="why")
    whole = mean([Result([one], 1.0) for one in (count(FAULTS, 2), count(FAULTS, 4), last)])
    assert (whole.counts[0].value, whole.counts[0].state, whole.counts[0].reason) == (3, "", "")


def test_the_mean_of_an_event_that_was_counted_in_no_run():
    """It is the last run's count: its state and its reason, of the same cgroup, and without any spread."""
    runs = [
        Result([Count("event", FAULTS, cgroup="a", state=state, reason=f"{state}'s", enabled_ns=ns)], 1.0)
        for state, ns in (("first", 2), ("second", 4), ("last", 6))
    ]
    (one,) = mean(runs).counts
    assert (one.cgroup, one.state, one.reason, one.enabled_ns, one.spread) == ("a", "last", "last's", 4, 0)


def test_the_spread_is_the_standard_error_of_the_mean():
    """The spread is the standard error in per cent of the mean; 0 if the mean is 0."""
    assert standard_error([1, 2, 3]) == pytest.approx(100 / 3**0.5 / 2)
    assert standard_error([0, 0]) == 0

"""Samples.sort_by_time of arrays that are large enough to be sorted by blocks."""

import random

import pytest
from support.encode import record, u64

from perf_event_open_sys import bindings as b
from perf_event_open_sys import ffi, perf_event_attr, records


def runs_of(rng, n, n_runs):
    """Return *n* times in as many runs, of lengths at random, with times that several have."""
    ends = sorted([n, *(rng.randrange(n) for _ in range(n_runs - 1))])
    times = []
    for end in ends:
        times += sorted(rng.choices(range(n // 2), k=end - len(times)))
    return times


def check_sorted(times):
    """Sort rows of these times; compare with Python's stable sort, and every byte of every row."""
    attr = perf_event_attr(sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_CALLCHAIN)
    parts = [record(b.PERF_RECORD_SAMPLE, u64(n, time, 1, n)) for n, time in enumerate(times)]
    rows = records.parse(b"".join(parts), attr)
    before = bytes(ffi.buffer(rows.cdata))
    size = ffi.sizeof("struct perf_sample")
    rows.sort_by_time()
    order = [n for n, _ in sorted(enumerate(times), key=lambda pair: pair[1])]
    assert bytes(ffi.buffer(rows.cdata)) == b"".join(before[n * size : (n + 1) * size] for n in order)


@pytest.mark.parametrize("rest", [0, 1, 2, 63])
@pytest.mark.parametrize("n_runs", [2, 3, 5, 9])
def test_few_long_runs(n_runs, rest):
    """Numbers of rows that are whole blocks, and that are not."""
    check_sorted(runs_of(random.Random(n_runs * 100 + rest), 320 * 64 + rest, n_runs))


@pytest.mark.parametrize("n", [20000, 20480])
def test_a_run_that_is_wholly_before_another(n):
    """The second half first: every block moves; and rows that take turns, of two runs in lockstep."""
    check_sorted([*range(n // 2, n), *range(n // 2)])
    check_sorted([*range(0, n, 2), *range(1, n, 2)])


def test_blocks_that_stay_where_they_are():
    """Only the last rows are out of order, or only the first."""
    check_sorted([*range(20000), 5, 6, 7])
    check_sorted([3, 4, 5, *range(20000)])


@pytest.mark.parametrize("n_runs", [3, 9])
def test_runs_that_begin_within_blocks_and_are_read_at_the_same_pace(n_runs):
    """So most blocks are read in part, and none of them can be written yet."""
    length = 64 * 50
    check_sorted([0] + [1 + run + n_runs * place for run in range(n_runs) for place in range(length)])


def test_many_short_runs():
    """More runs than there is memory for blocks of: each row is moved by itself."""
    rng = random.Random(3)
    check_sorted([rng.randrange(10**6) for _ in range(5000)])

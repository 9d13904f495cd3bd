"""perf.data files of made-up bytes: what the reader finds in them."""

import pytest

from perf_event_open_sys import bindings, perf_data
from perf_event_open_sys.perf_data import _layout


def test_perfs_own_record_types_follow_one_another_above_the_kernels():
    """As perf's enumeration does: from 64 on, none left out, none twice."""
    names = [name for name in perf_data.__all__ if name.startswith("PERF_RECORD_")]
    values = {getattr(perf_data, name) for name in names}
    assert values == set(range(perf_data.PERF_RECORD_USER_TYPE_START, perf_data.PERF_RECORD_SCHEDSTAT_DOMAIN + 1))
    assert len(values) == len(names) - 1  # PERF_RECORD_USER_TYPE_START is the first one's number
    assert min(values) > bindings.PERF_RECORD_MAX


@pytest.mark.parametrize(
    ("number", "name"), [(1, "tracing_data"), (12, "event_desc"), (22, "mem_topology"), (31, "pmu_caps")]
)
def test_features_have_perfs_numbers(number, name):
    """Some of them, taken from perf's list."""
    assert _layout.FEATURES[number] == name
    assert _layout.FEATURE_NUMBERS[name] == number

"""perf as the oracle: what `perf script -D` prints of perf's recordings, and what our decoder says of the same bytes."""

import os

import pytest
from support.marks import needs_root
from support.perf import perf
from support.perf_script import compare

USER = "" if os.geteuid() == 0 else ":u"


def test_page_faults_with_callchains(tmp_path):
    """Every record of the file, samples with their chains, side-band and perf's own types among them."""
    perf("record", "-B", "-o", "data", "-e", f"page-faults{USER}", "-c", "1", "-g", "--", "ls", "/", cwd=tmp_path)
    seen = compare(tmp_path / "data", tmp_path)
    assert seen["SAMPLE"] > 10
    assert seen["MMAP2"] > 3
    assert {"COMM", "EXIT", "FINISHED_ROUND"} <= seen.keys()


def test_two_events_that_share_their_rings(tmp_path):
    """Perf gives the records an id, which selects the attr."""
    events = f"page-faults{USER},task-clock{USER}"
    shell = "for i in 1 2 3 4 5 6 7 8; do ls / >/dev/null; done"
    perf("record", "-B", "-o", "data", "-e", events, "-d", "--", "sh", "-c", shell, cwd=tmp_path)
    seen = compare(tmp_path / "data", tmp_path)
    assert seen["SAMPLE"] > 5
    assert {"FORK", "EXIT", "COMM", "MMAP2"} <= seen.keys()


@needs_root
@pytest.mark.usefixtures("tracefs")
def test_a_tracepoint(tmp_path):
    """Samples with raw data, padded by the kernel."""
    perf("record", "-B", "-o", "data", "-e", "sched:sched_switch", "-a", "--", "ls", "/", cwd=tmp_path)
    assert compare(tmp_path / "data", tmp_path)["SAMPLE"] > 1

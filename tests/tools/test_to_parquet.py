"""examples/to_parquet.py: samples of several machines in one table, which an SQL engine queries."""

import os
import struct
import subprocess
import sys
import time

import pytest
from support.examples import module, run
from support.marks import needs_events, needs_root
from support.workloads import fault

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ioctls, perf_data, perf_event_open, records, ring

pytest.importorskip("numpy", reason="needs NumPy")
pytest.importorskip("pyarrow", reason="needs pyarrow")
duckdb = pytest.importorskip("duckdb", reason="needs duckdb")

pytestmark = needs_events
ALL = b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | b.PERF_SAMPLE_TIME | b.PERF_SAMPLE_ADDR
NAMES = ("page-faults:u", "minor-faults:u")


def record(path, host, pages, sample_type=ALL | b.PERF_SAMPLE_CALLCHAIN):
    """Write a perf.data file of a machine called *host*, with two events of this thread; return its rows and buffer."""
    periods = {"page-faults:u": 1, "minor-faults:u": 10}
    attrs = [
        events.attr(name, sample_period=periods[name], sample_type=sample_type, sample_id_all=1, disabled=1)
        for name in NAMES
    ]
    fds = [perf_event_open(attr) for attr in attrs]
    opened = [(attr, [ioctls.id(fd)], name) for attr, fd, name in zip(attrs, fds, NAMES, strict=True)]
    with ring.map(fds[0], 512) as page:
        ioctls.set_output(fds[1], fds[0])
        for fd in fds:
            ioctls.enable(fd)
        fault(pages)
        for fd in fds:
            ioctls.disable(fd)
        data = ring.read(page)
    for fd in fds:
        os.close(fd)
    with perf_data.create(path, opened, features={"hostname": host}) as writer:
        writer.write(data)
        writer.finished_round()
    names = {ids[0]: name for _, ids, name in opened}
    rows = records.parse(data, {ids[0]: attr for attr, ids, _ in opened})
    return [(names[row.id], row.ip, row.tid, row.time, row.addr, list(records.callchain(data, row))) for row in rows]


def test_one_query_over_two_machines(tmp_path):
    """Each row of the table is a sample of the files, to the last address of its callchain; hosts are told apart."""
    expected = {
        "web1": record(tmp_path / "first.data", "web1", 500),
        "a/../b c": record(tmp_path / "second.data", "a/../b c", 200),
    }
    done = run("to_parquet", "table", tmp_path / "first.data", tmp_path / "second.data", cwd=tmp_path)
    counts = [len(rows) for rows in expected.values()]
    assert done.stderr == ""
    assert done.stdout.split("\n") == [
        f"{tmp_path}/first.data: {counts[0]} samples",
        f"{tmp_path}/second.data: {counts[1]} samples",
        "",
    ]
    assert set(os.listdir(tmp_path / "table")) == {"host=web1", "host=a%2F..%2Fb%20c"}  # a file may hold any name
    source = f"read_parquet('{tmp_path}/table/**/*.parquet', hive_partitioning = true)"
    with duckdb.connect() as engine:
        found = engine.sql(f"SELECT host, event, count(*) FROM {source} GROUP BY ALL").fetchall()
        wanted = {
            (host, name): sum(row[0] == name for row in rows) for host, rows in expected.items() for name in NAMES
        }
        assert {(host, event): count for host, event, count in found} == wanted
        assert min(wanted.values()) > 0
        for host, rows in expected.items():
            columns = "event, ip, tid, time, addr, callchain"
            [*found] = engine.execute(
                f"SELECT {columns} FROM {source} WHERE host = ? ORDER BY time, event", [host]
            ).fetchall()
            assert found == sorted(rows, key=lambda row: (row[3], row[0]))
        dates = engine.sql(f"SELECT DISTINCT date::VARCHAR FROM {source}").fetchall()
    assert dates == [(time.strftime("%Y-%m-%d", time.gmtime(os.stat(tmp_path / "first.data").st_mtime)),)]


def test_columns_are_those_that_the_attr_asks_for(tmp_path):
    """The same file again replaces what it gave; a column that no event has is not there."""
    record(tmp_path / "one.data", "web1", 100, sample_type=b.PERF_SAMPLE_IDENTIFIER | b.PERF_SAMPLE_TID)
    for _ in range(2):
        assert run("to_parquet", "table", "one.data", cwd=tmp_path).returncode == 0
    [path] = tmp_path.glob("table/*/*/*")
    with duckdb.connect() as engine:
        described = engine.sql(f"DESCRIBE SELECT * FROM read_parquet('{path}', hive_partitioning = false)").fetchall()
    assert [row[:2] for row in described] == [("pid", "UINTEGER"), ("tid", "UINTEGER"), ("event", "VARCHAR")]


def test_a_long_recording_is_decoded_piece_by_piece(tmp_path, monkeypatch):
    """No table has more rows than ROWS, whatever the chunks; the columns of a piece are the decoder's own memory."""
    to_parquet = module("to_parquet")
    monkeypatch.setattr(to_parquet, "ROWS", 50)
    rows = record(tmp_path / "one.data", "web1", 500)
    with perf_data.open(tmp_path / "one.data") as reader:
        source = to_parquet.Source("web1", 0, "one", reader.events, reader.attr, None)
        found = list(to_parquet.tables(reader.chunks(), source))
    assert len(found) > 3
    assert {len(one) for one in found[:-1]} == {50}
    assert [one for table in found for one in table["time"].to_pylist()] == [row[3] for row in rows]
    chain = [one for table in found for one in table["callchain"].to_pylist()]
    assert chain == [row[5] for row in rows]


def test_columns_are_not_copied(tmp_path, monkeypatch):
    """Arrow's buffer of a column is the array that records.columns has filled."""
    to_parquet = module("to_parquet")
    record(tmp_path / "one.data", "web1", 100)
    kept = []

    def columns(*arguments):
        kept.append(records.columns(*arguments))
        return kept[-1]

    monkeypatch.setattr(to_parquet, "records", type("", (), {**vars(records), "columns": staticmethod(columns)}))
    with perf_data.open(tmp_path / "one.data") as reader:
        source = to_parquet.Source("web1", 0, "one", reader.events, reader.attr, None)
        [table] = to_parquet.tables(reader.chunks(), source)
    for name in ("time", "pid", "tid", "ip", "addr"):
        assert table[name].chunk(0).buffers()[1].address == kept[0][name].ctypes.data


@needs_root
def test_this_machine_is_sampled_live(tmp_path):
    """The rows have the time of the day, from the first sample to the last."""
    script = "import time\nwhile time.process_time() < 0.5:\n    pass"
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        began = time.time()
        done = run("to_parquet", "table", "--live", "0.5", "-F", "999", cwd=tmp_path)
        ended = time.time()
    assert (done.returncode, done.stderr) == (0, "")
    with duckdb.connect() as engine:
        source = f"read_parquet('{tmp_path}/table/**/*.parquet', hive_partitioning = true)"
        query = (
            f"SELECT epoch(min(wall_time)), epoch(max(wall_time)), count(*) FROM {source} WHERE host = ? AND tid = ?"
        )
        [(first, last, count)] = engine.execute(query, [os.uname().nodename, process.pid]).fetchall()
    assert began <= first < last <= ended
    assert count > 10


def test_damaged_file_gives_what_came_before(tmp_path):
    """A file that ends early is an error; the samples before its end are in the table, and so is the next file."""
    rows = record(tmp_path / "one.data", "web1", 500)
    content = (tmp_path / "one.data").read_bytes()
    offset, size = struct.unpack_from("QQ", content, 40)  # of the records, in the file's header
    (tmp_path / "cut.data").write_bytes(content[: offset + size // 2 + 4])
    done = run("to_parquet", "table", "cut.data", "one.data", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("to_parquet.py: cut.data: ")
    with duckdb.connect() as engine:
        source = f"read_parquet('{tmp_path}/table/**/*.parquet', hive_partitioning = true)"
        counts = dict(engine.sql(f"SELECT host, count(*) FROM {source} GROUP BY host").fetchall())
    assert 0 < counts["unknown"] < counts["web1"] == len(rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table"], "give either files or --live SECONDS"),
        (["table", "/dev/null", "--live", "1"], "give either files or --live SECONDS"),
        (["table", "/dev/null"], "to_parquet.py: "),
        (["table", "/nonexistent"], "No such file or directory: '/nonexistent'"),
        (["table", "--live", "1", "-e", "cpu-clok"], "did you mean cpu-clock"),
    ],
)
def test_nonsense_is_refused(arguments, message, tmp_path):
    """The message says what is wrong, and nothing is written."""
    done = run("to_parquet", *arguments, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("**/*.parquet")) == []

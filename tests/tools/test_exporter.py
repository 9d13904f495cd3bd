"""examples/exporter.py: scraped and queried by a real Prometheus; targets that come and go; counters that only grow."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from support.examples import EXAMPLES, module
from support.marks import needs_events, needs_root
from support.workloads import fault

from perf_event_open_sys import ffi, ioctls, targets

pytest.importorskip("prometheus_client", reason="needs prometheus_client")

EXPORTER = [sys.executable, str(EXAMPLES / "exporter.py")]


@contextlib.contextmanager
def exporting(*arguments, prefix=(), errors=""):
    """Start the exporter on a free port; yield (its process, its URL). SIGTERM ends it, with status 0.

    What it has written as errors must match *errors*.
    """
    command = [*prefix, *EXPORTER, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, line.split(": ")[0]
            process.send_signal(signal.SIGTERM)
            output, written = process.communicate(timeout=60)
            assert (process.returncode, output) == (0, "")
            assert re.fullmatch(errors, written), written
        finally:
            process.kill()


def fetched(url, **parameters):
    """Return the body of a page."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=60) as answer:
        return answer.read().decode()


def scraped(url):
    """Return the samples of a scrape: {name{labels}: value}."""
    lines = [line for line in fetched(url).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@contextlib.contextmanager
def prometheus(url, directory):
    """Start a Prometheus that scrapes *url*; yield the function that returns the result of a PromQL query."""
    program = shutil.which("prometheus")
    if not program:
        pytest.skip("needs prometheus (Debian: apt install prometheus)")
    target = urllib.parse.urlsplit(url).netloc
    scrape = {"job_name": "perf", "scrape_interval": "250ms", "static_configs": [{"targets": [target]}]}
    (directory / "prometheus.yml").write_text(json.dumps({"scrape_configs": [scrape]}))  # JSON is YAML
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = {"config.file": "prometheus.yml", "storage.tsdb.path": "data", "web.listen-address": address}
    command = [program, *(f"--{name}={value}" for name, value in options.items())]
    with open(directory / "log", "w") as log, subprocess.Popen(command, cwd=directory, stderr=log) as process:

        def query(text):
            assert process.poll() is None, (directory / "log").read_text()
            try:
                answer = json.loads(fetched(f"http://{address}/api/v1/query", query=text))
            except OSError as error:  # it does not listen yet, or answers 503: it is not ready yet
                if isinstance(error, urllib.error.HTTPError) and error.code != 503:
                    raise AssertionError(error.read()) from None
                return []
            assert answer["status"] == "success"
            return answer["data"]["result"]

        try:
            yield query
        finally:
            process.terminate()


def polled(function, what):
    """Call *function* until it returns something true; return that."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := function():
            return found
        time.sleep(0.05)
    pytest.fail(f"not in a minute: {what}")


@pytest.fixture(scope="module")
def exporter():
    """The example as a module."""
    return module("exporter")


@needs_root
@needs_events
def test_prometheus_scrapes_it_and_the_dashboard_has_something_to_show(tmp_path):
    """Rates by PromQL are those of the events; every query of the dashboard is PromQL, and finds series."""
    dashboard = json.loads((EXAMPLES / "exporter_dashboard.json").read_text())
    cpu = targets.online_cpus()[-1]
    os.sched_setaffinity(0, {cpu})
    try:
        with exporting("-e", "page-faults,task-clock") as (_, url), prometheus(url, tmp_path) as query:

            def rate(name, event):
                fault(1000)
                found = query(f'rate({name}{{cpu="{cpu}",event="{event}"}}[2s])')
                return float(found[0]["value"][1]) if found else 0

            polled(lambda: rate("perf_events_total", "page-faults") > 1000, "a rate of page faults")
            # A CPU has a second in each second.
            polled(lambda: 0.8 < rate("perf_event_seconds_total", "task-clock") < 1.2, "the rate of a clock")
            for panel in dashboard["panels"]:
                for target in panel["targets"]:
                    text = target["expr"].replace("$__rate_interval", "2s")
                    text = re.sub(r"\$(job|instance|event)\b", ".*", text)
                    assert query(text), text
    finally:
        os.sched_setaffinity(0, targets.online_cpus())


def test_dashboard_names_its_data_source_once():
    """All panels use the variable ``datasource``, which is chosen at the top; ids are unique, and nothing overlaps."""
    dashboard = json.loads((EXAMPLES / "exporter_dashboard.json").read_text())
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert [one["name"] for one in dashboard["templating"]["list"] if one["type"] == "datasource"] == ["datasource"]
    assert all(panel["datasource"] == chosen for panel in dashboard["panels"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken = set()
    for place in (panel["gridPos"] for panel in dashboard["panels"]):
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


@needs_root
@needs_events
def test_metrics_are_as_prometheus_wants_them():
    """Names, units and HELP texts pass promtool; what is enabled all the time runs all the time."""
    with exporting("-e", "page-faults,task-clock", "--cpu", "0") as (_, url):
        text, samples = fetched(url), scraped(url)
    assert {name for name in samples if name.startswith("perf_event")} == {
        'perf_events_total{cpu="0",event="page-faults"}',
        'perf_event_seconds_total{cpu="0",event="task-clock"}',
        *(
            f'perf_event_time_{what}_seconds_total{{cpu="0",event="{event}"}}'
            for what in ("enabled", "running")
            for event in ("page-faults", "task-clock")
        ),
    }
    assert samples["perf_exporter_open_events"] == 2
    enabled, running = (
        samples[f'perf_event_time_{what}_seconds_total{{cpu="0",event="page-faults"}}']
        for what in ("enabled", "running")
    )
    assert enabled == running > 0
    if not shutil.which("promtool"):
        pytest.skip("needs promtool (Debian: apt install prometheus)")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_root
@needs_events
@pytest.mark.parametrize("kind", ["cgroup", "unit"])
def test_counts_of_a_cgroup_go_on_when_it_was_removed_and_made_anew(cgroup, kind):
    """A cgroup that is gone has no series; when it is there again, its counters begin where they were."""
    parent = cgroup()
    path = os.path.join(parent, "some.service")
    pattern = "some.s*" if kind == "unit" else f"{parent}/*"
    target = "some.service" if kind == "unit" else f"{os.path.basename(parent)}/some.service"
    labels = ",".join(sorted(['event="page-faults"', f'{kind}="{target}"']))
    name = f"perf_events_total{{{labels}}}"
    script = "import mmap, sys\narea = mmap.mmap(-1, 1000 * mmap.PAGESIZE)\narea.madvise(mmap.MADV_NOHUGEPAGE)\n"
    script += "for page in range(1000):\n    area[page * mmap.PAGESIZE] = 1\n"

    def run_in_it():
        inside = f"echo $$ > {path}/cgroup.procs && exec {sys.executable} -c '{script}'"
        subprocess.run(["sh", "-c", inside], check=True)

    with exporting("-e", "page-faults", f"--{kind}", pattern) as (_, url):
        values = []
        for _ in range(2):
            assert name not in scraped(url)
            os.mkdir(path)
            try:
                values.append(scraped(url)[name])
                run_in_it()
                values.append(scraped(url)[name])
            finally:
                os.rmdir(path)
            assert scraped(url)["perf_exporter_open_events"] == 0
        os.mkdir(path)
        try:
            scraped(url)
            os.rmdir(path)  # gone and made anew between two scrapes: another cgroup of the same name
            os.mkdir(path)
            scraped(url)
            run_in_it()
            values.append(scraped(url)[name])
        finally:
            os.rmdir(path)
    assert values[0] == 0
    assert values[1] > 1000
    assert values[2] == values[1]
    assert values[3] > values[2] + 1000
    assert values[4] > values[3] + 1000


@needs_root
@needs_events
def test_cpu_that_goes_offline_does_not_end_it(tmp_path):
    """Its series are gone while it is, and grow again when it is back."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace: the list of online CPUs is replaced for the exporter alone")
    cpu, *others = targets.online_cpus()
    if not others:
        pytest.skip("needs two CPUs")
    online = tmp_path / "online"
    online.write_text(f"{cpu},{others[0]}\n")
    mount = 'mount --bind "$0" /sys/devices/system/cpu/online && exec "$@"'
    name = f'perf_events_total{{cpu="{others[0]}",event="page-faults"}}'
    with exporting("-e", "page-faults", prefix=["unshare", "-m", "sh", "-c", mount, str(online)]) as (_, url):
        before = scraped(url)[name]
        online.write_text(f"{cpu}\n")
        during = scraped(url)
        online.write_text(f"{cpu},{others[0]}\n")
        after = scraped(url)[name]
    assert name not in during
    assert f'perf_events_total{{cpu="{cpu}",event="page-faults"}}' in during
    assert after >= before


@needs_root
@needs_events
def test_more_events_than_files_are_refused_once_and_the_rest_is_exported():
    """What does not fit into RLIMIT_NOFILE is named, and files are left to answer scrapes."""
    names = ",".join(f"software/config=2,name=faults-{n}/" for n in range(20))
    limited = ["sh", "-c", 'ulimit -n 60 && exec "$@"', "sh"]
    if len(targets.online_cpus()) < 2:
        pytest.skip("needs two CPUs")
    with exporting("-e", names, prefix=limited, errors=r"cpu \d+: .*Too many open files.*\n") as (_, url):
        opened = [scraped(url)["perf_exporter_open_events"] for _ in range(3)]
    assert opened == [20, 20, 20]


@needs_root
@needs_events
def test_events_whose_time_stands_still_are_opened_anew(exporter):
    """As those of a CPU that was offline between two scrapes: the kernel detaches them for good. The series grow on."""
    found = exporter.Exporter("cpu", exporter.wanted_events("cpu-clock"), lambda: {("0", 0, "", 0)})
    try:
        [*found.collect()]
        [before] = found.fds
        first = found.series["0"]["cpu-clock"].value
        for fd in (before, found.clocks[0][0]):  # disabled, time stands still as it does when they are detached
            ioctls.disable(fd)
        for _ in range(3):  # one scrape has seen the time stand still, the next opens anew, the third counts
            [*found.collect()]
            middle, first = first, found.series["0"]["cpu-clock"].value
            assert first >= middle
        [*found.collect()]
        assert found.series["0"]["cpu-clock"].value > first > 0
    finally:
        for fd in (found.clocks[0][0], *found.fds):
            os.close(fd)


def test_scaled_counts_never_fall(exporter):
    """The product of the kernel's totals would: 100 * 20 / 10 = 200, and 110 * 40 / 30 = 146. What waits is made up for."""
    series = exporter.Series()
    counter = exporter.Counter(-1, series)
    values = []
    for now in ((100, 20, 10), (110, 40, 30), (110, 50, 30), (120, 60, 40)):
        counter.add(ffi.new("struct perf_counts *", now))
        values.append(series.value)
    assert values == [200, 210, 210, 230]
    assert (series.enabled_ns, series.running_ns) == (60, 40)
    again = exporter.Counter(-1, series)  # the event was closed, and opened anew
    again.add(ffi.new("struct perf_counts *", (5, 10, 10)))
    assert (series.value, series.enabled_ns, series.running_ns) == (235, 70, 50)


@needs_root
@needs_events
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cpu", "60000"], "this machine has no CPU 60000"),
        (["--cpu", "0-"], "no list of CPUs: '0-'"),
        (["--cgroup", "../x"], "'../x' cannot be a cgroup: give a path below /"),
        (["--cgroup", "/"], "'/' cannot be a cgroup: give a path below /"),
        (["--unit", "a/b"], "'a/b' cannot be a unit: give a name"),
        (["--unit", ""], "'' cannot be a unit: give a name"),
        (["--unit", "x", "--cpu", "0"], "argument --cpu: not allowed with argument --unit"),
        (["-e", "page-fault"], "no event 'page-fault'; did you mean page-faults"),
        (["-e", "1:100"], "perf_event_open: No such file or directory"),
        (["-e", "{page-faults,task-clock}"], "leave out the braces"),
        (["-e", "page-faults,page-faults"], "an event is given twice"),
        (["--port", "65536"], "cannot listen on 127.0.0.1:65536"),
        (["--address", "192.0.2.1"], "cannot listen on 192.0.2.1:9480"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    """The exit status is 2, and the message says what is wrong."""
    done = subprocess.run([*EXPORTER, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr

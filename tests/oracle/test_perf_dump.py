"""bindings.dump beside the attrs that ``perf -vv`` prints."""

import os
import re
import shutil
import subprocess

import pytest

from perf_event_open_sys import bindings as b
from perf_event_open_sys import perf_event_attr

pytestmark = pytest.mark.skipif(not shutil.which("perf"), reason="needs the perf tool")


def shown(attr):
    """What dump() gives, as a dict."""
    return dict(line.split(maxsplit=1) for line in b.dump(attr).splitlines())


def printed_attrs(text):
    """The attrs that ``perf … -vv`` prints, as the keywords of perf_event_attr."""
    for block in re.findall(r"^perf_event_attr:\n((?:  .*\n)+)", text, re.MULTILINE):
        fields = {}
        for key, value in re.findall(r"^  (\{.*?\}|\w+) +(.*)$", block, re.MULTILINE):
            prefix = {"sample_type": "PERF_SAMPLE_", "read_format": "PERF_FORMAT_"}.get(key)
            names = value.split("|") if prefix else []
            fields[key] = sum(getattr(b, prefix + name) for name in names) if prefix else int(value.split()[0], 0)
        for union, other in (("sample_period", "sample_freq"), ("wakeup_events", "wakeup_watermark")):
            if (both := f"{{ {union}, {other} }}") in fields:
                flag = {"sample_freq": "freq", "wakeup_watermark": "watermark"}[other]
                fields[other if flag in fields else union] = fields.pop(both)
        yield fields


@pytest.mark.parametrize(
    "command",
    [
        "perf stat -vv -e page-faults:u,cpu-clock:u true",
        "perf record -vv -o /dev/null -e page-faults:u -c 100 -g true",
        "perf record -vv -o /dev/null -e cpu-clock:u -F 99 -d true",
    ],
)
def test_dump_shows_the_fields_that_perf_shows(command):
    """Of each attr that the perf tool prints, dump() names the same fields with the same values."""
    result = subprocess.run(command.split(), capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    attrs = list(printed_attrs(result.stderr))
    if not attrs:
        pytest.skip(f"perf printed no attr: {result.stderr.strip().splitlines()[-1:]}")
    for fields in attrs:
        attr = perf_event_attr(**fields)
        assert shown(attr).keys() - {"config"} == fields.keys() - {"config"}
        for name, text in shown(attr).items():
            flags = re.findall(r"PERF_(?:SAMPLE|FORMAT)_\w+", text)
            value = sum(getattr(b, flag) for flag in flags) if flags else int(text.split()[0], 0)
            assert value == fields.get(name, 0) == getattr(attr, name)

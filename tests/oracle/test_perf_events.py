"""Event names: perf itself as the oracle."""

import errno
import functools
import itertools
import re
import shutil
import subprocess

import pytest
from support.attrs import set_fields
from support.marks import needs_events, needs_root, needs_seccomp
from support.seccomp import deny

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events
from perf_event_open_sys.events import _names as names

needs_perf = pytest.mark.skipif(not shutil.which("perf"), reason="needs perf, the oracle")

# What perf stat sets for itself, whatever the event says. It does not sample: the period is taken away.
PERFS_OWN = {"size", "sample_type", "read_format", "disabled", "inherit", "enable_on_exec", "sample_period"}


opening_nothing = functools.partial(deny, errno.ENOENT)


def perfs_fields(block):
    """The fields of one attr of ``perf stat -vv``."""
    lines = [line.rsplit(None, 1) for line in block.split("----")[0].splitlines() if line.strip()]
    values = {re.sub(r"\{.*(config\d).*}", r"\1", name.strip()): value for name, value in lines}
    return {name: int(value, 0) for name, value in values.items() if name not in PERFS_OWN}


def perf_attrs(text, setup=opening_nothing):
    """What perf would open for a list of events, one attr each; by default nothing is opened."""
    run = subprocess.run(["perf", "stat", "-vv", "-e", text, "true"], capture_output=True, text=True, preexec_fn=setup)
    return [perfs_fields(block) for block in run.stderr.split("perf_event_attr:\n")[1:]]


def ours(text):
    """The fields of our attr, but for those that other tests compare."""
    return {name: value for name, value in set_fields(events.attr(text)).items() if name not in PERFS_OWN}


def same(text, perfs):
    """Whether our attr equals perf's. exclude_guest may differ: perf sets it if the event has no modifier for guests."""
    mine = ours(text)
    modifiers = re.search(r"\w*$", text)[0]  # type: ignore[index]
    if "exclude_guest" not in mine and not set("GH") & set(modifiers):
        perfs = {name: value for name, value in perfs.items() if name != "exclude_guest"}
    return (text, mine) == (text, perfs), f"{text}: {mine} is not perf's {perfs}"


def strings():
    """The strings whose attrs are compared one by one."""
    caches = itertools.product(names.CACHES, names.OPERATIONS, names.RESULTS)
    for cache, operation, result in caches:
        yield f"{cache[0]}-{operation[-1]}-{result[-1]}"
    yield from events.cache_events()
    for rows, ending in ((names.CACHES, "{}"), (names.OPERATIONS, "node-{}"), (names.RESULTS, "LLC-load-{}")):
        yield from (ending.format(name) for row in rows for name in row if (rows, name) != (names.CACHES, "branches"))
    yield from ("L1-dcache-misses-load", "L1-dcache-misses", "dTLB-store-misses:u", "L1-dcache-loads/name=a/k")
    for letters in (
        *"ukhGHIDeSWP",
        "uk",
        "kh",
        "ukh",
        "GH",
        "uG",
        "uH",
        "p",
        "pp",
        "ppp",
        "upp",
        "kppp",
        "uI",
        "De",
        "uDe",
    ):
        yield from (f"cycles:{letters}", f"page-faults:{letters}")
    yield from ("r0", "r1a8", "r1A8:u", "rffff", "r12345678901", "r123456789abcdef0", "r1a8:kpp", "rc4:GH", "r003c:H")
    yield from ("1:2", "1:0x2", "1:2:u", "0:1", "3:0x10000", "5:0")
    address = "mem:0x1000"
    for length, access in itertools.product(("", "/1", "/2", "/4", "/8"), ("", ":r", ":w", ":rw", ":wr", ":x", ":rwx")):
        yield address + length + access
    yield from ("mem:4096/8:w", "mem:0x1000/0x8:w", "mem:0x1000:u", "mem:0x1000/8:u", "mem:0x1000/8:rw:u", "mem:64:x:u")
    for terms in ("", "config=2", "config=0x2", "config1=4", "config2=8", "config=2,config1=4,config2=0x8", "name=foo"):
        yield from (f"software/{terms}/", f"software/{terms}/u")
    yield from ("page-faults/period=1000/u", "page-faults/config=3/", "page-faults/name=foo/", "page-faults//k")
    yield from ("cycles/config=7,config=8/", "r1a8/name=foo/", "instructions/period=3/pp")


PMU_STRINGS = {
    "msr": [
        *(
            "msr/tsc/",
            "msr/tsc/k",
            "msr/tsc/G",
            "msr//",
            "msr/event=0/",
            "msr/event=0x1/",
            "msr/event/",
            "msr/config=1/",
        ),
        *(
            "msr/event=7,config1=3/",
            "msr/tsc,event=3/",
            "msr/event=3,event=4/",
            "msr/r10/",
            "msr/r1f,config1=1/",
            "tsc",
        ),
        *("msr/event=0xffffffffffffffff/", "msr/tsc,name=clock/u"),
    ],
    "uprobe": ["uprobe/retprobe/", "uprobe/retprobe=0/", "uprobe/retprobe,ref_ctr_offset=0x10/", "uprobe//u"],
    "breakpoint": ["breakpoint/config=1/"],
}


@needs_perf
@needs_seccomp
def test_attrs_are_those_of_perf():
    """Every cache event, raw, modifier, PMU, breakpoint and numeric form gives perf's attr, field by field."""
    texts = [*strings(), *(text for pmu, texts in PMU_STRINGS.items() if pmu in events.pmus() for text in texts)]
    # perf leaves out the cache events that no machine counts.
    absent = [
        text for text in texts if re.match("(L1-icache|iTLB|branch)-(write|specul)", text) and not perf_attrs(text)
    ]
    compared = [same(text, perf_attrs(text)[0]) for text in dict.fromkeys(texts) if text not in absent]
    assert [message for equal, message in compared if not equal] == []
    assert len(compared) > 200


@needs_perf
@needs_root
@needs_events
@pytest.mark.parametrize(
    "text",
    ["{page-faults:u,cs}:D", "{page-faults:k,cs}:u", "{page-faults,cs}:De", "{page-faults,cs:k}:pp", "{faults:H,cs}:G"],
)
def test_group_members_are_those_of_perf(text):
    """A group's modifiers are those of its members, but for what is the leader's alone."""
    [group] = events.parse(text)
    mine = [{name: value for name, value in set_fields(event.attr).items() if name not in PERFS_OWN} for event in group]
    theirs = perf_attrs(text, setup=None)  # perf opens no member of a leader that does not open
    for attr in (*mine, *theirs):
        attr.pop("exclude_guest", None)
    assert mine == theirs


def perf_list(kind):
    """The events that ``perf list`` prints of one kind, every name of each."""
    listed = subprocess.run(["perf", "list", "--no-desc"], capture_output=True, text=True).stdout
    lines = [line for line in listed.splitlines() if line.rstrip().endswith(f"[{kind}]")]
    return [name for line in lines for name in line.split("[")[0].strip().split(" OR ")]


@needs_perf
@needs_seccomp
@pytest.mark.parametrize("kind", ["Hardware event", "Software event", "Hardware cache event", "Kernel PMU event"])
def test_events_of_perf_list_are_those_of_perf(kind):
    """Every event of ``perf list`` that is no tracepoint gives perf's attr."""
    names = perf_list(kind)
    if not names:
        pytest.skip(f"perf list has no {kind} here")
    assert [same(name, perf_attrs(name)[0]) for name in names if not same(name, perf_attrs(name)[0])[0]] == []


@needs_perf
@needs_seccomp
@pytest.mark.usefixtures("tracefs")
def test_tracepoints_of_perf_list_are_those_of_perf():
    """Every tracepoint of ``perf list`` gives perf's attr."""
    names = perf_list("Tracepoint event")
    assert sorted(set(events.tracepoints()) - set(names)) == []
    different = []
    for some in (names[start : start + 250] for start in range(0, len(names), 250)):
        perfs = perf_attrs(",".join(some))
        different += [message for equal, message in map(same, some, perfs) if not equal]
        assert len(perfs) == len(some)
    assert different == []


USER, ANY = b.PERF_SAMPLE_BRANCH_USER, b.PERF_SAMPLE_BRANCH_ANY
CALL, RETURN = b.PERF_SAMPLE_BRANCH_ANY_CALL, b.PERF_SAMPLE_BRANCH_ANY_RETURN


@needs_perf
@needs_seccomp
@pytest.mark.parametrize(
    ("terms", "expected", "lines"),
    [
        ("period=7", {"sample_period": 7}, ["{ sample_period, sample_freq } 7"]),
        ("freq=77", {"sample_freq": 77, "freq": 1}, ["{ sample_period, sample_freq } 77", "freq 1"]),
        ("period=7,freq=77", {"sample_freq": 77, "freq": 1}, ["{ sample_period, sample_freq } 77", "freq 1"]),
        ("period=7,freq=77,period=8", {"sample_period": 8, "freq": 0}, ["{ sample_period, sample_freq } 8"]),
        ("max-stack=10", {"sample_max_stack": 10}, ["sample_max_stack 10"]),
        ("overwrite", {"write_backward": 1}, ["write_backward 1"]),
        ("aux-output", {"aux_output": 1}, ["aux_output 1"]),
        ("branch_type=any", {"branch_sample_type": ANY}, ["branch_sample_type ANY"]),
        ("branch_type='any_call,u'", {"branch_sample_type": CALL | USER}, ["branch_sample_type USER|ANY_CALL"]),
        ("branch_type=any_ret", {"branch_sample_type": RETURN}, ["branch_sample_type ANY_RETURN"]),
        ("branch_type=u", {"branch_sample_type": ANY | USER}, ["branch_sample_type USER|ANY"]),
    ],
)
def test_sampling_terms_are_those_of_perf_record(terms, expected, lines):
    """A term that configures sampling (call-graph=, period=, …) sets the same fields in our attr as in perf record's."""
    event = f"page-faults/{terms}/"
    command = ["perf", "record", "-vv", "-o", "/dev/null", "-e", event, "true"]
    shown = subprocess.run(command, capture_output=True, text=True, preexec_fn=opening_nothing).stderr
    theirs = [" ".join(line.split()) for line in shown.split("perf_event_attr:\n")[1].splitlines()]
    assert [line for line in lines if line not in theirs] == []
    attr = events.attr(event)
    assert {name: getattr(attr, name) for name in expected} == expected

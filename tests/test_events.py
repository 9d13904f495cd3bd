"""Event names: perf's syntax, perf itself as the oracle, and the sysfs and tracefs trees of other machines."""

import errno
import functools
import gc
import itertools
import os
import re
import shutil
import subprocess

import hypothesis
import pytest
from hypothesis import strategies
from support.marks import needs_root, needs_seccomp
from support.seccomp import deny

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ffi
from perf_event_open_sys.events import _names as names

MACHINE = "bus/event_source/devices"
needs_perf = pytest.mark.skipif(not shutil.which("perf"), reason="needs perf, the oracle")

# What perf stat sets for itself, whatever the event says. It does not sample: the period is taken away.
PERFS_OWN = {"size", "sample_type", "read_format", "disabled", "inherit", "enable_on_exec", "sample_period"}


def fields(attr):
    """The fields of an attr as perf prints them, by name: those that are not 0."""
    names = [name for name, _ in ffi.typeof(attr).item.fields if name not in ("sample_freq", "wakeup_watermark")]
    shown = {"config1": "bp_addr", "config2": "bp_len"}
    values = {name: getattr(attr, name) for name in names if name not in shown.values()}
    pointers = ("kprobe_func", "kprobe_addr", "uprobe_path", "probe_offset", "aux_action")
    return {name: value for name, value in values.items() if value and name not in pointers}


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
    """Our attr's fields, without what is compared elsewhere."""
    return {name: value for name, value in fields(events.attr(text)).items() if name not in PERFS_OWN}


def same(text, perfs):
    """Whether our attr is perf's, but for exclude_guest, which perf sets where the event says nothing of guests."""
    mine = ours(text)
    modifiers = re.search(r"\w*$", text)[0]
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
@pytest.mark.parametrize(
    "text",
    ["{page-faults:u,cs}:D", "{page-faults:k,cs}:u", "{page-faults,cs}:De", "{page-faults,cs:k}:pp", "{faults:H,cs}:G"],
)
def test_group_members_are_those_of_perf(text):
    """A group's modifiers are those of its members, but for what is the leader's alone."""
    [group] = events.parse(text)
    mine = [{name: value for name, value in fields(event.attr).items() if name not in PERFS_OWN} for event in group]
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
    """What a term asks of a sample is in perf record's attr with the same value."""
    event = f"page-faults/{terms}/"
    command = ["perf", "record", "-vv", "-o", "/dev/null", "-e", event, "true"]
    shown = subprocess.run(command, capture_output=True, text=True, preexec_fn=opening_nothing).stderr
    theirs = [" ".join(line.split()) for line in shown.split("perf_event_attr:\n")[1].splitlines()]
    assert [line for line in lines if line not in theirs] == []
    attr = events.attr(event)
    assert {name: getattr(attr, name) for name in expected} == expected


def device(root, name, kind, **files):
    """Make a PMU in a sysfs tree, of files by their paths."""
    for path, text in {"type": str(kind), **files}.items():
        file = root / MACHINE / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")


@pytest.fixture
def intel(tmp_path):
    """The sysfs of a hybrid machine with an uncore PMU in two boxes, and one with parameters."""
    core = {"format/event": "config:0-7", "format/umask": "config:8-15", "format/inv": "config:23"}
    spread = {"format/frontend": "config1:0-23", "format/ldlat": "config1:0-15", "format/wide": "config:0-7,32-35"}
    device(
        tmp_path,
        "cpu_core",
        4,
        **core,
        **spread,
        **{
            "cpus": "0-3",
            "caps/max_precise": "3",
            "events/cpu-cycles": "event=0x3c",
            "events/slots": "event=0x00,umask=0x4",
        },
    )
    device(tmp_path, "cpu_atom", 10, **core, **{"cpus": "4,6-7", "events/mem-loads": "event=0xd0,umask=0x5,inv"})
    device(tmp_path, "software", 1)
    for box in (0, 1):
        files = {"cpumask": "0", "format/event": "config:0-7", "events/data_reads": "event=0x01"}
        scale = {"events/data_reads.scale": "6.103515625e-5", "events/data_reads.unit": "MiB"}
        device(tmp_path, f"uncore_imc_{box}", 20 + box, **files, **scale)
    chips = {"format/domain": "config:0-3", "format/offset": "config:32-63", "format/core": "config:16-31"}
    device(
        tmp_path,
        "hv_24x7",
        30,
        **chips,
        **{"events/PM_X": "domain=2,offset=0xe0,core=?", "format/far": "config3:60-63"},
    )
    return str(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu_core/event=0xc4,umask=0x20/", {"type": 4, "config": 0x20C4}),
        ("cpu_core/event=0xc4,inv/k", {"type": 4, "config": 0x8000C4, "exclude_user": 1, "exclude_hv": 1}),
        ("cpu_core/event=0xc4,period=1000/", {"type": 4, "config": 0xC4, "sample_period": 1000}),
        ("cpu_core/wide=0xabc/", {"type": 4, "config": 0xA000000BC}),
        ("cpu_core/ldlat=30,event=0xcd/pp", {"type": 4, "config": 0xCD, "config1": 30, "precise_ip": 2}),
        ("cpu_core/cpu-cycles/P", {"type": 4, "config": 0x3C, "precise_ip": 3}),
        ("cpu_core/cycles/", {"config": 4 << 32}),
        ("cpu_atom/cycles/u", {"config": 10 << 32, "exclude_kernel": 1, "exclude_hv": 1}),
        ("cpu_atom/L1-dcache-load-misses/", {"type": 3, "config": 10 << 32 | 0x10000}),
        ("cycles", {}),
        ("slots:u", {"type": 4, "config": 0x400, "exclude_kernel": 1, "exclude_hv": 1}),
        ("mem-loads", {"type": 10, "config": 0x8005D0}),
        ("uncore_imc_1/data_reads/", {"type": 21, "config": 1}),
        ("hv_24x7/PM_X,core=5/", {"type": 30, "config": 0xE000050002}),
        ("hv_24x7/far=0xf/", {"type": 30, "config3": 0xF << 60}),
        ("hv_24x7/config1=2,config2=3/", {"type": 30, "config1": 2, "config2": 3}),
        ("hv_24x7/config=1,config3=4,config4=5/", {"type": 30, "config": 1, "config3": 4, "config4": 5}),
    ],
)
def test_other_machines_events_are_read(intel, text, expected):
    """Formats of several ranges, of config1 to config3, aliases, parameters, and the two kinds of CPU of a hybrid."""
    attr = fields(events.attr(text, sysfs=intel))
    assert attr.pop("size") == ffi.sizeof("struct perf_event_attr")
    assert attr == expected


def test_an_event_of_several_pmus_becomes_several(intel):
    """A hybrid's cycles, and an uncore PMU without its number, are an event for each PMU."""
    [[atom], [core], [first], [second]] = events.parse("cycles:u,imc/data_reads/", sysfs=intel)
    names = ["cpu_core/cycles/u", "cpu_atom/cycles/u", "uncore_imc_0/data_reads/"]
    assert [event.name for event in (core, atom, first)] == names
    assert [event.attr.type for event in (first, second)] == [20, 21]
    assert (core.pmu.cpumask, atom.pmu.cpumask) == ((0, 1, 2, 3), (4, 6, 7))
    with pytest.raises(ValueError, match="2 events have this name: uncore_imc_0/data_reads/, uncore_imc_1"):
        events.attr("imc/data_reads/", sysfs=intel)


def test_pmus_are_what_sysfs_says(intel):
    """Type, formats, events, scale, unit, cpumask and the PMUs that are cores."""
    pmus = events.pmus(sysfs=intel)
    imc = pmus["uncore_imc_0"]
    assert imc == events.Pmu(
        "uncore_imc_0", 20, {"event": "config:0-7"}, {"data_reads": "event=0x01"},
        {"data_reads": 6.103515625e-5}, {"data_reads": "MiB"}, (0,), False, 0,
    )  # fmt: skip
    assert [name for name, pmu in pmus.items() if pmu.is_core] == ["cpu_atom", "cpu_core"]
    assert events.pmu_type("cpu_atom", sysfs=intel) == 10
    [[event]] = events.parse("uncore_imc_0/data_reads,name=reads/", sysfs=intel)
    assert (event.name, event.scale, event.unit) == ("reads", 6.103515625e-5, "MiB")


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("cpu_core/evnt=1/", "PMU cpu_core has no term 'evnt'; did you mean event", 9),
        ("cpu_core/event=1,umask=0x100/", "umask has 8 bits: it goes up to 0xff", 17),
        ("cpu_core/event=x/", "event takes a number of up to 64 bits, not 'x'", 9),
        ("cpu_corn/event=1/", "this machine has no PMU 'cpu_corn'; did you mean cpu_core", 0),
        ("hv_24x7/PM_X/", "PM_X leaves core to you: hv_24x7/PM_X,core=.../", 8),
        ("cpu_core/event=1", "this '/' has no closing one", 8),
        ("cycels", "no event 'cycels'; did you mean cycles", 0),
        ("slot", "no event 'slot'; did you mean slots", 0),
        ("cycles:ux", "no modifier 'x'", 8),
        ("cycles:upppp", "too many 'p'", 8),
        ("cycles:u/period=1/", "modifiers come last", 8),
        ("cycles,cycles", "the event ends here", 6),
        ("page-faults/call-graph=x/", "call-graph takes fp or no, not 'x'", 12),
        ("page-faults/a b/", "terms are name or name=value", 13),
        ("duration_time", "duration_time is no event of the kernel", 0),
        ("", "an event is missing here", 0),
    ],
)
def test_a_wrong_event_is_a_value_error_with_a_caret(intel, text, message, caret):
    """What is wrong, the nearest names, and a caret under the place."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        events.attr(text, sysfs=intel)
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
def test_any_text_is_an_event_or_a_value_error(intel, pieces):
    """Text of the syntax's own pieces, and of others, is read or refused with a caret: nothing else."""
    text = "".join(pieces)
    try:
        refusal = "" if events.parse(text, sysfs=intel, tracefs=f"{intel}/bus") else "no event, and no error\n"
    except ValueError as error:
        refusal = str(error)
    except FileNotFoundError:  # a tracepoint, of a tree that has none
        refusal = "" if ":" in text else "tracefs was looked for\n"
    assert refusal == "" or refusal.endswith(" ^")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("page-faults,cs", [["page-faults"], ["cs"]]),
        ("{page-faults,cs}", [["page-faults", "cs"]]),
        ("{page-faults:k,cs}:u,faults", [["page-faults:ku", "cs:u"], ["faults"]]),
        ("{cs},{software/config=2,name=x/,faults}", [["cs"], ["x", "faults"]]),
    ],
)
def test_lists_and_groups_are_told_apart(text, names):
    """Commas inside of terms and braces separate no events, and a group's modifiers are its members'."""
    groups = events.parse(text)
    assert [[event.name for event in group] for group in groups] == names
    assert groups[0][0].attr.exclude_kernel == 0


@pytest.mark.parametrize("text", ["{page-faults", "page-faults}", "{}", "page-faults,", "{page-faults}x", "{{cs}}"])
def test_a_wrong_list_is_a_value_error(text):
    """Braces and commas that do not fit are shown with a caret."""
    with pytest.raises(ValueError, match=r"\^$"):
        events.parse(text)


NONSENSE = {
    "absent": {},
    "empty": {"nothing": {"type": ""}},
    "words": {"cpu": {"type": "many"}},
    "huge": {"cpu": {"type": "9" * 40}},
    "binary": {"cpu": {"type": "\0\0"}},
}


@pytest.mark.parametrize("tree", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_in_sysfs_is_an_empty_answer_or_a_clear_error(tmp_path, tree):
    """PMUs without a usable type are not there; generic events need no sysfs."""
    for name, files in tree.items():
        device(tmp_path, name, files["type"])
    assert events.pmus(sysfs=str(tmp_path)) == {}
    assert events.attr("cycles:u", sysfs=str(tmp_path)).exclude_kernel == 1
    with pytest.raises(ValueError, match="this machine has no PMU 'cpu'"):
        events.attr("cpu/event=1/", sysfs=str(tmp_path))
    with pytest.raises(ValueError, match="this machine has no PMU 'cpu'"):
        events.pmu_type("cpu", sysfs=str(tmp_path))


@pytest.mark.parametrize(
    "layout", ["config", "config5:0-7", "config:64", "config:7-", "eventid:0-3", "config:0-99999", ""]
)
def test_a_format_of_nonsense_is_a_clear_error(tmp_path, layout):
    """A format that does not parse stops the event that uses it, and no other."""
    device(tmp_path, "odd", 50, **{"format/event": layout, "format/good": "config:1"})
    (tmp_path / MACHINE / "odd" / "format" / "directory").mkdir()
    assert events.attr("odd/good/", sysfs=str(tmp_path)).config == 2
    with pytest.raises(ValueError, match=r"which is no format|has no term 'event'"):
        events.attr("odd/event=1/", sysfs=str(tmp_path))


def test_an_alias_that_names_itself_ends(tmp_path):
    """Events are terms of formats; one that names events is refused, not followed for ever."""
    device(tmp_path, "odd", 50, **{"events/loop": "loop"})
    with pytest.raises(ValueError, match="PMU odd has no term 'loop'"):
        events.attr("odd/loop/", sysfs=str(tmp_path))


def tracing(root, **ids):
    """Make a tracefs tree; names have __ for the colon."""
    for name, text in ids.items():
        path = root.joinpath("events", *name.split("__"))
        path.mkdir(parents=True)
        (path / "id").write_text(text)
    return str(root)


def test_tracepoints_of_a_tree_are_read(tmp_path):
    """A tracepoint is SYSTEM:NAME with the content of its id; globs are several."""
    root = tracing(tmp_path, sched__switch="314\n", sched__wakeup="315\n", irq__entry="9\n")
    (tmp_path / "events" / "sched" / "enable").write_text("0")
    assert events.tracepoints(tracefs=root) == ["irq:entry", "sched:switch", "sched:wakeup"]
    assert events.tracepoint_id("sched", "switch", tracefs=root) == 314
    attr = events.attr("sched:switch:u", tracefs=root)
    assert (attr.type, attr.config, attr.exclude_kernel) == (b.PERF_TYPE_TRACEPOINT, 314, 1)
    groups = events.parse("sched:*:u,*:entry", tracefs=root)
    assert [event.name for [event] in groups] == ["sched:switch:u", "sched:wakeup:u", "*:entry"]
    with pytest.raises(ValueError, match="no tracepoint sched:swich; did you mean switch"):
        events.attr("sched:swich", tracefs=root)
    with pytest.raises(ValueError, match="nor any of shed; did you mean sched"):
        events.attr("shed:switch", tracefs=root)
    with pytest.raises(ValueError, match="no tracepoint matches"):
        events.attr("x*:*", tracefs=root)


@pytest.mark.parametrize("text", ["", "nonsense", "-1", "\0"])
def test_a_tracepoint_without_a_number_is_a_clear_error(tmp_path, text):
    """An id file of nonsense is as good as none."""
    with pytest.raises(ValueError, match="no tracepoint sched:switch"):
        events.tracepoint_id("sched", "switch", tracefs=tracing(tmp_path, sched__switch=text))


def test_a_tracefs_that_is_not_there_is_a_file_not_found_error(tmp_path):
    """An empty directory where tracefs should be, and a mount table without it."""
    with pytest.raises(FileNotFoundError, match="no tracefs is there"):
        events.tracepoint_id("sched", "switch", tracefs=str(tmp_path))
    (tmp_path / "mounts").write_text("proc /proc proc rw 0 0\n\nnonsense\n")
    with pytest.raises(FileNotFoundError, match="mount -t tracefs nodev /sys/kernel/tracing"):
        events.tracefs(mounts=str(tmp_path / "mounts"))


def test_a_closed_tracefs_is_a_permission_error(tmp_path):
    """A directory that this user may not read says what would open it."""
    if os.geteuid() == 0:
        pytest.skip("needs an ordinary user: root may read everything")
    root = tracing(tmp_path, sched__switch="1")
    os.chmod(tmp_path / "events", 0)
    with pytest.raises(PermissionError, match="mode= or gid="):
        events.tracepoint_id("sched", "switch", tracefs=root)
    os.chmod(tmp_path / "events", 0o700)


def test_tracefs_is_found_in_the_mount_table(tmp_path):
    """The table's escapes are undone; under debugfs it is the directory tracing."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"d {tmp_path}/debug\\040fs debugfs rw 0 0\nt /else\\040where tracefs rw 0 0\n")
    assert events.tracefs(mounts=str(mounts)) == "/else where"
    mounts.write_text(f"d {tmp_path}/debug\\040fs debugfs rw 0 0\n")
    (tmp_path / "debug fs" / "tracing").mkdir(parents=True)
    assert events.tracefs(mounts=str(mounts)) == f"{tmp_path}/debug fs/tracing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("0-3,8", (0, 1, 2, 3, 8)), ("0", (0,)), ("", ()), (" \n", ()), ("0-1\n", (0, 1)), ("8,2-3,3", (2, 3, 8))),
        ("0-65535", tuple(range(65536))),
    ],
)
def test_lists_of_cpus_are_read(text, expected):
    """The kernel's notation, with its newline or without, in rising order."""
    assert events.parse_cpu_list(text) == expected


@pytest.mark.parametrize(
    "text", ["a", "1-", "-1", "3-1", "0,,1", "0-1,", "0-3:1/2", "٣", "1_0", "65536", "9" * 5000, "0x1"]
)
def test_nonsense_is_no_list_of_cpus(text):
    """What is not a number, nor a range of numbers that rise, is a ValueError."""
    with pytest.raises(ValueError, match="no list of CPUs"):
        events.parse_cpu_list(text)


def test_a_list_of_too_many_cpus_is_refused_before_it_takes_memory():
    """Ranges that repeat each other do not add up to billions of CPUs."""
    with pytest.raises(ValueError, match="no list of CPUs"):
        events.parse_cpu_list(",".join(["0-65535"] * 100_000))


def test_probes_take_their_strings_and_keep_them(tmp_path):
    """A uprobe's path and a kprobe's function live as long as the attr, given as terms or as fields."""
    device(tmp_path, "uprobe", 8, **{"format/retprobe": "config:0", "format/ref_ctr_offset": "config:32-63"})
    device(tmp_path, "kprobe", 7, **{"format/retprobe": "config:0"})
    written = events.attr("uprobe/path='/bin/a,b',offset=0x10,retprobe,ref_ctr_offset=5/", sysfs=str(tmp_path))
    given = events.attr("uprobe/retprobe/", sysfs=str(tmp_path), uprobe_path="/bin/a,b", probe_offset=0x10)
    function = events.attr("kprobe/func=do_exit,offset=4/", sysfs=str(tmp_path))
    gc.collect()
    _reused = [ffi.new("char[]", b"reused") for _ in range(1000)]
    texts = [ffi.string(ffi.cast("char *", attr.uprobe_path)) for attr in (written, given)]
    assert texts == [b"/bin/a,b"] * 2
    assert (written.config, given.config, written.probe_offset) == (5 << 32 | 1, 1, 0x10)
    assert ffi.string(ffi.cast("char *", function.kprobe_func)) == b"do_exit"
    assert (function.type, function.probe_offset) == (7, 4)


def test_overrides_are_the_attrs_other_fields():
    """Keywords set any field, and win over the event's own."""
    attr = events.attr("page-faults/period=10/u", sample_period=20, disabled=1)
    assert (attr.sample_period, attr.disabled, attr.exclude_kernel) == (20, 1, 1)
    with pytest.raises(TypeError, match="did you mean disabled"):
        events.attr("page-faults", disable=1)

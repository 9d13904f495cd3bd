"""Event names to attrs: this machine's, and those of made-up trees of sysfs."""

import gc
import tracemalloc
from pathlib import Path

import pytest
from support.attrs import set_fields
from support.trees import device, hybrid_machine

from perf_event_open_sys import bindings as b
from perf_event_open_sys import events, ffi


@pytest.fixture
def hybrid(tmp_path):
    """The sysfs of a hybrid machine with an uncore PMU in two boxes, and one with parameters."""
    return hybrid_machine(tmp_path)


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
        ("instructions", {"config": 1}),
        ("cs", {"type": 1, "config": 3}),
        ("slots:u", {"type": 4, "config": 0x400, "exclude_kernel": 1, "exclude_hv": 1}),
        ("mem-loads", {"type": 10, "config": 0x8005D0}),
        ("uncore_imc_1/data_reads/", {"type": 21, "config": 1}),
        ("hv_24x7/PM_X,core=5/", {"type": 30, "config": 0xE000050002}),
        ("hv_24x7/far=0xf/", {"type": 30, "config3": 0xF << 60}),
        ("hv_24x7/config1=2,config2=3/", {"type": 30, "config1": 2, "config2": 3}),
        ("hv_24x7/config=1,config3=4,config4=5/", {"type": 30, "config": 1, "config3": 4, "config4": 5}),
    ],
)
def test_other_machines_events_are_read(hybrid, text, expected):
    """Formats of several ranges, of config1 to config3, aliases, parameters, and the two kinds of CPU of a hybrid."""
    attr = set_fields(events.attr(text, sysfs=hybrid))
    assert attr.pop("size") == ffi.sizeof("struct perf_event_attr")
    assert attr == expected


CACHE, BREAKPOINT, LONG = b.PERF_TYPE_HW_CACHE, b.PERF_TYPE_BREAKPOINT, ffi.sizeof("long")
RW, W, X = b.HW_BREAKPOINT_RW, b.HW_BREAKPOINT_W, b.HW_BREAKPOINT_X


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L1-dcache", {"type": CACHE}),
        ("L1-icache-load-misses", {"type": CACHE, "config": 0x10001}),
        ("LLC-stores", {"type": CACHE, "config": 0x102}),
        ("dTLB-misses", {"type": CACHE, "config": 0x10003}),
        ("node-miss-prefetch", {"type": CACHE, "config": 0x10206}),
        ("cycles/config=0x100000000/", {"config": 1 << 32}),
        ("cpu/cycles/", {}),
        ("cpu/config1=5,cycles/", {"config1": 5}),
        ("cpu/two=5,four/", {"type": 4, "config2": 5, "config4": 1 << 63}),
        ("cpu/r1f/", {"type": 4, "config": 0x1F}),
        ("software/cs/", {"type": 1, "config": 3}),
        ("cpu/cpu-cycles/P", {"type": 4, "config": 0x3C, "precise_ip": 2}),
        ("r1a8", {"type": 4, "config": 0x1A8}),
        ("0X1:0x2", {"type": 1, "config": 2}),
        ("mem:0x1000", {"type": BREAKPOINT, "bp_type": RW, "config1": 0x1000, "config2": 4}),
        ("mem:4096/8:w", {"type": BREAKPOINT, "bp_type": W, "config1": 4096, "config2": 8}),
        ("mem:0X40:x", {"type": BREAKPOINT, "bp_type": X, "config1": 64, "config2": LONG}),
        ("cs/name='',config=4/", {"type": 1, "config": 4}),
    ],
)
def test_what_every_machine_has_is_read(tmp_path, text, expected):
    """Cache, raw and numeric events, breakpoints, and the events of the one core PMU, which is named cpu."""
    device(tmp_path, "cpu", 4, **{"format/event": "config:0-7", "events/cpu-cycles": "event=0x3c"})
    device(tmp_path, "cpu", 4, **{"caps/max_precise": "2", "format/two": "config2:0-3", "format/four": "config4:63"})
    device(tmp_path, "software", 1)
    attr = set_fields(events.attr(text, sysfs=str(tmp_path)))
    del attr["size"]
    assert attr == expected


def test_nothing_is_precise_where_no_core_pmu_says_so(tmp_path):
    """On a machine without core PMUs, P asks for nothing."""
    assert events.attr("cs:P", sysfs=str(tmp_path)).precise_ip == 0


def test_cache_events_are_those_that_make_sense():
    """Loads, stores and prefetches of each cache, and their misses; nothing stores to instructions."""
    none = {"L1-icache-store", "iTLB-store", "iTLB-prefetch", "branch-store", "branch-prefetch"}
    caches = ("L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node")
    kinds = ("load", "loads"), ("store", "stores"), ("prefetch", "prefetches")
    assert events.cache_events() == [
        name
        for cache in caches
        for one, many in kinds
        for name in (f"{cache}-{many}", f"{cache}-{one}-misses")
        if f"{cache}-{one}" not in none
    ]


@pytest.mark.parametrize(
    ("terms", "name"),
    [("name='a',name='b'", "a"), ("name=XaX", "XaX"), ('name="a,b/\'c"', "a,b/'c"), ("name=''", "cs/name=''/")],
)
def test_a_name_is_what_its_term_says(terms, name):
    """The first of two; within quotes commas, slashes and other quotes too; an empty one is none."""
    [[event]] = events.parse(f"cs/{terms}/")
    assert event.name == name


def test_the_units_of_an_uncore_pmu_have_numbers(tmp_path):
    """The name of a PMU stands for its numbered units, and for nothing else if there is a PMU of that very name."""
    for number, name in enumerate(("cha_0", "uncore_cha_free_running", "uncore_cha_1", "uncore_cha"), 40):
        device(tmp_path, name, number)
    assert [event.attr.type for [event] in events.parse("cha//", sysfs=str(tmp_path))] == [40, 43, 42]
    device(tmp_path, "cha", 50)
    assert [event.attr.type for [event] in events.parse("cha//", sysfs=str(tmp_path))] == [50]


def test_an_event_of_several_pmus_becomes_several(hybrid):
    """A hybrid's cycles, and an uncore PMU without its number, are an event for each PMU."""
    [[atom], [core], [first], [second]] = events.parse("cycles:u,imc/data_reads/", sysfs=hybrid)
    names = ["cpu_core/cycles/u", "cpu_atom/cycles/u", "uncore_imc_0/data_reads/"]
    assert [event.name for event in (core, atom, first)] == names
    assert [event.attr.type for event in (first, second)] == [20, 21]
    assert (core.pmu.cpumask, atom.pmu.cpumask) == ((0, 1, 2, 3), (4, 6, 7))
    both = ["uncore_imc_0/data_reads/", "uncore_imc_1/data_reads/"]
    assert [event.name for [event] in events.parse("data_reads", sysfs=hybrid)] == both


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
    assert groups[0][0].modifiers == groups[0][0].name.partition(":")[2]


@pytest.fixture
def probing(tmp_path):
    """The sysfs of a machine with the two PMUs of probes."""
    device(tmp_path, "uprobe", 8, **{"format/retprobe": "config:0", "format/ref_ctr_offset": "config:32-63"})
    device(tmp_path, "kprobe", 7, **{"format/retprobe": "config:0"})
    return str(tmp_path)


def string_at(address):
    """The string that a field of an attr points to."""
    return ffi.string(ffi.cast("char *", address))


def test_probes_take_their_strings(probing):
    """A uprobe's path and a kprobe's function are given as terms or as fields, as str, bytes or path."""
    written = events.attr("uprobe/path='/bin/a,b',offset=0x10,retprobe,ref_ctr_offset=5/", sysfs=probing)
    assert (written.config, written.probe_offset, string_at(written.uprobe_path)) == (5 << 32 | 1, 0x10, b"/bin/a,b")
    for path in ("/bin/\udce9", b"/bin/\xe9", Path("/bin/\udce9")):
        given = events.attr("uprobe/retprobe/", sysfs=probing, uprobe_path=path, probe_offset=0x10)
        assert (given.config, string_at(given.uprobe_path)) == (1, b"/bin/\xe9")
    function = events.attr("kprobe/func=do_exit,offset=4/", sysfs=probing)
    assert (function.type, function.probe_offset, string_at(function.kprobe_func)) == (7, 4, b"do_exit")
    assert string_at(events.attr("kprobe/func/", sysfs=probing).kprobe_func) == b""


@pytest.mark.parametrize("part", [lambda attr: attr, lambda attr: attr[0], b.copy], ids=["pointer", "struct", "copy"])
def test_strings_live_as_long_as_the_struct_they_are_in(probing, part):
    """Whichever of the pointer, its struct and a copy is kept, what the fields point to is kept."""
    kept = [part(events.attr("uprobe//", sysfs=probing, uprobe_path=f"/kept/{i}")) for i in range(100)]
    gc.collect()
    _reused = [ffi.new("char[]", b"/lost" * 40) for _ in range(10_000)]
    assert [string_at(one.uprobe_path) for one in kept] == [b"/kept/%d" % i for i in range(100)]


def test_attrs_with_strings_are_freed(probing):
    """An attr's memory goes with it, its strings too: a thousand attrs take no more than one."""
    tracemalloc.start()
    try:
        for _ in range(1000):
            events.attr("uprobe//", sysfs=probing, uprobe_path="/" * 4000)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 1 << 20


@pytest.mark.parametrize(
    "path", ["/bin/sh\0junk", b"/bin/sh\0junk", "/bin/\ud800"], ids=["NUL", "NUL in bytes", "surrogate"]
)
def test_a_string_that_c_would_cut_or_cannot_hold_is_a_value_error(probing, path):
    """A NUL byte or a lone surrogate in a path is refused, not cut or an error of the codec."""
    with pytest.raises(ValueError, match=r"^perf_event_attr\.uprobe_path: .*(NUL byte|cannot be encoded)") as caught:
        events.attr("uprobe//", sysfs=probing, uprobe_path=path)
    assert type(caught.value) is ValueError
    if isinstance(path, str):
        with pytest.raises(ValueError, match=r"^path: .*\n.*\n {9}\^$"):
            events.attr(f"uprobe/path='{path}'/", sysfs=probing)


def test_a_string_in_a_field_that_is_a_number_is_a_type_error(probing):
    """Only the fields that are addresses of strings take strings, and one of them only: they are members of a union."""
    with pytest.raises(TypeError, match=r"perf_event_attr\.kprobe_func"):
        events.attr("uprobe//", sysfs=probing, uprobe_path="/bin/sh", kprobe_func="do_exit")
    with pytest.raises(TypeError, match=r"perf_event_attr\.config"):
        events.attr("cs", config="5")  # type: ignore[arg-type]


def test_overrides_are_the_attrs_other_fields():
    """Keywords set any field, and win over the event's own."""
    attr = events.attr("page-faults/period=10/u", sample_period=20, disabled=1)
    assert (attr.sample_period, attr.disabled, attr.exclude_kernel) == (20, 1, 1)
    with pytest.raises(TypeError, match="did you mean disabled"):
        events.attr("page-faults", disable=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("event", "overrides", "expected"),
    [
        ("cs", {"sample_freq": 99}, (1, 99)),
        ("cs/period=7/", {"sample_freq": 99}, (1, 99)),
        ("cs/freq=77/", {"sample_period": 5}, (0, 5)),
        ("cs/freq=77/", {"sample_freq": 99}, (1, 99)),
        ("cs/freq=77/", {"sample_freq": 99, "sample_period": 0}, (1, 99)),
        ("cs/freq=77/", {"sample_freq": 0, "sample_period": 5}, (0, 5)),
        ("cs", {"sample_period": 5, "sample_freq": 0}, (0, 5)),
        ("cs/freq=77/", {"sample_period": 0}, (0, 0)),
        ("cs", {"sample_freq": 99, "freq": 0}, (0, 99)),
        ("cs", {"sample_period": 5, "freq": 1}, (1, 5)),
        ("cs/freq=77/", {}, (1, 77)),
    ],
)
def test_sample_freq_sets_freq_and_sample_period_clears_it(event, overrides, expected):
    """The two are one field of the attr, and freq says which it is, unless it is given too."""
    attr = events.attr(event, **overrides)
    assert (attr.freq, attr.sample_period) == expected
    [[parsed]] = events.parse(event, **overrides)
    assert (parsed.attr.freq, parsed.attr.sample_period) == expected


def test_sample_freq_and_sample_period_exclude_each_other():
    """Both at once are refused: one of them would be lost."""
    with pytest.raises(ValueError, match="are one field of the attr"):
        events.attr("cs", sample_freq=99, sample_period=5)


@pytest.mark.parametrize("text", ["r1a8,cs", "{r1a8,cs}", "mem:0x1000:rw,cs", "mem:0x1000/8:x,cs", "0x1:0x3,cs"])
def test_an_event_alone_is_the_same_in_a_list(text):
    """What follows a raw event, a breakpoint or a numeric event is not taken for a part of it."""
    first = events.parse(text)[0][0]
    alone = events.attr(text.strip("{}").split(",")[0])
    assert set_fields(first.attr) == set_fields(alone)
    assert first.attr.bp_type == alone.bp_type

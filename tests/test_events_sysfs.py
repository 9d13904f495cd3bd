"""PMUs, from sysfs trees of other machines and of nonsense."""

import os

import pytest
from support.trees import device, hybrid_machine

from perf_event_open_sys import events
from perf_event_open_sys._files import DEVICES


@pytest.fixture
def hybrid(tmp_path):
    """The sysfs of a hybrid machine with an uncore PMU in two boxes, and one with parameters."""
    return hybrid_machine(tmp_path)


def test_pmus_are_what_sysfs_says(hybrid):
    """Type, formats, events, scale, unit, cpumask and the PMUs that are cores."""
    pmus = events.pmus(sysfs=hybrid)
    imc = pmus["uncore_imc_0"]
    assert imc == events.Pmu(
        "uncore_imc_0", 20, {"event": "config:0-7"}, {"data_reads": "event=0x01"},
        {"data_reads": 6.103515625e-5}, {"data_reads": "MiB"}, (0,), False, 0,
    )  # fmt: skip
    assert [name for name, pmu in pmus.items() if pmu.is_core] == ["cpu_atom", "cpu_core"]
    assert events.pmu_type("cpu_atom", sysfs=hybrid) == 10
    [[event], [plain], [other]] = events.parse("uncore_imc_0/data_reads,name=reads/,slots,cs", sysfs=hybrid)
    assert (event.name, event.scale, event.unit) == ("reads", 6.103515625e-5, "MiB")
    assert (plain.scale, plain.unit) == (other.scale, other.unit) == (1.0, "")


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
    with pytest.raises(ValueError, match=rf"this machine has no PMU 'cpu'.* \(it has {', '.join(tree) or 'none'}\)"):
        events.attr("cpu/event=1/", sysfs=str(tmp_path))
    with pytest.raises(ValueError, match="this machine has no PMU 'cpu'"):
        events.pmu_type("cpu", sysfs=str(tmp_path))


@pytest.mark.parametrize(
    "layout", ["config", "config5:0-7", "config:64", "config:7-", "eventid:0-3", "config:0-99999", ""]
)
def test_a_format_of_nonsense_is_a_clear_error(tmp_path, layout):
    """A format that does not parse stops the event that uses it, and no other."""
    device(tmp_path, "odd", 50, **{"format/event": layout, "format/good": "config:1"})
    (tmp_path / DEVICES / "odd" / "format" / "directory").mkdir()
    assert events.attr("odd/good/", sysfs=str(tmp_path)).config == 2
    with pytest.raises(ValueError, match=r"which is no format|has no term 'event'"):
        events.attr("odd/event=1/", sysfs=str(tmp_path))


def test_an_alias_that_names_itself_ends(tmp_path):
    """Events are terms of formats; one that names events is refused, not followed for ever."""
    device(tmp_path, "odd", 50, **{"events/loop": "loop"})
    with pytest.raises(ValueError, match="PMU odd has no term 'loop'"):
        events.attr("odd/loop/", sysfs=str(tmp_path))


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


@pytest.mark.parametrize("file", ["type", "format/event", "events/reads", "events/reads.scale", "cpumask", "cpus"])
def test_what_is_no_regular_file_is_as_good_as_absent(tmp_path, file):
    """A FIFO is not waited for; a directory, a link to itself and a link to nothing are passed over."""
    root = tmp_path / DEVICES / "odd"
    device(tmp_path, "odd", 50, **{"format/event": "config:0-7", "events/reads": "event=1"})
    path = root / file
    path.unlink(missing_ok=True)
    made = {"fifo": os.mkfifo, "directory": os.mkdir, "loop": lambda p: os.symlink(p, p)}
    made["nothing"] = lambda p: os.symlink("/nonexistent", p)
    for make in made.values():
        make(path)
        pmu = events.pmus(sysfs=str(tmp_path)).get("odd")
        assert (pmu is None) == (file == "type")
        if pmu:
            assert file.split("/")[-1] not in {**pmu.formats, **pmu.events}
            assert (pmu.scales, pmu.cpumask) == ({}, ())
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_files_of_sysfs_that_are_too_large_are_as_good_as_absent(tmp_path):
    """A file of a gigabyte without a byte on the disk takes no gigabyte of memory."""
    device(tmp_path, "odd", 50, **{"format/event": "config:0-7"})
    os.truncate(tmp_path / DEVICES / "odd" / "format" / "event", 1 << 30)
    assert events.pmus(sysfs=str(tmp_path))["odd"].formats == {}


@pytest.mark.parametrize("kind", ["9" * 5000, "\u0665", "1_0", "+5", "0x", "4294967296", "5 6"])
def test_a_type_that_is_no_u32_is_no_pmu(tmp_path, kind):
    """Thousands of digits, digits that are not ASCII, and what only Python takes for a number."""
    device(tmp_path, "odd", kind)
    assert events.pmus(sysfs=str(tmp_path)) == {}


@pytest.mark.parametrize("scale", ["1" * 60_000 + "x", "nan", "inf", "1e999", "1_0", "\u0661", "0", "", "0x10"])
def test_a_scale_of_nonsense_is_none(tmp_path, scale):
    """What is no finite number leaves the count as it is; 60,000 digits are read in no time."""
    device(tmp_path, "odd", 50, **{"events/reads": "event=1", "events/reads.scale": scale, "events/writes.scale": "2"})
    assert events.pmus(sysfs=str(tmp_path))["odd"].scales == {"writes": 2.0}


@pytest.mark.parametrize("name", ["..", ".", "", "odd/../odd", "odd\0", "../devices/odd", "\ud800"])
def test_a_name_that_is_a_path_is_no_pmu(tmp_path, name):
    """Only what is directly below the directory of PMUs is one."""
    device(tmp_path, "odd", 50)
    (tmp_path / "bus" / "event_source" / "type").write_text("9")
    (tmp_path / DEVICES / "type").write_text("9")
    with pytest.raises(ValueError, match="this machine has no PMU"):
        events.pmu_type(name, sysfs=str(tmp_path))

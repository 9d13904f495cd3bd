"""Constants, constructors of structs, dump and name_of; what `import perf_event_open_sys` loads."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import perf_event_open_sys
from perf_event_open_sys import HEADERS_VERSION, ffi, get_include, lib, perf_event_attr, perf_event_header
from perf_event_open_sys import bindings as b

CONSTRUCTORS = [
    "perf_event_attr",
    "perf_event_mmap_page",
    "perf_event_header",
    "perf_branch_entry",
    "perf_mem_data_src",
    "perf_sample_weight",
    "perf_ns_link_info",
]


def shown(attr):
    """What dump() gives, as a dict."""
    return dict(line.split(maxsplit=1) for line in b.dump(attr).splitlines())


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_a_constructor_returns_an_owned_pointer_to_zeroes(name):
    """All bytes are 0, but for attr.size; the pointer is of the struct of its name."""
    pointer = getattr(b, name)()
    assert getattr(perf_event_open_sys, name) is getattr(b, name)
    assert f"{name} *' owning" in repr(pointer)
    if name == "perf_event_attr":
        assert pointer.size == ffi.sizeof("struct perf_event_attr") == b.PERF_ATTR_SIZE_VER9
        pointer.size = 0
    assert not any(bytes(ffi.buffer(pointer)))


def test_attr_takes_its_fields_as_keywords():
    """Plain fields, bitfields and members of anonymous unions alike; a given size stays."""
    attr = perf_event_attr(type=1, config=2**64 - 1, precise_ip=3, sample_freq=99, bp_addr=5, aux_resume=1, clockid=-1)
    assert (attr.type, attr.config, attr.precise_ip, attr.aux_resume, attr.clockid) == (1, 2**64 - 1, 3, 1, -1)
    assert (attr.sample_period, attr.config1, attr.aux_action) == (99, 5, 4 if sys.byteorder == "little" else 1 << 29)
    assert perf_event_attr(size=64).size == 64


def test_a_field_that_is_a_word_of_python_goes_through_a_dict():
    """perf_branch_entry.from cannot be written as a keyword."""
    entry = b.perf_branch_entry(**{"from": 1}, to=2, cycles=0xFFFF, priv=7)
    assert (getattr(entry, "from"), entry.to, entry.cycles, entry.priv) == (1, 2, 0xFFFF, 7)


def test_mem_data_src_is_its_bits_and_its_value():
    """The bits of ``val`` are the fields', in both directions."""
    source = b.perf_mem_data_src(mem_op=b.PERF_MEM_OP_LOAD, mem_lvl=b.PERF_MEM_LVL_L2, mem_region=31)
    assert source.val == b.PERF_MEM_S("OP", "LOAD") | b.PERF_MEM_S("LVL", "L2") | 31 << b.PERF_MEM_REGION_SHIFT
    source.val = b.PERF_MEM_S("SNOOP", "HITM")
    assert (source.mem_op, source.mem_snoop) == (0, b.PERF_MEM_SNOOP_HITM)


def test_query_bpf_has_room_for_the_ids():
    """The array is part of the struct's memory, and ids_len says how long it is."""
    query = b.perf_event_query_bpf(3)
    assert (query.ids_len, query.prog_cnt, list(query.ids[0:3])) == (3, 0, [0, 0, 0])
    assert len(ffi.buffer(query)) == 8 + 3 * 4


@pytest.mark.parametrize(
    ("name", "field", "nearest"),
    [
        ("perf_event_attr", "sample_perod", "sample_period"),
        ("perf_event_attr", "exclude_kernal", "exclude_kernel"),
        ("perf_event_mmap_page", "data_heads", "data_head"),
        ("perf_event_header", "sizes", "size"),
        ("perf_branch_entry", "mispredict", "mispred"),
        ("perf_mem_data_src", "mem_level", "mem_lvl"),
        ("perf_sample_weight", "var1", "var1_dw"),
        ("perf_ns_link_info", "inode", "ino"),
    ],
)
def test_an_unknown_field_names_the_nearest(name, field, nearest):
    """A TypeError with struct, field, and what may have been meant."""
    with pytest.raises(TypeError, match=rf"{name}.*'{field}'.*\b{nearest}\b"):
        getattr(b, name)(**{field: 1})


def test_an_unknown_field_without_a_neighbour_is_a_type_error_too():
    """A TypeError without a suggestion, where no field has a similar name."""
    with pytest.raises(TypeError, match=r"perf_event_attr has no field 'qqqq'$"):
        perf_event_attr(qqqq=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"perf_event_attr has no field '_reserved_2'$"):
        perf_event_attr(_reserved_2=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("perf_event_attr", "type", 2**32),
        ("perf_event_attr", "config", -1),
        ("perf_event_attr", "config", 2**64),
        ("perf_event_attr", "clockid", 2**31),
        ("perf_event_attr", "sample_max_stack", 2**16),
        ("perf_event_attr", "disabled", 2),
        ("perf_event_attr", "precise_ip", 4),
        ("perf_event_attr", "precise_ip", -1),
        ("perf_event_attr", "aux_pause", 2),
        ("perf_event_attr", "wakeup_watermark", 2**32),
        ("perf_event_mmap_page", "cap_user_rdpmc", 2),
        ("perf_event_header", "size", 2**16),
        ("perf_branch_entry", "from", -1),
        ("perf_branch_entry", "cycles", 2**16),
        ("perf_mem_data_src", "mem_op", 32),
        ("perf_sample_weight", "var2_w", 2**16),
    ],
)
def test_a_value_that_does_not_fit_names_its_field(name, field, value):
    """An OverflowError with struct and field, for bitfields too; the good fields beside it are not named."""
    with pytest.raises(OverflowError, match=rf"^{name}\.{field}: "):
        getattr(b, name)(**{field: value})
    if name == "perf_event_attr":
        with pytest.raises(OverflowError, match=rf"^{name}\.{field}: "):
            perf_event_attr(**{"sample_type": 1, "inherit": 1, field: value})


@pytest.mark.parametrize("field", ["config", "precise_ip", "aux_action", "clockid"])
@pytest.mark.parametrize("value", [None, "1", 1.5, b"1"], ids=repr)
def test_a_value_that_is_no_int_names_its_field(field, value):
    """A TypeError with struct and field."""
    with pytest.raises(TypeError, match=rf"^perf_event_attr\.{field}: "):
        perf_event_attr(**{field: value})


@pytest.mark.parametrize(("ids_len", "error"), [(-1, OverflowError), (2**32, OverflowError), (None, TypeError)])
def test_query_bpf_refuses_what_is_no_length(ids_len, error):
    """A negative or huge number of ids is refused before any memory is allocated."""
    with pytest.raises(error, match=r"perf_event_query_bpf\.ids_len"):
        b.perf_event_query_bpf(ids_len)


def test_a_constructors_help_lists_the_fields():
    """Each field that can be given stands there once, and no name of the struct's padding."""
    for name in CONSTRUCTORS:
        construct = getattr(b, name)
        text, _, listed = construct.__doc__.partition("Fields:\n")
        fields = [field for field, _ in ffi.typeof(construct()).item.fields if not field.startswith("__")]
        assert listed.replace(",", " ").split() == fields
        assert re.match(rf"Return a new ``((struct|union) )?{name} \*``", text)
        assert construct.__name__ == name


def test_an_attribute_that_does_not_fit_is_refused_later_too():
    """What is assigned to a field of a struct is checked as what is given to its constructor."""
    attr = perf_event_attr()
    with pytest.raises(OverflowError):
        attr.precise_ip = 4
    with pytest.raises(AttributeError, match="sample_perod"):
        attr.sample_perod = 1  # type: ignore[attr-defined]


def test_constants_are_ints_by_their_c_names():
    """Macros, enumerators with and without an enum's name, ioctl codes."""
    assert b.PERF_CONTEXT_MAX == 2**64 - 4095
    assert b.PERF_RECORD_CALLCHAIN_DEFERRED == 22
    assert b.PERF_FLAG_FD_CLOEXEC == 8
    assert b.HW_BREAKPOINT_RW == 3
    assert all(type(getattr(b, name)) is int for name in dir(lib) if name.isupper())


def test_name_of_gives_the_c_name():
    """name_of gives the enumerator of a value, also for enums whose values need 64 bits."""
    assert b.name_of("perf_event_type", 9) == "PERF_RECORD_SAMPLE"
    if ffi.sizeof("long") == 8:  # cffi has no larger enumerators
        assert b.name_of("perf_callchain_context", 2**64 - 512) == "PERF_CONTEXT_USER"


@pytest.mark.parametrize(("enum", "value"), [("perf_event_type", 999), ("perf_event_types", 9), ("int", 1)])
def test_name_of_what_the_header_lacks_is_a_value_error(enum, value):
    """An unknown enum, or a value that it does not have."""
    with pytest.raises(ValueError, match=enum):
        b.name_of(enum, value)


def test_perf_mem_s_puts_bits_in_their_place():
    """PERF_MEM_S(a, s) is the value that the C macro of the same name gives."""
    assert b.PERF_MEM_S("LVL", "L2") == b.PERF_MEM_LVL_L2 << b.PERF_MEM_LVL_SHIFT == 1024
    with pytest.raises(ValueError, match=r"PERF_MEM_LVL_L9.*PERF_MEM_LVL_L"):
        b.PERF_MEM_S("LVL", "L9")  # type: ignore[call-overload]


def test_dump_shows_what_is_not_zero_with_names():
    """``dump`` prints a line for each field that is not 0: enums and flags by name, unknown bits as a number."""
    attr = perf_event_attr(
        type=b.PERF_TYPE_SOFTWARE,
        config=b.PERF_COUNT_SW_PAGE_FAULTS,
        sample_period=1000,
        sample_type=b.PERF_SAMPLE_IP | b.PERF_SAMPLE_TID | 1 << 60,
        read_format=b.PERF_FORMAT_ID | b.PERF_FORMAT_LOST,
        branch_sample_type=b.PERF_SAMPLE_BRANCH_ANY,
        precise_ip=2,
        aux_pause=1,
        clockid=-1,
        config3=2**63,
    )
    assert shown(attr) == {
        "type": "1 (PERF_TYPE_SOFTWARE)",
        "size": "144",
        "config": "2 (PERF_COUNT_SW_PAGE_FAULTS)",
        "sample_period": "1000",
        "sample_type": "PERF_SAMPLE_IP|PERF_SAMPLE_TID|0x1000000000000000",
        "read_format": "PERF_FORMAT_ID|PERF_FORMAT_LOST",
        "precise_ip": "2",
        "branch_sample_type": "PERF_SAMPLE_BRANCH_ANY",
        "clockid": "-1",
        "aux_pause": "1",
        "config3": "0x8000000000000000",
    }


def test_dump_shows_the_member_of_a_union_that_is_meant():
    """Of a union, dump shows sample_freq if freq is set, wakeup_watermark if watermark is, bp_addr for a breakpoint."""
    attr = perf_event_attr(type=b.PERF_TYPE_BREAKPOINT, bp_type=b.HW_BREAKPOINT_W, bp_addr=4096, bp_len=8)
    attr.freq, attr.sample_freq, attr.watermark, attr.wakeup_watermark = 1, 99, 1, 512
    assert {"sample_freq": "99", "wakeup_watermark": "512", "bp_addr": "4096", "bp_len": "8"}.items() <= shown(
        attr
    ).items()
    assert not {"sample_period", "wakeup_events", "config1", "config2", "kprobe_addr"} & shown(attr).keys()
    attr.type = b.PERF_TYPE_RAW
    assert {"config1": "4096", "config2": "8"}.items() <= shown(attr).items()


def test_dump_shows_large_numbers_as_addresses():
    """From 2**16 on a number is hexadecimal, as the first bit that is not known; a 0 is shown only where it has a name."""
    attr = perf_event_attr(type=b.PERF_TYPE_RAW, config=65535, config1=65536, config2=7)
    attr.sample_period, attr.wakeup_events = 2**17, 5
    assert shown(attr) == {
        "type": "4 (PERF_TYPE_RAW)",
        "size": "144",
        "config": "65535",
        "config1": "0x10000",
        "config2": "7",
        "sample_period": "0x20000",
        "wakeup_events": "5",
    }
    assert shown(perf_event_attr()) == {
        "type": "0 (PERF_TYPE_HARDWARE)",
        "size": "144",
        "config": "0 (PERF_COUNT_HW_CPU_CYCLES)",
    }
    for field, bit in (("sample_type", b.PERF_SAMPLE_MAX), ("read_format", b.PERF_FORMAT_MAX)):
        assert shown(perf_event_attr(**{field: bit}))[field] == hex(bit)
    assert shown(perf_event_attr(type=b.PERF_TYPE_HW_CACHE)) == {"type": "3 (PERF_TYPE_HW_CACHE)", "size": "144"}


def test_dump_of_another_pointer_is_a_type_error():
    """None, an int and a pointer to another struct are a TypeError."""
    for attr in (None, 0, perf_event_header()):
        with pytest.raises(TypeError):
            b.dump(attr)  # type: ignore[arg-type]


def test_the_versions_are_those_of_header_and_distribution():
    """HEADERS_VERSION is the kernel's that the declarations were generated from."""
    first = Path(get_include(), "kernel", "perf_event.h").read_text().splitlines()[0]
    assert f" of Linux {HEADERS_VERSION}: " in first
    assert importlib.metadata.version("perf-event-open-sys") == perf_event_open_sys.__version__


def test_every_exported_name_is_there():
    """``__all__`` names nothing that the package lacks."""
    assert [name for name in perf_event_open_sys.__all__ if not hasattr(perf_event_open_sys, name)] == []


IMPORT = """
import sys
before = set(sys.modules)
import perf_event_open_sys
print(*sorted(set(sys.modules) - before))
"""


def test_import_loads_only_what_every_program_needs(tmp_path):
    """No event parser, no command line, no typing, no NumPy, and of cffi only its C part."""
    command = [sys.executable, "-c", IMPORT]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert {"perf_event_open_sys._native", "perf_event_open_sys.ioctls", "_cffi_backend"} <= loaded
    assert not loaded & {"perf_event_open_sys.events", "perf_event_open_sys.__main__", "perf_event_open_sys._cdef"}
    assert not loaded & {"typing", "numpy", "cffi", "pycparser", "inspect", "subprocess", "ctypes", "pathlib", "re"}


def test_a_source_tree_without_its_module_says_what_to_do(tmp_path):
    """Imported from a checkout that is not built, the package says so."""
    package = Path(perf_event_open_sys.__file__).parent
    shutil.copytree(package, tmp_path / "perf_event_open_sys", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    command = [sys.executable, "-S", "-B", "-c", "import perf_event_open_sys"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert "no compiled module: it is a source tree" in result.stderr.splitlines()[-1]

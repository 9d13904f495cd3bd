"""Every public function refuses what is no pointer of the type it takes, before C sees it."""

import inspect
from typing import Any

import pytest
from support.encode import record, u64
from support.rings import synthetic_ring

from perf_event_open_sys import bindings, counters, errors, ffi, ioctls, records, ring

HANDLE = ffi.new_handle(object())
BAD = {
    "None": None,
    "0": 0,
    "a number": 4096,
    "a list": [],
    "a list of dicts": [{}],
    "a tuple": (),
    "a tuple of ints": (0, 0, 0, 0),
    "a dict": {},
    "bytes": b"\0" * 4096,
    "a ctype's name": "struct perf_event_attr *",
    "a handle": HANDLE,
    "NULL": ffi.NULL,
    "a void pointer": ffi.cast("void *", 4096),
    "another struct": ffi.new("struct perf_ns_link_info *"),
    "another array": ffi.new("struct perf_ns_link_info[]", 2),
    "ints": ffi.new("long[]", 4),
    "a pointer to a pointer": ffi.new("struct perf_event_attr **"),  # type: ignore[call-overload]
}
ATTR = bindings.perf_event_attr(sample_type=bindings.PERF_SAMPLE_TIME, sample_id_all=1)
SAMPLE = ffi.new("struct perf_sample *")
RECORD = record(bindings.PERF_RECORD_LOST, u64(1, 2, 3))
PAGE = synthetic_ring(aux_pages=1)[0]
# What each parameter takes, by its name; the type of those that are pointers to structs stands in POINTERS.
GOOD = {
    "attr": ATTR,
    "page": PAGE,
    "counts": ffi.new("struct perf_counts *"),
    "sample": SAMPLE,
    "samples": ffi.new("struct perf_sample[]", 1),
    "record": next(records.iterate(RECORD)),
    "aux": ffi.new("uint8_t[]", 8),
    "out": ffi.new("struct perf_counts[]", 1),
    "fds": ffi.new("int[]", 0),
    "buffer": bytearray(RECORD),
    "fd": 0,
    "errno": 1,
    "pid": 0,
    "cpu": -1,
    "group_fd": -1,
    "flags": 0,
    "read_format": 0,
    "tail": 0,
    "aux_pages": 1,
    "fields": ["ip"],
}
POINTERS: dict[Any, Any] = {
    "attr": "struct perf_event_attr *",
    "page": "struct perf_event_mmap_page *",
    "counts": "struct perf_counts *",
    "sample": "struct perf_sample *",
    "samples": "struct perf_sample[]",
    "record": "struct perf_event_header *",
    "aux": "uint8_t *",
    "out": "struct perf_counts[]",
}
# Parameters of these names that take something else besides.
ALSO: dict[tuple[str, str], list[object]] = {
    ("read_user", "out"): [None],
    ("sample_id", "attr"): [{}],
    ("parse_into", "attr"): [{}],
    ("parse", "attr"): [{}],
    ("columns", "attr"): [{}],
}


def cases():
    """Yield each public function with each of its parameters that is a pointer."""
    for module in (bindings, counters, errors, ioctls, records, ring):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("_") or name == "open_refused" or "perf_event_open_sys" not in function.__module__:
                continue
            for parameter in inspect.signature(function).parameters:
                if parameter in POINTERS:
                    yield pytest.param(function, parameter, id=f"{name}-{parameter}")


def call(function, **arguments):
    """Call *function* with a good value for every other parameter that it needs."""
    needed = inspect.signature(function).parameters.values()
    for one in needed:
        if one.name not in arguments and one.default is one.empty:
            arguments[one.name] = GOOD[one.name]
    if function is records.parse_into and "out" in arguments and arguments["out"] is GOOD["out"]:
        arguments["out"] = ffi.new("struct perf_sample[]", 1)
    return function(**arguments)


def is_good(function, parameter, value):
    """Whether this is one of the things that a parameter takes besides pointers."""
    if function is errors.diagnose and isinstance(value, ffi.CData):
        return True  # it reads an attr only where there is memory: see test_errors.py
    also = ALSO.get((function.__name__, parameter), [])
    return any(value is one or (value == one and type(value) is type(one)) for one in also)


def refused():
    """Return each pointer parameter with each value that it refuses; NULL of the right type is one of them."""
    found = []
    for case in cases():
        function, parameter = case.values
        bad, ctype = dict(BAD), POINTERS[parameter]
        if not ctype.endswith("[]"):
            bad["NULL of its type"] = ffi.cast(ctype, 0)
        for name, value in bad.items():
            if not is_good(function, parameter, value):
                found.append(pytest.param(function, parameter, value, id=f"{case.id}-{name}"))
    return found


@pytest.mark.parametrize(("function", "parameter", "value"), refused())
def test_what_is_no_pointer_to_the_struct_is_a_type_error(function, parameter, value):
    """Lists and dicts, of which cffi would make temporaries, handles, numbers, NULL, other structs."""
    with pytest.raises(TypeError):
        call(function, **{parameter: value})


def test_the_attr_of_each_id_is_checked():
    """Each attr in a mapping of ids to attrs is checked as a single one is."""
    for bad in BAD.values():
        with pytest.raises(TypeError):
            records.parse(RECORD, {7: bad})
        with pytest.raises(TypeError):
            records.sample_id(GOOD["record"], {7: bad})


def test_a_struct_and_an_array_stand_for_their_address():
    """As in C: attr[0], an element of an array, and the array itself."""
    attrs = ffi.new("struct perf_event_attr[]", [ATTR[0], ATTR[0]])
    for attr in (ATTR, ATTR[0], attrs[1], attrs):
        assert "sample_type" in bindings.dump(attr)  # type: ignore[arg-type]
        assert len(records.parse(RECORD, attr)) == 0  # type: ignore[arg-type]
    counts = ffi.new("struct perf_counts[]", [(6, 4, 2), (8, 2, 2)])
    assert [counters.scaled(one) for one in (counts, counts[0], counts[1], counts + 1)] == [12, 12, 8, 8]  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"counts must be a struct perf_counts \*, not struct perf_counts\[\]"):
        counters.scaled(ffi.new("struct perf_counts[]", 0))  # type: ignore[arg-type]


def test_the_message_names_the_parameter_and_what_was_given():
    """The TypeError names the parameter, the type that it takes, and the type that was given."""
    with pytest.raises(TypeError, match=r"^page must be a struct perf_event_mmap_page \*, not list$"):
        ring.head([])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^attr must be a struct perf_event_attr \*, not struct perf_sample \*$"):
        ioctls.perf_event_open(SAMPLE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^page must be a struct perf_event_mmap_page \*, not void \*, NULL$"):
        ring.head(ffi.NULL)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"^attr must be a struct perf_event_attr \* or a mapping of ids to them, not int$"
    ):
        records.parse(RECORD, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^attr must be a struct perf_event_attr \*, not list$"):
        errors.diagnose(22, [], 0, -1, -1, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^aux must be a uint8_t \*, not list$"):
        ring.read_aux_into(PAGE, [], bytearray(8))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^aux must be a uint8_t \*, not int\[\]$"):
        ring.read_aux_into(PAGE, ffi.new("int[]", 1), bytearray(8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fds",
    [None, 0, 5, "12", b"", {1: 2}, HANDLE, ffi.NULL, ffi.new("long[]", 2), [None], ["1"], [1.0]],
    ids=lambda fds: repr(fds).partition(" handle to ")[0],  # without an address
)
def test_fds_are_ints(fds):
    """A number is not taken for so many fds of 0, nor a string for a list."""
    out = ffi.new("struct perf_counts[]", 4)
    if isinstance(fds, (bytes, dict)):  # an empty one has no fds; a dict's are its keys
        fds = [*fds, "x"]
    with pytest.raises(TypeError):
        counters.read_into(fds, 0, out)


def test_samples_view_an_array_of_samples_only():
    """Samples takes a struct perf_sample[] only; of a list, cffi would make an array that is freed at once."""
    for bad in BAD.values():
        with pytest.raises(TypeError):
            records.Samples(bad)

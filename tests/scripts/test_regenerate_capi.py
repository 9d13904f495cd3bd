"""scripts/regenerate.py: the function table, its list, the layouts, and Cython's declarations."""

import pytest
from support.tiny_headers import files, put

RING = """
#pragma once
struct ring_new { uint64_t first; uint32_t from; char name[]; };
#ifdef PERF_EVENT_OPEN_SYS_BUILD
long ring_new_read(const struct ring_new *in, void *buffer, size_t size, uint64_t counts[2]);
struct ring_new *ring_new_find(struct ring_new *const *all, const char *name);
#endif
"""
LIST = "scripts/capi.txt"
FIRST = [
    "1.0 int ioctl_enable(int)",
    "1.0 long ring_new_read(const struct ring_new *, void *, size_t, uint64_t [2])",
    "1.0 struct ring_new * ring_new_find(struct ring_new * const *, const char *)",
    "1.0 struct ring_new 16 first 0 from 8 name 12",
]


@pytest.fixture
def project(script, headers, root):
    """A project at release 1.0, whose headers are RING."""
    put(root, {"cdefs/ring.h": RING, "perf_event_open_sys/__init__.py": '__version__ = "1.0"\n'})
    assert script.main([str(headers("struct perf_new { __u32 size; __u64 one; };"))]) == 0
    return root


@pytest.fixture
def released(project):
    """The project after release 1.0."""
    put(project, {"perf_event_open_sys/__init__.py": '__version__ = "1.1"\n'})
    return project


def listed(root):
    """Return the lines of the list, without white space that the C printer may or may not put behind an asterisk."""
    lines = [line for line in (root / LIST).read_text().splitlines() if not line.startswith("#")]
    return [line.replace("* ", "*") for line in lines]


def test_every_function_and_every_struct_of_ours_is_listed(project):
    """Functions first, in the order of the headers; structs with their offsets. The kernel's structs are its own affair."""
    assert listed(project) == [line.replace("* ", "*") for line in FIRST]


def test_the_table_has_a_member_for_each_line(project):
    """With C's types, in the order of the list; the C file fills them by name."""
    header = (project / "cdefs/capi.h").read_text()
    assert "#define PERF_EVENT_OPEN_SYS_API_VERSION 1\n" in header
    names = [
        "(*ioctl_enable)(int fd);",
        "(*ring_new_read)(const struct ring_new *in, ",
        "(*ring_new_find)(struct ring_new ",
    ]
    places = [header.index(name) for name in names]
    assert places == sorted(places)
    assert "    .ring_new_find = ring_new_find,\n" in (project / "cdefs/capi.c").read_text()


def test_a_new_function_goes_to_the_end(script, released):
    """Wherever it stands in its header, and whatever its name; the version is one more, with the next release's mark."""
    put(released, {"cdefs/ioctls.h": "int ioctl_enable(int fd);\n", "cdefs/counters.h": "void counters_new(void);\n"})
    assert script.main(["--stubs", "--check"]) == 1
    assert script.main(["--stubs"]) == 0
    added = "1.1 void counters_new(void)"
    assert listed(released) == [line.replace("* ", "*") for line in [*FIRST[:3], added, FIRST[3]]]
    header = (released / "cdefs/capi.h").read_text()
    assert "#define PERF_EVENT_OPEN_SYS_API_VERSION 2\n" in header
    assert header.index("/* Since 1.1. */") < header.index("(*counters_new)(void);") < header.index("\n};")
    assert script.main(["--stubs", "--check"]) == 0


CHANGES = [
    (
        "size_t size, uint64_t counts[2]",
        "int size, uint64_t counts[2]",
        "ring_new_read(const struct ring_new *, void *, int,",
    ),
    ("long ring_new_read(", "long ring_other(", "is gone"),
    ("uint64_t first; uint32_t from;", "uint32_t from; uint64_t first;", "struct ring_new 16 from 0 first 8 name 16"),
]


@pytest.mark.parametrize(("before", "after", "message"), CHANGES)
def test_what_is_released_does_not_change(script, released, capsys, before, after, message):
    """Other types, another name, another layout: it stops at the line, says why, and writes nothing."""
    put(released, {"cdefs/ring.h": RING.replace(before, after)})
    texts = files(released)
    assert script.main(["--stubs"]) == 2
    error = capsys.readouterr().err
    assert f"{LIST}:" in error
    assert message in error
    assert "extensions compiled since release 1.0" in error
    assert files(released) == texts


@pytest.mark.parametrize(("before", "after", "_"), CHANGES)
def test_what_is_not_released_may_change(script, project, before, after, _):
    """A line of the release that is being made is written anew."""
    put(project, {"cdefs/ring.h": RING.replace(before, after)})
    assert script.main(["--stubs"]) == 0
    assert listed(project) != FIRST
    assert len(listed(project)) == len(FIRST)


def test_what_the_changelog_calls_released_does_not_change_either(script, project, capsys):
    """Before ``__version__`` is the next one: a line stays as it is, and a new function has no release to come with."""
    put(project, {"CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n## [1.0] - 2026-12-01\n"})
    assert script.main(["--stubs", "--check"]) == 0
    put(project, {"cdefs/ring.h": RING.replace("size_t size", "int size")})
    assert script.main(["--stubs"]) == 2
    assert "is now long ring_new_read(const struct ring_new *, void *, int," in capsys.readouterr().err
    put(project, {"cdefs/ring.h": RING, "cdefs/counters.h": "void counters_new(void);\n"})
    assert script.main(["--stubs"]) == 2
    assert "counters_new: new since 1.0 was released. Set __version__" in capsys.readouterr().err


def test_names_of_parameters_may_change(script, released):
    """They are no part of the table."""
    put(released, {"cdefs/ring.h": RING.replace("void *buffer", "void *memory")})
    assert script.main(["--stubs"]) == 0
    assert listed(released) == [line.replace("* ", "*") for line in FIRST]


def test_layouts_are_asserted(project):
    """Sizes, and offsets of all fields but bitfields; the kernel's only where its structs are ours."""
    lines = (project / "cdefs/layout.h").read_text().splitlines()
    own = lines.index("PERF_LAYOUT(sizeof(struct ring_new) == 16);")
    assert lines[own + 2] == "PERF_LAYOUT(offsetof(struct ring_new, from) == 8);"
    kernel = lines.index("PERF_LAYOUT(sizeof(struct perf_new) == 16);")
    assert lines[kernel + 2] == "PERF_LAYOUT(offsetof(struct perf_new, one) == 8);"
    assert (
        lines.index(
            "#ifdef perf_headers_version /* not if the structs are those of an included <linux/perf_event.h> */"
        )
        < kernel
    )


def test_cython_gets_names_that_it_can_spell(project):
    """Words of Python end in "_", with C's name beside them for a field; open arrays are pointers."""
    lines = [line.strip() for line in (project / "perf_event_open_sys/__init__.pxd").read_text().splitlines()]
    at = lines.index("struct ring_new:")
    assert lines[at + 1 : at + 4] == ["uint64_t first", 'uint32_t from_ "from"', "char *name"]
    parameters = "(const ring_new *in_, void *buffer, size_t size, uint64_t counts[2]) noexcept"
    assert f"long (*ring_new_read){parameters}" in lines
    assert f'long ring_new_read "perf_event_open_sys->ring_new_read"{parameters}' in lines

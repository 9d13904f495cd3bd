"""scripts/regenerate.py: where the kernel's headers may lie, what it writes, and that what is committed is in step."""

import re
from pathlib import Path

import pytest
from support.tiny_headers import MAKEFILE, ROOT, STUBS, UAPI, files, put, tree

from perf_event_open_sys import HEADERS_VERSION

KERNEL = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("cdefs/kernel/**/*.h"))


def test_a_path_without_a_version_stops_it(script, headers, root, capsys):
    """The version of a directory of headers comes from its path; without one nothing is written."""
    include = headers("#define PERF_ONE 1\n").rename(root.parent / "include")
    assert script.main([str(include)]) == 2
    assert "names no kernel version" in capsys.readouterr().err


def test_an_unpacked_kernel_and_its_headers_give_the_same(script, headers, root, tmp_path):
    """Of a tree, the version is the Makefile's; what lies beside the headers there is not read."""
    include = headers(
        "#include <linux/types.h>\nstruct perf_new { __u64 one; };\n", arm="enum a { R };", z80="enum z { Z };"
    )
    kernel = tree(include, tmp_path / "kernel")
    (kernel / "include/uapi/linux/types.h").write_text("#error not this one\n")
    assert script.generate(kernel, root) == script.generate(include, root)


@pytest.mark.skipif(not UAPI, reason="PERF_EVENT_UAPI names no include directory of the kernel's headers")
def test_the_kernels_own_headers_give_the_same_from_a_tree(script, tmp_path):
    """``--check`` against a tree made of the kernel's headers finds no drift either."""
    include = Path(UAPI or "").resolve()
    version = re.findall(r"linux-(\d+)\.(\d+)\.(\d+)", str(include))
    if not version or ".".join(version[-1]) != HEADERS_VERSION:
        pytest.skip(f"PERF_EVENT_UAPI is not of Linux {HEADERS_VERSION}")
    makefile = "VERSION = {}\nPATCHLEVEL = {}\nSUBLEVEL = {}\nEXTRAVERSION =\n".format(*version[-1])
    kernel = tree(include, tmp_path / "kernel", makefile)
    for path in kernel.glob("arch/*/include/asm/perf_regs.h"):
        if not (kernel / "arch" / path.parts[-4] / "include/uapi").exists():
            path.unlink()
    assert script.main([str(kernel), "--check"]) == 0


@pytest.mark.usefixtures("root")
def test_a_header_beside_those_of_a_tree_is_not_included(script, headers, tmp_path, capsys):
    """In a tree every header is there; one that is included must be known all the same."""
    include = headers("#include <linux/other.h>\n")
    kernel = tree(include, tmp_path / "kernel")
    (kernel / "include/uapi/linux/other.h").write_text("#define PERF_OTHER 1\n")
    assert script.main([str(kernel)]) == 2
    assert "perf_event.h:1" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["", "include", "include/uapi", "arch"])
def test_another_layout_is_refused_and_nothing_is_removed(script, headers, root, tmp_path, capsys, part):
    """A part of a tree, or an empty directory, is refused by saying what is wanted; perf_regs files stay."""
    include = headers("#define PERF_ONE 1\n")
    script.main([str(include)])
    before = files(root)
    kernel = tree(include, tmp_path / "kernel" / "linux-9.9.9")
    assert script.main([str(kernel / part if part else root / "cdefs")]) == 2
    assert "give the directory that has the Makefile" in capsys.readouterr().err
    assert files(root) == before


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("makefile", "message"),
    [
        ("all:\n", "no VERSION, PATCHLEVEL and SUBLEVEL"),
        (MAKEFILE.replace("EXTRAVERSION =", "EXTRAVERSION = -rc3"), "Linux 9.9.9-rc3 is no release"),
    ],
)
def test_a_makefile_that_is_no_releases_is_refused(script, headers, tmp_path, capsys, makefile, message):
    """Another project's Makefile has no version; a release candidate's headers may still change."""
    assert script.main([str(tree(headers("#define PERF_ONE 1\n"), tmp_path / "kernel", makefile))]) == 2
    assert message in capsys.readouterr().err


def test_check_prints_a_diff_and_fails_until_the_files_are_in_step(script, headers, root, capsys):
    """Nothing is written by --check; after a run without it there is nothing to say."""
    include, before = str(headers("#define PERF_ONE 1\n", z80="enum z { PERF_REG_Z };")), files(root)
    assert script.main([include, "--check"]) == 1
    assert "+#define PERF_ONE 1" in capsys.readouterr().out.splitlines()
    assert files(root) == before

    assert script.main([include]) == 0
    assert script.main([include, "--check"]) == 0
    assert capsys.readouterr().out == ""

    for name, there, wrong in (
        ("cdefs/kernel/perf_event.h", "#define PERF_ONE 1", "#define PERF_ONE 2"),
        (STUBS[0], "    PERF_ONE: Final = 1", "    PERF_ONE: Final = 2"),
        (STUBS[1], "PERF_ONE: Final = 1", "PERF_ONE: Final = 2"),
    ):
        right = (root / name).read_text()
        (root / name).write_text(right.replace(there, wrong))
        assert script.main([include, "--check"]) == 1
        assert {f"-{wrong}", f"+{there}"} <= set(capsys.readouterr().out.splitlines())
        (root / name).write_text(right)


def test_an_architecture_that_is_gone_is_left_to_the_maintainer(script, headers, root, capsys):
    """A committed header that the kernel's no longer give stops the run; no file is written or removed."""
    include = str(headers("#define PERF_ONE 1\n"))
    script.main([include])
    put(root, {"cdefs/kernel/perf_regs/vax.h": "enum { PERF_REG_VAX };\n"})
    before = files(root)
    for more in ([], ["--check"]):
        assert script.main([include, *more]) == 2
        assert "has none for cdefs/kernel/perf_regs/vax.h" in capsys.readouterr().err
        assert files(root) == before


@pytest.mark.parametrize("arguments", [[], ["--check"], ["DIR", "--stubs"]])
def test_either_a_directory_or_stubs_is_given(script, arguments):
    """Without any, or with both, the usage is printed."""
    with pytest.raises(SystemExit, match="2"):
        script.main(arguments)


@pytest.mark.skipif(not UAPI, reason="PERF_EVENT_UAPI names no include directory of the kernel's headers")
def test_the_committed_files_are_in_step_with_the_kernels(script, capsys):
    """``regenerate.py --check`` finds no drift."""
    if f"linux-{HEADERS_VERSION}/" not in str(Path(UAPI or "").resolve()):
        pytest.skip(f"PERF_EVENT_UAPI is not of Linux {HEADERS_VERSION}")
    assert (script.main([UAPI, "--check"]), capsys.readouterr().out) == (0, "")


def test_the_committed_stubs_are_in_step_with_cdefs(script, capsys):
    """``regenerate.py --stubs --check`` finds no drift, without any header of the kernel."""
    assert (script.main(["--stubs", "--check"]), capsys.readouterr().out) == (0, "")


@pytest.mark.parametrize("name", [*KERNEL, *STUBS])
def test_line_one_of_each_generated_file_says_so(name):
    """By whom, from which kernel, and that it is not to be edited."""
    first = (ROOT / name).read_text().splitlines()[0]
    assert re.search(
        rf"generated by scripts/regenerate\.py from .* of Linux {re.escape(HEADERS_VERSION)}\)?: do not", first
    )

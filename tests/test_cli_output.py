"""``stat -o FILE``: how the file is made, and in which bytes its text is written."""

import os

import pytest
from support.cli import run
from support.marks import needs_events, needs_root

from perf_event_open_sys._cli.output import Output

pytestmark = needs_events
COUNT = ["-e", "page-faults:u"]


@pytest.mark.parametrize(("umask", "mode"), [(0o027, 0o640), (0, 0o666)])
def test_a_new_file_has_the_mode_that_the_umask_leaves(umask, mode, tmp_path):
    """Readable and writable by whom the umask lets, and executable by nobody, as files of the shell are."""
    file = tmp_path / "out"
    run("stat", "-o", str(file), *COUNT, "true", umask=umask)
    assert file.stat().st_mode & 0o7777 == mode


@needs_root
def test_a_name_is_written_in_the_bytes_it_came_in(cgroup, tmp_path):
    """A cgroup's name may be any bytes: the file has them as they were given."""
    name = os.path.basename(cgroup("é\udcff"))
    run("stat", "-o", str(tmp_path / "out"), "-e", "page-faults", "-G", name, "true")
    assert os.fsencode(name) in (tmp_path / "out").read_bytes()


def test_what_is_printed_later_is_added_to_the_file(tmp_path):
    """The first text takes the place of what was there, under one heading; the second comes behind it."""
    file = tmp_path / "out"
    file.write_text("old\n" * 10)
    output = Output(str(file), append=False)
    assert file.read_text() == "old\n" * 10
    for text in ("one\n", "two\n"):
        output.write(text, heading=True)
    output.close()
    started, *lines = file.read_text().splitlines()
    assert started.startswith("# started on ")
    assert lines == ["", "one", "two"]


@pytest.mark.parametrize(
    ("form", "begin"),
    [(["--json"], "{"), (["-x;"], "# started on "), (["-I", "9"], "# started on "), ([], "# started on ")],
)
def test_a_file_has_a_heading_unless_it_is_json(form, begin, tmp_path):
    """It says when, as perf's does; in JSON it would be an error."""
    file = tmp_path / "out"
    run("stat", *form, "-o", str(file), *COUNT, "true")
    assert file.read_text().startswith(begin)

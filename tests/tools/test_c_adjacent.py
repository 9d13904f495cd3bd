"""examples/c-adjacent: each project is built, and runs beside the installed wheel on the oldest and newest CPython here."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from support.marks import needs_events

ROOT = Path(__file__).parent.parent.parent
PROJECTS = ROOT / "examples" / "c-adjacent"
DOCS = ROOT / "docs" / "c-api.md"
ABI3 = ["c", "cpp", "cython", "cffi"]  # one binary for all versions of CPython
TOOLS = ["setuptools>=77", "cffi", "pycparser", "cython>=3.1", "meson-python", "ninja"]
ASKED = """
import json, os, sys, sysconfig, venv
has_headers = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
print(json.dumps([has_headers and not sysconfig.get_config_var("Py_GIL_DISABLED"), *sys.version_info[:2]]))
"""

pytestmark = [
    needs_events,
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="needs the source tree, of which the wheel is built"),
    pytest.mark.skipif(not shutil.which("cc") or not shutil.which("c++"), reason="needs a C and a C++ compiler"),
]


def run(*command, **options):
    """Run a command that has to succeed; return what it printed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def pythons():
    """Return the oldest and the newest CPython of this machine that can build extensions, 3.10 or later, by version."""
    found = {}
    paths = [sys.executable, *(f"/usr/bin/python3.{n}" for n in range(10, 20))]
    for path in [*paths, *map(str, sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python")))]:
        if os.access(path, os.X_OK):
            asked = subprocess.run([path, "-c", ASKED], capture_output=True, text=True)
            is_usable, *version = json.loads(asked.stdout) if asked.returncode == 0 else (False, 0, 0)
            if is_usable and version >= [3, 10]:
                found.setdefault(tuple(version), path)
    return {version: found[version] for version in sorted({min(found), max(found)})} if found else {}


class Machine:
    """Virtual environments by version of Python; the first has the build tools, and builds for all of them."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.venvs = {}
        for version, path in pythons().items():
            self.venvs[version] = self.directory / f"venv{version[1]}" / "bin"
            run(path, "-m", "venv", "--without-pip", self.venvs[version].parent, env=self.environment)
        self.builder = self.venvs[min(self.venvs)]
        self.pip(self.builder, "install", *TOOLS)

    def sdist(self):
        """Make the source distribution of what git would commit, and nothing else that lies in the tree."""
        source = self.directory / "source"
        ignored = shutil.ignore_patterns(".git", ".venv", "build", "*.so", "*.egg-info", "__pycache__", "_native.c")
        shutil.copytree(ROOT, source, ignore=ignored)
        make = f"import setuptools.build_meta as b; print(b.build_sdist({str(self.directory)!r}))"
        return self.directory / run(self.builder / "python", "-c", make, cwd=source, env=self.environment).split()[-1]

    def pip(self, venv, *arguments):
        """Run pip of a virtual environment; skip if it cannot get what it is asked for."""
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            venv / "python",
            "-q",
            "--disable-pip-version-check",
            *arguments,
        ]
        path = f"{venv}{os.pathsep}{self.environment['PATH']}"
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, env=self.environment | {"PATH": path}
        )
        if re.search("No matching distribution|Could not find a version|connection", done.stderr):
            pytest.skip(f"pip cannot get {' '.join(map(str, arguments))}: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr

    def copy(self, project, name=None):
        """Copy a project, so that nothing is built in the source tree."""
        return shutil.copytree(project, self.directory / "projects" / (name or project.name))

    def build(self, sources):
        """Build wheels; return their paths."""
        made = Path(tempfile.mkdtemp(dir=self.directory))
        self.pip(self.builder, "wheel", "--no-build-isolation", "--no-deps", "-w", made, *sources)
        return sorted(made.iterdir())

    def python(self, version, *arguments, path="", **options):
        """Run a Python of a virtual environment from an empty directory, with *path* before its own modules."""
        empty = tempfile.mkdtemp(dir=self.directory)
        environment = self.environment | {"PYTHONPATH": str(path)}
        command = [str(self.venvs[version] / "python"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=empty, env=environment, **options)


VERSIONS = list(pythons())


@pytest.fixture(scope="session")
def tools():
    """The virtual environments, without this package."""
    if not VERSIONS:
        pytest.skip("needs a CPython with its headers and venv")
    with tempfile.TemporaryDirectory() as directory:
        yield Machine(directory)


@pytest.fixture(scope="session")
def machine(tools):
    """The virtual environments with the wheel of this package, which is built from its source distribution."""
    [wheel] = tools.build([tools.sdist()])
    for venv in tools.venvs.values():
        tools.pip(venv, "install", wheel)
    return tools


@pytest.fixture(scope="session")
def wheels(machine):
    """The wheels of all projects, which are installed in each virtual environment."""
    made = machine.build([machine.copy(PROJECTS / name) for name in [*ABI3, "numba"]])
    for venv in machine.venvs.values():
        machine.pip(venv, "install", "--no-deps", *made)
    return {wheel.name.removeprefix("faults_").split("-")[0]: wheel for wheel in made}


def test_the_module_exports_its_init_alone(machine):
    """``nm -D``: names of ours that other libraries could meet are hidden."""
    if not shutil.which("nm"):
        pytest.skip("needs nm (binutils)")
    [module] = machine.venvs[max(VERSIONS)].parent.glob("lib/*/site-packages/perf_event_open_sys/_native*.so")
    assert [line.split()[-1] for line in run("nm", "-D", "--defined-only", module).splitlines()] == ["PyInit__native"]


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("name", ABI3)
def test_one_binary_traces_page_faults_on_each_python(machine, wheels, name, version):
    """Open, map, fault, drain, decode: the project finds each page that it touched, in the order of time."""
    assert "-cp310-abi3-" in wheels[name].name
    traced(machine.python(version, PROJECTS / "run.py", f"faults_{name}", 64))


def traced(done):
    """Check what run.py prints of 64 pages; a few faults are those of code that runs for the first time."""
    assert (done.returncode, done.stderr) == (0, "")
    count, neighbours = map(int, re.findall(r": (\d+) page faults in \d+ µs, (\d+) of them", done.stdout)[0])
    assert 64 <= count < 128
    assert neighbours >= 60
    assert len(re.findall(r"^ *\d+ ns 0x[0-9a-f]+$", done.stdout, re.M)) == count


@pytest.mark.usefixtures("wheels")
def test_numba_calls_the_functions_by_their_addresses(machine):
    """Compiled code takes addresses from lib_address(), and runs without the GIL."""
    version = max(VERSIONS)
    machine.pip(machine.venvs[version], "install", "--only-binary", ":all:", "numba")
    traced(machine.python(version, PROJECTS / "run.py", "faults_numba", 64))


@pytest.fixture(scope="session")
def shown(machine):
    """The blocks of docs/c-api.md as projects: directories with the module ``counting``, by language."""
    page, sources = DOCS.read_text(), []
    for language, file in (("c", "faults_c.c"), ("cpp", "faults_cpp.cpp"), ("cython", "faults_cython.pyx")):
        [block] = re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)
        project = machine.copy(PROJECTS / language, f"shown_{language}")
        (project / file).write_text(block)
        (project / file).rename(project / f"counting{Path(file).suffix}")
        for build in ("setup.py", "meson.build", "pyproject.toml"):
            if (project / build).exists():
                text = (project / build).read_text()
                (project / build).write_text(text.replace(f"faults_{language}", "counting").replace("faults", "shown"))
        sources.append(project)
    directories = {}
    for wheel in machine.build(sources):
        language = wheel.name.split("-")[0].removeprefix("shown_")
        directories[language] = machine.directory / wheel.stem
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(directories[language])
    return directories


COUNTS = """
import counting, os
from perf_event_open_sys import bindings, perf_event_open
from perf_event_open_sys.events import attr
fd = perf_event_open(attr("page-faults:u"))
text = bytearray(1 << 20)
print(counting.count(fd))
try:
    counting.count(os.open("/dev/null", os.O_RDONLY | os.O_PATH))
except OSError as error:
    print(error.errno)
"""


@pytest.mark.parametrize("language", ["c", "cpp", "cython"])
def test_what_the_page_shows_counts(machine, shown, language):
    """Ten lines make a module that reads an event; errno is there for the exception."""
    done = machine.python(max(VERSIONS), "-c", COUNTS, path=shown[language])
    assert (done.returncode, done.stderr) == (0, "")
    count, errno = map(int, done.stdout.split())
    assert count > 100
    assert errno == 9


def built_with(machine, name, change):
    """Build the project in C with headers of which *change* makes another capi.h; return where its module is."""
    include = machine.directory / f"{name}_include"
    [installed] = machine.builder.parent.glob("lib/*/site-packages/perf_event_open_sys/include")
    shutil.copytree(installed, include)
    (include / "capi.h").write_text(change((include / "capi.h").read_text()))
    project = machine.copy(PROJECTS / "c", name)
    setup = project / "setup.py"
    setup.write_text(setup.read_text().replace("perf_event_open_sys.get_include()", repr(str(include))))
    [wheel] = machine.build([project])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(machine.directory / f"{name}_module")
    return machine.directory / f"{name}_module"


VERSION = re.compile(r"(?<=#define PERF_EVENT_OPEN_SYS_API_VERSION )(\d+)")


def test_an_older_package_is_refused(machine):
    """An extension of a newer header, whose table has one member more: ImportError says both versions and sizes."""

    def newer(header):
        header = VERSION.sub(lambda version: str(int(version[0]) + 1), header)
        return header.replace("\n};\n", "\n    int (*ring_new)(void);\n};\n")

    done = machine.python(max(VERSIONS), "-c", "import faults_c", path=built_with(machine, "newer", newer))
    assert done.returncode == 1
    pattern = r"^ImportError: .* installed .* version (\d+) \((\d+) bytes\).* version (\d+) \((\d+) bytes\)"
    [numbers] = re.findall(pattern, done.stderr, re.M)
    installed_version, installed_size, built_version, built_size = map(int, numbers)
    assert built_version == installed_version + 1
    assert built_size - installed_size in (4, 8)


def test_a_newer_package_is_taken(machine):
    """An extension of an older header, whose table lacks the last three members, runs."""

    def older(header):
        return re.sub(r"(\n    \w[^\n]*\(\*\w+\)\([^\n]*){3}\n};", "\n};", header)

    traced(machine.python(max(VERSIONS), PROJECTS / "run.py", "faults_c", 64, path=built_with(machine, "older", older)))


@pytest.mark.parametrize(
    ("package", "error"),
    [
        (None, "ModuleNotFoundError: No module named 'perf_event_open_sys'"),
        ("", "ImportError: the installed perf_event_open_sys is older than all that have a function table"),
        ("raise ValueError('broken')", "ValueError: broken"),
    ],
    ids=["absent", "older", "broken"],
)
def test_a_package_that_is_not_there_or_has_no_table_is_an_import_error(machine, wheels, tmp_path, package, error):
    """Neither a crash nor an AttributeError; an error of the package's own import stays what it is."""
    with zipfile.ZipFile(wheels["c"]) as archive:
        archive.extractall(tmp_path)
    if package is not None:
        (tmp_path / "perf_event_open_sys.py").write_text(package)
    script = "import sys; sys.path[:] = [path for path in sys.path if 'site-packages' not in path]; import faults_c"
    done = machine.python(max(VERSIONS), "-c", script, path=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == error

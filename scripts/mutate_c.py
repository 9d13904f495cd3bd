"""Change the C code of cdefs/ in one small place at a time, and print the changes that no test notices.

    python scripts/mutate_c.py [--jobs N] [--lines FIRST-LAST] [FILE ...]

Each change (a mutant) is compiled in a copy of the tree, and the tests of the changed file run there. If a test fails
or hangs, the mutant was *killed*; if all tests pass, it has *survived*. A change that the compiler refuses, or that
leaves the machine code the same, is not counted as either. docs/mutation.md says for each kind of survivor why no test
can notice it.
"""

from __future__ import annotations

import argparse
import filecmp
import itertools
import multiprocessing
import os
import re
import resource
import runpy
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Imported once here, so that the forked process of each mutant has them.
import hypothesis.strategies
import numpy  # noqa: F401
import pytest
from hypothesis import Phase

ROOT = Path(__file__).resolve().parent.parent
# The tests of each file, as patterns, those that find most first. After them tests/sanitize.c runs, as in
# tests/tools/test_sanitizers.py, where each C file is compiled anew; here only those that have changed.
DECODING = [f"tests/test_records{part}.py" for part in ("_parse", "_rows", "", "_walk", "_samples", "_corrupt")]
TESTS = {
    "columns.c": ["tests/test_records_columns.py", "tests/test_records_corrupt.py"],
    "counters.c": ["tests/test_counters_scaled.py", "tests/test_counters.py", "tests/test_records_samples.py"],
    "counters_user.c": ["tests/test_read_user.py"],
    "drain.c": ["tests/test_ring_drain.py"],
    "decode.h": ["tests/test_records_samples.py", *DECODING, "tests/test_records_columns.py"],
    "internal.h": ["tests/test_ring_read.py", "tests/test_ring_snapshot.py", *DECODING, "tests/test_counters.py"],
    "ioctls.c": ["tests/test_ioctls*.py", "tests/test_perf_event_open.py"],
    "match.h": [*DECODING, "tests/test_records_columns.py"],
    "records.c": ["tests/test_records.py", *DECODING],
    "ring.c": [
        "tests/test_ring_read.py",
        "tests/test_ring_snapshot.py",
        "tests/test_ring*.py",
        "tests/test_lifetimes.py",
    ],
    "samples.c": DECODING,
    "span.h": [
        "tests/test_ring_read.py",
        "tests/test_ring_drain.py",
        "tests/test_ring_snapshot.py",
        "tests/test_ring*.py",
    ],
    "sort.c": ["tests/test_records_sort.py", "tests/test_records_rows.py"],
}
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"]
SECONDS, CPU_SECONDS = 120, 15  # a run of tests that takes longer counts as hanging
# One example that fails is enough: the search for the smallest one takes longer than all other tests.
hypothesis.settings.register_profile(
    "mutation",
    hypothesis.settings(derandomize=True, deadline=None, database=None),
    phases=[Phase.explicit, Phase.generate],
)

SWAPS = {
    "<": ["<=", ">="],
    "<=": ["<", ">"],
    ">": [">=", "<="],
    ">=": [">", "<"],
    "==": ["!="],
    "!=": ["=="],
    "+": ["-"],
    "-": ["+"],
    "*": ["/"],
    "/": ["*"],
    "%": ["/"],
    "&": ["|"],
    "|": ["&"],
    "^": ["&"],
    "<<": [">>"],
    ">>": ["<<"],
    "&&": ["||"],
    "||": ["&&"],
    "+=": ["-="],
    "-=": ["+="],
    "++": ["--"],
}
# An operator between two operands stands between spaces; a pointer's star and a sign do not.
OPERATOR = re.compile(r"(?<= )(<<|>>|<=|>=|==|!=|&&|\|\||\+=|-=|[-<>+*/%&|^])(?= )|\+\+")
NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-fA-F]+|\d+)(?=[uUlL]*\b)")
RETURNED = re.compile(r"\breturn (?!0;)([^;]+)")
CONDITION = re.compile(r"\b(if|while) \(")
STATEMENT = re.compile(r"^ +(?!return\b|const\b|break\b|struct\b|u?int\d*\w* |size_t |char |long )[\w*(].*;$", re.M)
IGNORED = re.compile(r'/\*.*?\*/|"[^"\n]*"|^#.*?[^\\]$', re.M | re.S)


class Mutant(NamedTuple):
    """One change to one file: ``text[start:end]`` becomes *after*."""

    file: str
    line: int
    start: int
    end: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"cdefs/{self.file}:{self.line}: {self.before.strip()}  ->  {self.after.strip() or '(nothing)'}"


def closing(text: str, at: int) -> int:
    """Return where the parenthesis that opens at *at* closes."""
    depth = 0
    for i in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise ValueError("a parenthesis is not closed")


def changes(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, new text) of every change to *text*, C code whose comments, strings and directives are blanked."""
    for found in OPERATOR.finditer(text):
        for swap in SWAPS[found[0]]:
            yield *found.span(), swap
    for found in NUMBER.finditer(text):
        number = int(found[0], 0)
        yield *found.span(), str(number + 1)
        if number > 1:
            yield *found.span(), str(number - 1)
    for found in CONDITION.finditer(text):
        start, end = found.end(), closing(text, found.end() - 1)
        yield start, end, f"!({text[start:end]})"
    for found in RETURNED.finditer(text):
        yield *found.span(1), "0"
    for found in STATEMENT.finditer(text):
        if "(" in found[0] or "=" in found[0] or "+" in found[0]:
            yield *found.span(), ";"


def mutants(file: str) -> list[Mutant]:
    """List the changes to a file of cdefs/, in the order of its lines."""
    text = (ROOT / "cdefs" / file).read_text()
    code = IGNORED.sub(lambda found: re.sub(r"\S", " ", found[0]), text)
    found = [
        Mutant(file, text.count("\n", 0, start) + 1, start, end, text[start:end], after)
        for start, end, after in changes(code)
    ]
    return sorted(found, key=lambda one: (one.start, one.after))


def expanded(root: Path, patterns: list[str]) -> list[str]:
    """Return the tests that the patterns name, each once."""
    found = [sorted(map(str, root.glob(one))) if "::" not in one else [str(root / one)] for one in patterns]
    return list(dict.fromkeys(itertools.chain(*found)))


def users(cdefs: Path, file: str) -> list[Path]:
    """List the C files that a file of cdefs/ is compiled into: itself, or those that include it."""
    if file.endswith(".c"):
        return [cdefs / file]
    including = [path for path in sorted(cdefs.glob("*.[ch]")) if f'#include "{file}"' in path.read_text()]
    return sorted({user for path in including for user in users(cdefs, path.name)})


def tests_pass(root: Path, tests: list[str], **environment: str) -> bool:
    """Run tests of the tree at *root*, in a forked child, until one fails; False if one does, or hangs."""
    # mutmut names the functions that it adds so; tests that try every function of a module are not for these.
    options = ["-x", "-q", "-pno:cacheprovider", "-Wignore::pytest.PytestAssertRewriteWarning", "-knot mutmut"]
    options += ["--hypothesis-profile=mutation"]
    child = os.fork()  # pytest is imported already
    if child == 0:
        os.setsid()
        os.environ.update(environment)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        os.chdir(root)
        sys.path.insert(0, str(root))
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        os._exit(pytest.main([*options, *tests]))
    with open(os.pidfd_open(child)) as end:
        ended, _, _ = select.select([end], [], [], SECONDS)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


class Copy:
    """A copy of the tree, with every object file, in which one mutant at a time is built and tested."""

    def __init__(self, directory: Path) -> None:
        self.root = directory
        skipped = shutil.ignore_patterns("*.so", "__pycache__", ".hypothesis")
        for name in ("cdefs", "perf_event_open_sys", "tests"):
            shutil.copytree(ROOT / name, directory / name, ignore=skipped)
        for name in ("build_perf.py", "pyproject.toml"):
            shutil.copy(ROOT / name, directory)
        module = directory / "_native.c"
        runpy.run_path(str(directory / "build_perf.py"))["ffibuilder"].emit_c_code(str(module))
        shutil.copy(directory / "tests" / "sanitize.c", directory)
        for source in (module, *(directory / "cdefs").glob("*.c")):
            self.compile(source, source.with_suffix(".o"))
        for source in (directory / "sanitize.c", *(directory / "cdefs").glob("*.c")):
            self.compile(source, source.with_suffix(".checked"), *SANITIZERS)

    def compile(self, source: Path, target: Path, *more: str) -> bool:
        """Compile one file as build_perf.py has it compiled; False where the compiler refuses it."""
        flags = ["-std=c11", "-O2", "-fvisibility=hidden", "-fPIC", "-w", *more]
        includes = [f"-I{self.root / 'cdefs'}", f"-I{sysconfig.get_path('include')}"]
        command = ["cc", *flags, *includes, "-c", str(source), "-o", str(target)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def passes(self, tests: list[str]) -> bool:
        """Link the object files, and run tests until one fails; the first file, which finds most, is run before the rest."""
        objects = [str(path) for path in (self.root / "_native.o", *(self.root / "cdefs").glob("*.o"))]
        target = self.root / "perf_event_open_sys" / "_native.abi3.so"
        target.unlink(missing_ok=True)
        subprocess.run(["cc", "-shared", "-o", str(target), *objects], check=True)
        files = expanded(self.root, tests)
        return all(tests_pass(self.root, part) for part in (files[:1], files[1:]) if part)

    def is_clean(self, changed: list[Path]) -> bool:
        """Compile the changed C files for the sanitizers, and run tests/sanitize.c; False if it finds something."""
        objects = {path.stem: path for path in (self.root / "sanitize.c", *(self.root / "cdefs").glob("*.c"))}
        objects = {stem: path.with_suffix(".checked") for stem, path in objects.items()}
        for source in changed:
            objects[source.stem] = source.with_suffix(".new")
            self.compile(source, objects[source.stem], *SANITIZERS)
        program = self.root / "sanitize"
        subprocess.run(["cc", *SANITIZERS, "-o", str(program), *map(str, objects.values())], check=True)
        try:
            return subprocess.run([program], capture_output=True, timeout=SECONDS).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def judge(self, mutant: Mutant) -> str:
        """Say what becomes of a mutant: refused, same, killed or survived."""
        changed = self.root / "cdefs" / mutant.file
        text = changed.read_text()
        sources = users(changed.parent, mutant.file)
        changed.write_text(text[: mutant.start] + mutant.after + text[mutant.end :])
        try:
            if not all(self.compile(source, source.with_suffix(".new")) for source in sources):
                return "refused"
        finally:
            changed.write_text(text)
        objects = [source.with_suffix(".o") for source in sources]
        if all(filecmp.cmp(one, one.with_suffix(".new"), shallow=False) for one in objects):
            return "same"
        for one in objects:
            one.rename(one.with_suffix(".good"))
            one.with_suffix(".new").rename(one)
        changed.write_text(text[: mutant.start] + mutant.after + text[mutant.end :])  # tests compile it too
        try:
            survives = self.passes(TESTS[mutant.file]) and self.is_clean(sources)
            return "survived" if survives else "killed"
        finally:
            changed.write_text(text)
            for one in objects:
                one.with_suffix(".good").rename(one)


copies: list[Copy] = []  # the one of this process


def work_in(directory: str) -> None:
    """Make the copy in which this process of the pool works."""
    copies.append(Copy(Path(directory, str(os.getpid()))))


def accepts(tests: list[str]) -> bool:
    """True if the tests pass on the unchanged tree."""
    return copies[0].passes(tests)


def judge(mutant: Mutant) -> str:
    """Say what becomes of a mutant: see Copy.judge. It is built and tested in this process's copy of the tree."""
    return copies[0].judge(mutant)


def main() -> int:
    """Try the mutants of the files; print the survivors as they are found, and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", default=sorted(TESTS))
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time (2)")
    parser.add_argument("--lines", default="1-99999", help="only the mutants of these lines")
    parser.add_argument("--list", action="store_true", help="list the mutants, and try none")
    options = parser.parse_args()
    first, last = map(int, options.lines.split("-"))
    todo = [one for file in options.files for one in mutants(file) if first <= one.line <= last]
    if options.list:
        print(*todo, sep="\n")
        return 0
    results = Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as directory, multiprocessing.Pool(options.jobs, work_in, [directory]) as pool:
        if not pool.apply(accepts, [[test for file in options.files for test in TESTS[file]]]):
            print("the tests fail before anything is changed", file=sys.stderr)
            return 2
        for mutant, result in zip(todo, pool.imap(judge, todo), strict=True):
            results[mutant.file, result] += 1
            if result == "survived":
                print(mutant, flush=True)
    kinds = ("killed", "survived", "same", "refused")
    print(f"\n{'':20}{''.join(f'{kind:>10}' for kind in kinds)}")
    for file in options.files:
        print(f"{file:20}{''.join(f'{results[file, kind]:10}' for kind in kinds)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

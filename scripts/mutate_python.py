"""Change the package's Python code in one small place at a time, and print the changes that no test notices.

    pip install --group mutation
    python scripts/mutate_python.py [--jobs N] [FILE ...]

The changes (the mutants) are mutmut's. The tests run once under coverage, in commands that they start too; so each line
has the tests that run it. Then, for each mutant, a process forks from one that has collected all tests, its functions
get the mutant's code, and the tests of the changed lines run: the shortest first, and at most for SHARE seconds. The
mutant stands in the file at the same time, for the commands that the tests start. A function that runs when the
package is imported is tried in a process that imports it anew. docs/mutation.md says for each kind of survivor why no
test can notice it.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import fcntl
import functools
import gc
import itertools
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import coverage
import libcst
import pytest
from forked_tests import ForkedTests, run_item, run_pytest, succeeds
from mutmut.mutation.file_mutation import Mutation, create_mutations, deep_replace

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "perf_event_open_sys"
SHARE = 8  # seconds for the tests of one mutant, when nothing is changed
# Tests of what is not the package, and tests that take long.
LEFT_OUT = ("kernel", "scripts", "tools", "typing", "test_docs*.py", "test_house.py", "test_layout.py", "test_stubs.py")
ALONE = ("paranoid", "ioctls", "breakpoint")  # tests that change or use up what there is once on a machine
FORK = multiprocessing.get_context("fork")


class Mutant(NamedTuple):
    """One change to one file of the package: *before* is its text, *after* the text with the change."""

    file: str
    before: str
    after: str

    def lines(self) -> list[int]:
        """Return the numbers of the lines of *before* that are changed."""
        pieces = difflib.SequenceMatcher(None, self.before.splitlines(), self.after.splitlines()).get_opcodes()
        return [
            line + 1 for kind, start, end, *_ in pieces if kind != "equal" for line in range(start, max(end, start + 1))
        ]

    def __str__(self) -> str:
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), n=0, lineterm="")
        return "\n".join([f"{self.file}:{self.lines()[0]}", *itertools.islice(lines, 3, None)])


Results: TypeAlias = "SimpleQueue[tuple[Mutant | None, str]]"
Pairs: TypeAlias = "dict[CodeType, CodeType]"  # the code of functions, and the code that a mutant gives them
Changed: TypeAlias = "tuple[Mutant, Pairs]"
Tests: TypeAlias = "dict[str, dict[int, set[str]]]"  # of each file, of each line: the tests that run it


def changes_words(mutation: Mutation) -> bool:
    """Tell whether a change is one of a text's words, or of its case alone."""
    old, new = mutation.original_node, mutation.mutated_node
    if not isinstance(old, libcst.SimpleString) or not isinstance(new, libcst.SimpleString):
        return False
    return " " in old.value or old.value.lower() == new.value.lower()


def mutants(root: Path, file: str, first: int, step: int) -> Iterator[Mutant]:
    """Yield mutants of a file: mutmut's that change a function, but not its words; of these each *step*-th."""
    text = (root / file).read_text()
    module, mutations, *_ = create_mutations(file, text)
    wanted = [one for one in mutations if one.contained_by_top_level_function and not changes_words(one)]
    for one in wanted[first::step]:
        changed = deep_replace(module, one.original_node, one.mutated_node)
        yield Mutant(file, text, libcst.ensure_type(changed, libcst.Module).code)


def functions(code: CodeType, name: str = "") -> dict[str, CodeType]:
    """Return the code of a module's functions and methods, by name; not of functions in functions."""
    found = {}
    for const in code.co_consts:
        if isinstance(const, CodeType):
            inner = f"{name}.{const.co_name}#{len(found)}"
            found |= {inner: const} if const.co_flags & 2 else functions(const, inner)  # 2: CO_NEWLOCALS, no class
    return found


def rest(code: CodeType) -> list[object]:
    """Return what a module does itself, apart from the code of its functions."""
    consts = [rest(one) if isinstance(one, CodeType) and not one.co_flags & 2 else one for one in code.co_consts]
    return [code.co_code, code.co_names, *(one for one in consts if not isinstance(one, CodeType))]


def changed_functions(mutant: Mutant) -> Pairs | None:
    """Return the code of the functions that a mutant changes, and the new code; None if it changes more than functions."""
    before, after = compile(mutant.before, "", "exec"), compile(mutant.after, "", "exec")
    old, new = functions(before), functions(after)
    if rest(before) != rest(after) or old.keys() != new.keys():
        return None
    pairs = {old[name]: new[name] for name in old if old[name] != new[name]}
    return pairs if all(one.co_freevars == other.co_freevars for one, other in pairs.items()) else None


def put_in(file: Path, pairs: Pairs) -> None:
    """Give the functions of an imported module their new code."""
    wanted = {(old.co_name, old.co_firstlineno): new for old, new in pairs.items()}
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename == str(file):
            new = wanted.get((one.__code__.co_name, one.__code__.co_firstlineno))
            if new:
                one.__code__ = new


class Alone:
    """A plugin that has each test share a lock with those of other jobs; those named in ALONE have it for themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Hold the lock during a test."""
        names = (item.nodeid, *getattr(item, "fixturenames", ()))
        alone = any(word in name for word in ALONE for name in names)
        with self.path.open("r+") as file:  # of the process: what it starts does not hold it
            fcntl.lockf(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            return (yield)


class Measure:
    """A plugin that runs each test in a process of its own under coverage."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests; write the names of those that fail, and the seconds of the others."""
        measured = coverage.Coverage.current()
        if measured is None:
            raise session.Failed("coverage does not run")
        with (self.directory / "seconds").open("w") as file:
            for item in session.items:
                begun = time.monotonic()
                measured.switch_context(item.nodeid)
                passed = run_item(item)
                print(item.nodeid, time.monotonic() - begun if passed else "failed", sep="\t", file=file, flush=True)
                session.testsfailed = 0
        return True


def measure(root: Path, measured: Path, alone: Alone) -> None:
    """Run all tests under coverage; leave in *measured* what each has run and how long it took."""
    (root / "coveragerc").write_text(
        f"[run]\nsource = {root / PACKAGE}\nparallel = true\ndata_file = {measured / 'data'}\n"
        f"context = ${{PYTEST_CURRENT_TEST-}}\npatch = _exit\n"
    )
    measuring = coverage.Coverage(config_file=str(root / "coveragerc"))

    def run() -> int:
        measuring.start()
        os.environ["COVERAGE_PROCESS_START"] = str(root / "coveragerc")  # read by each Python that a test starts
        left_out = [f"--ignore-glob=*/{name}" for name in LEFT_OUT]
        status = run_pytest(root, ["tests", *left_out], Measure(measured), alone)
        measuring.stop()
        measuring.save()
        return status

    if not succeeds(run, 3600, 3600):
        raise SystemExit("the tests do not run")
    with warnings.catch_warnings():  # of the files of processes that were killed
        warnings.simplefilter("ignore", coverage.exceptions.CoverageWarning)
        measuring.combine()
        measuring.save()


def read_measured(measured: Path) -> tuple[Tests, dict[str, float]]:
    """Return the tests of each line, and the seconds of each test that passes."""
    tests: Tests = {}
    data = coverage.CoverageData(str(measured / "data"))
    data.read()
    for file in data.measured_files():
        by_line = data.contexts_by_lineno(file)
        tests[f"{PACKAGE}/{file.rpartition(f'/{PACKAGE}/')[2]}"] = {
            line: {re.sub(r"^\||\|$| \((setup|call|teardown)\)", "", one) for one in contexts}
            for line, contexts in by_line.items()
        }
    lines = [line.split("\t") for line in (measured / "seconds").read_text().splitlines()]
    for name in (name for name, seconds in lines if seconds == "failed"):
        print(f"fails, and is left out: {name}", file=sys.stderr)
    return tests, {name: float(seconds) for name, seconds in lines if seconds != "failed"}


class Work:
    """A copy of the tree, in which one mutant after another is tried."""

    def __init__(self, root: Path, tests: Tests, seconds: dict[str, float], alone: Alone) -> None:
        self.root, self.tests, self.seconds, self.alone = root, tests, seconds, alone
        self.written = 0

    def running(self, mutant: Mutant) -> set[str]:
        """Return the tests that run the changed lines, "" for the import; without any, those of the line before.

        A signature is run by the import alone: it has the tests of its function.
        """
        by_line = self.tests.get(mutant.file, {})
        found: set[str] = set()
        for line in mutant.lines():
            known = [one for one in by_line if one <= line]
            found |= by_line[max(known)] if known else set()
            if found == {""}:
                for code in functions(compile(mutant.before, "", "exec")).values():
                    lines = [one for *_, one in code.co_lines() if one]
                    if code.co_firstlineno <= line <= max(lines):
                        found = found.union(*(by_line.get(one, set()) for one in lines))
        return found

    def chosen(self, mutant: Mutant, found: Counter[str]) -> list[str]:
        """Return the tests to run, those first that have *found* most mutants, then the shortest; at most SHARE seconds."""
        names = [name for name in self.running(mutant) if name in self.seconds]
        names.sort(key=lambda name: (-found[name], self.seconds[name]))
        total = itertools.accumulate(self.seconds[name] for name in names)
        return [name for name, sofar in zip(names, total, strict=True) if sofar <= SHARE or name == names[0]]

    @contextlib.contextmanager
    def in_place(self, mutant: Mutant) -> Iterator[None]:
        """Have the mutant in its file. Each text has another time, so that no compiled file of another is taken."""
        path = self.root / mutant.file
        self.written += 1
        try:
            path.write_text(mutant.after)
            os.utime(path, (self.written, self.written))
            yield
        finally:
            path.write_text(mutant.before)
            os.utime(path, (0, 0))

    def limits(self, names: list[str]) -> tuple[int, float]:
        """Return the seconds on the CPU and by the clock after which tests hang."""
        share = sum(self.seconds[name] for name in names)
        return 5 + int(2 * share), 10 + 4 * share

    def judge_anew(self, mutant: Mutant) -> str:
        """Run the tests of a mutant in a process that imports the package with it."""
        names = self.chosen(mutant, Counter())
        with self.in_place(mutant):
            passes = succeeds(
                lambda: run_pytest(self.root, names or ["tests/test_bindings.py"], self.alone), *self.limits(names)
            )
        return "survived" if passes else "killed"

    def judge_all(self, todo: Iterable[tuple[str, int, int]], results: Results) -> None:
        """Judge mutants of the files, as :func:`mutants` takes them."""
        os.chdir(ROOT)  # where mutmut finds its settings
        try:
            for file, first, step in todo:
                self.judge(mutants(self.root, file, first, step), results)
        finally:
            results.put((None, "ended"))

    def judge(self, todo: Iterable[Mutant], results: Results) -> None:
        """Judge mutants of one file: first those that need a process of their own, then the others."""
        forked: list[Changed] = []
        for mutant in todo:
            try:
                pairs = changed_functions(mutant)
            except SyntaxError:
                results.put((mutant, "refused"))
                continue
            running = self.running(mutant)
            if pairs is None or "" in running:
                results.put((mutant, self.judge_anew(mutant)))
            elif not pairs:
                results.put((mutant, "same"))
            elif not running:
                results.put((mutant, "not run"))
            else:
                forked.append((mutant, pairs))
        if not forked:
            return
        job = FORK.Process(target=self.judge_forked, args=(forked, results))
        job.start()
        job.join()
        if job.exitcode:
            results.put((None, f"{forked[0][0].file}: the tests could not be run to the end"))

    def judge_forked(self, todo: list[Changed], results: Results) -> None:
        """Judge mutants in a process that has collected all tests."""
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        names = set().union(*(self.running(mutant) for mutant, _ in todo)) & self.seconds.keys()
        files = sorted({name.split("::")[0] for name in names})
        sys.exit(run_pytest(self.root, files, Trial(self, todo, results), self.alone))


class Trial:
    """A plugin of pytest, which does not run the collected tests once, but those of each mutant."""

    def __init__(self, work: Work, todo: list[Changed], results: Results) -> None:
        self.work, self.todo, self.results = work, todo, results

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge the mutants."""
        items = {item.nodeid: item for item in session.items}
        found: Counter[str] = Counter()  # how often a test was the one that noticed
        forked = ForkedTests()
        for mutant, pairs in self.todo:
            names = [name for name in self.work.chosen(mutant, found) if name in items]  # no ids with addresses
            prepare = functools.partial(put_in, self.work.root / mutant.file, pairs)
            with self.work.in_place(mutant):
                failed = forked.failure(prepare, [items[name] for name in names], *self.work.limits(names))
            if failed >= 0:
                found[names[failed]] += 1
            self.results.put((mutant, "survived" if failed < 0 else "killed"))
        return True


def copy_tree(to: Path) -> Path:
    """Copy what the tests need."""
    for name in ("cdefs", PACKAGE, "tests", "examples", "share"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*.md"), ROOT / "pyproject.toml"):
        shutil.copy(path, to)
    return to


def main() -> int:
    """Try the mutants of the files; print the survivors as they are found, and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).rglob("*.py"))
    parser.add_argument("files", nargs="*", metavar="FILE", default=everything)
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time (2)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth mutant")
    parser.add_argument("--measured", metavar="DIR", help="what an earlier run has measured; made if it is not there")
    options = parser.parse_args()
    tally = Counter[tuple[str, str]]()
    results: Results = FORK.SimpleQueue()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)  # for tests that continue as another user
        roots = [copy_tree(directory / str(number)) for number in range(options.jobs)]
        (directory / "lock").touch()
        alone = Alone(directory / "lock")
        measured = Path(options.measured).resolve() if options.measured else directory / "measured"
        if not measured.exists():
            measured.mkdir()
            measured.chmod(0o777)
            measure(roots[0], measured, alone)
        tests, seconds = read_measured(measured)
        step = options.jobs * options.every
        jobs = [
            FORK.Process(
                target=Work(root, tests, seconds, alone).judge_all,
                args=([(file, n * options.every, step) for file in options.files], results),
            )
            for n, root in enumerate(roots)
        ]
        for job in jobs:
            job.start()
        ended = 0
        while ended < len(jobs):
            mutant, result = results.get()
            if mutant is None:
                ended += result == "ended"
                if result != "ended":
                    print(result, file=sys.stderr)
                continue
            tally[mutant.file, result] += 1
            if result in ("survived", "not run"):
                print(f"{result}: {mutant}", flush=True)
    kinds = ("killed", "survived", "not run", "same", "refused")
    print(f"\n{'':44}{''.join(f'{kind:>10}' for kind in kinds)}")
    for file in options.files:
        print(f"{file:44}{''.join(f'{tally[file, kind]:10}' for kind in kinds)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

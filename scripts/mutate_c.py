"""Change the C code of cdefs/ in one small place at a time, and print the changes that no test notices.

    python scripts/mutate_c.py [--jobs N] [--lines FIRST-LAST] [FILE ...]

Each change (a mutant) is compiled in a copy of the tree, and the tests of the changed file run there. If a test fails
or hangs, the mutant was *killed*; if all tests pass, it has *survived*. A change that the compiler refuses, or that
leaves the machine code the same, is not counted as either. docs/mutation.md says for each kind of survivor why no test
can notice it.
"""

from __future__ import annotations

import argparse
import ctypes
import filecmp
import itertools
import multiprocessing
import os
import re
import resource
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest
from forked_tests import SECONDS, ForkedTests, run_pytest

ROOT = Path(__file__).resolve().parent.parent
# The tests of each file, as patterns, those that find most first. After them tests/sanitize.c runs, as in
# tests/tools/test_sanitizers.py, where each C file is compiled anew; here only those that have changed.
DECODING = [f"tests/test_records{part}.py" for part in ("_parse", "_rows", "", "_walk", "_samples", "_corrupt")]
TESTS = {
    "columns.c": ["tests/test_records_columns.py", "tests/test_records_corrupt.py"],
    "counters.c": [
        "tests/test_counters_scaled.py",
        "tests/test_counters_many.py",
        "tests/test_counters.py",
        "tests/test_records_samples.py",
    ],
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
FORK = multiprocessing.get_context("fork")
SANITIZED = ("sanitize", "sanitize_many")  # programs in tests/ that find accesses outside of what is given
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"]

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


Results: TypeAlias = "multiprocessing.queues.SimpleQueue[tuple[Mutant | None, str]]"


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


class Copy:
    """A copy of the tree, with every object file, in which one mutant at a time is built and tested.

    The functions of the module are called by way of pointers, so that in a process that has imported it they can be
    replaced by those of a mutant: see :func:`use`.
    """

    def __init__(self, directory: Path) -> None:
        self.root, self.cdefs = directory, directory / "cdefs"
        skipped = shutil.ignore_patterns("*.so", "__pycache__", ".hypothesis")
        for name in ("cdefs", "perf_event_open_sys", "tests"):
            shutil.copytree(ROOT / name, directory / name, ignore=skipped)
        for name in ("build_perf.py", "pyproject.toml", *(f"tests/{program}.c" for program in SANITIZED)):
            shutil.copy(ROOT / name, directory)
        module, table, pointers = directory / "_native.c", directory / "table.c", directory / "pointers.h"
        runpy.run_path(str(directory / "build_perf.py"))["ffibuilder"].emit_c_code(str(module))
        names = re.findall(r"\b_cffi_d_(\w+)\(", module.read_text())
        exported = '__attribute__((visibility("default")))'
        included = '#define PERF_EVENT_OPEN_SYS_BUILD\n#include "perf_event_open_sys.h"\n'
        table.write_text(f"{included}{exported} void *functions[] = {{{', '.join(names)}}};\n")
        # With these macros the header's declarations of functions define pointers to functions.
        pointers.write_text("".join(f"#define {name} (*pointer_to_{name})\n" for name in names))
        with module.open("a") as text:
            text.write(f"extern void *functions[];\n{exported} void use(void **from)\n{{\n")
            text.writelines(f"    pointer_to_{name} = from[{index}];\n" for index, name in enumerate(names))
            text.write("}\n__attribute__((constructor)) static void begin(void)\n{\n    use(functions);\n}\n")
        sources = [*sorted(self.cdefs.glob("*.c")), table]
        for source in sources:
            self.compile(source, source.with_suffix(".o"))
        for source in (*(directory / f"{program}.c" for program in SANITIZED), *sources):
            self.compile(source, source.with_suffix(".checked"), *SANITIZERS)
        self.compile(module, module.with_suffix(".o"), "-include", str(pointers))
        self.objects = {source.stem: source.with_suffix(".o") for source in sources}
        module_objects = [module.with_suffix(".o"), *self.objects.values()]
        self.link(directory / "perf_event_open_sys" / "_native.abi3.so", module_objects, "-shared")

    def compile(self, source: Path, target: Path, *more: str) -> bool:
        """Compile one file as build_perf.py has it compiled; False where the compiler refuses it."""
        flags = ["-std=c11", "-O2", "-fvisibility=hidden", "-fPIC", "-w", *more]
        includes = [f"-I{self.cdefs}", f"-I{sysconfig.get_path('include')}"]
        command = ["cc", *flags, *includes, "-c", str(source), "-o", str(target)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def link(self, target: Path, objects: Iterable[Path], *flags: str) -> Path:
        """Link a program or a library."""
        target.unlink(missing_ok=True)
        subprocess.run(["cc", *flags, "-o", str(target), *map(str, objects)], check=True)
        return target

    def is_clean(self, changed: list[Path]) -> bool:
        """Compile the changed C files for the sanitizers, and run the programs in tests/; False if one finds something."""
        objects = {stem: path.with_suffix(".checked") for stem, path in self.objects.items()}
        for source in changed:
            objects[source.stem] = source.with_suffix(".changed")
            self.compile(source, objects[source.stem], *SANITIZERS)
        for name in SANITIZED:
            program = self.link(self.root / name, [self.root / f"{name}.checked", *objects.values()], *SANITIZERS)
            try:
                subprocess.run([program], capture_output=True, timeout=SECONDS, check=True)
            except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
                return False
        return True

    def judge(self, mutant: Mutant, passes: Callable[[Path], bool]) -> str:
        """Say what becomes of a mutant: refused, same, killed or survived; *passes* runs the tests with a library."""
        changed = self.cdefs / mutant.file
        text = changed.read_text()
        changed.write_text(
            text[: mutant.start] + mutant.after + text[mutant.end :]
        )  # there for the tests that compile too
        try:
            sources = users(self.cdefs, mutant.file)
            objects = self.objects | {source.stem: source.with_suffix(".new") for source in sources}
            if not all(self.compile(source, objects[source.stem]) for source in sources):
                return "refused"
            if all(filecmp.cmp(self.objects[one.stem], objects[one.stem], shallow=False) for one in sources):
                return "same"
            library = self.link(self.root / "mutant.so", objects.values(), "-shared")
            return "survived" if passes(library) and self.is_clean(sources) else "killed"
        finally:
            changed.write_text(text)


def use(root: Path, library: Path) -> None:
    """Let the module of the copy at *root*, which this process has imported, call the functions of a mutant."""
    module = ctypes.CDLL(str(root / "perf_event_open_sys" / "_native.abi3.so"))
    module.use(ctypes.byref(ctypes.c_char.in_dll(ctypes.CDLL(str(library)), "functions")))


def cpu_seconds() -> float:
    """Return the CPU time that the children of this process have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Trial:
    """A plugin of pytest, which does not run the collected tests once, but for every mutant."""

    def __init__(self, copy: Copy, mutants: list[Mutant], results: Results) -> None:
        self.copy, self.mutants, self.results = copy, mutants, results

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge all mutants; fail if the tests fail without one."""
        tests, items = ForkedTests(), list(session.items)
        before = cpu_seconds()
        if tests.failure(lambda: None, items) >= 0:
            raise session.Failed("the tests fail before anything is changed")
        limit = 2 + int(2 * (cpu_seconds() - before))
        for mutant in self.mutants:

            def passes(library: Path) -> bool:
                failed = tests.failure(lambda: use(self.copy.root, library), items, limit)
                if failed > 0:  # tried first on the next mutant: it often notices what is similar
                    items.insert(0, items.pop(failed))
                return failed < 0

            self.results.put((mutant, self.copy.judge(mutant, passes)))
        return True


def judge_all(copy: Copy, mutants: list[Mutant], results: Results) -> None:
    """Judge mutants of one file."""
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    trial = Trial(copy, mutants, results)
    if run_pytest(copy.root, expanded(copy.root, TESTS[mutants[0].file]), trial):
        results.put((None, "failed"))


def work(directory: Path, todo: list[Mutant], results: Results) -> None:
    """Judge mutants in a copy of the tree, those of each file in a process that has collected the tests of the file."""
    copy = Copy(directory)
    for _, mine in itertools.groupby(todo, key=lambda mutant: mutant.file):
        job = FORK.Process(target=judge_all, args=(copy, list(mine), results))
        job.start()
        job.join()
    results.put((None, "ended"))


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
    tally = Counter[tuple[str, str]]()
    results: Results = FORK.SimpleQueue()
    with tempfile.TemporaryDirectory() as directory:
        jobs = [
            FORK.Process(target=work, args=(Path(directory, str(n)), todo[n :: options.jobs], results))
            for n in range(options.jobs)
        ]
        for job in jobs:
            job.start()
        ended = 0
        while ended < len(jobs):
            mutant, result = results.get()
            if mutant is None and result == "failed":
                print("the tests fail before anything is changed", file=sys.stderr)
                return 2
            if mutant is None:
                ended += 1
                continue
            tally[mutant.file, result] += 1
            if result == "survived":
                print(mutant, flush=True)
    kinds = ("killed", "survived", "same", "refused")
    print(f"\n{'':20}{''.join(f'{kind:>10}' for kind in kinds)}")
    for file in options.files:
        print(f"{file:20}{''.join(f'{tally[file, kind]:10}' for kind in kinds)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

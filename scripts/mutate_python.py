"""Change the package's Python code in one small place at a time with mutmut, and print the changes that no test notices.

    pip install --group mutation
    python scripts/mutate_python.py

mutmut activates a change after the package was imported, and runs the tests that it saw calling the changed function.
It misses code that runs at import, or in a forked child. So the changes that it reports as survived or not tested are
tried again, in a process in which the change is active from the start. docs/mutation.md says for each kind of survivor
why no test can notice it.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections import Counter
from pathlib import Path

from forked_tests import tests_pass

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = ROOT / "mutants"  # where mutmut copies the tree to
AGAIN = ("survived", "no tests", "timeout", "suspicious")
# The tests of a module, where they are not in test_<module>*.py.
TESTS = {
    "_diagnose": ["diagnose", "errors", "ioctls"],
    "_files": ["events", "errors"],
    "_mappings": ["lifetimes", "ring"],
    "_names": ["bindings", "events"],
    "_numpy": ["records_numpy"],
    "_pointers": ["pointers", "perf_event_open", "records"],
}


def survives(mutant: str) -> bool:
    """Run the tests of the mutant's module with it switched on from the start; False if one fails."""
    module = mutant.split(".")[1]
    names = TESTS.get(module, [module])
    files = dict.fromkeys(str(path) for name in names for path in sorted(MUTANTS.glob(f"tests/test_{name}*.py")))
    return tests_pass(MUTANTS, list(files), MUTANT_UNDER_TEST=mutant)


def main() -> int:
    """Run mutmut, try its survivors again; print those that are left, and a table."""
    subprocess.run(["mutmut", "run", "--max-children", "2"], cwd=ROOT, check=True)
    listed = subprocess.run(
        ["mutmut", "results", "--all", "true"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    results = dict(line.strip().split(": ") for line in listed.stdout.splitlines() if ": " in line)
    again = [mutant for mutant, result in results.items() if result in AGAIN]
    with multiprocessing.Pool(2) as pool:
        left = {mutant for mutant, lives in zip(again, pool.imap(survives, again), strict=True) if lives}
    for mutant in sorted(left):
        shown = subprocess.run(["mutmut", "show", mutant], cwd=ROOT, capture_output=True, text=True).stdout
        print(
            mutant, *(line for line in shown.splitlines() if line.startswith(("-", "+")) and line[1:2] == " "), sep="\n"
        )
    tried = Counter(mutant.split(".")[1] for mutant in results)
    survived = Counter(mutant.split(".")[1] for mutant in left)
    print(f"\n{'':20}{'mutants':>10}{'killed':>10}{'survived':>10}")
    for module in sorted(tried):
        print(f"{module:20}{tried[module]:10}{tried[module] - survived[module]:10}{survived[module]:10}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run tests in forked processes, so that each run begins with what was imported and collected once."""

from __future__ import annotations

import mmap
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

# Imported once here, so that the forked processes have them.
import hypothesis.strategies
import numpy  # noqa: F401
import pytest
from hypothesis import Phase

SECONDS, CPU_SECONDS = 120, 60  # a run of tests that takes longer counts as hanging
# One example that fails is enough: the search for the smallest one takes longer than all other tests.
hypothesis.settings.register_profile(
    "mutation",
    hypothesis.settings(derandomize=True, deadline=None, database=None),
    phases=[Phase.explicit, Phase.generate],
)


def succeeds(run: Callable[[], int], cpu_seconds: int = CPU_SECONDS) -> bool:
    """Run a function in a forked process, without output; False if it returns another status than 0, crashes or hangs."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
            for number in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            os._exit(run())
        finally:
            os._exit(1)
    with open(os.pidfd_open(child)) as end:
        ended, _, _ = select.select([end], [], [], SECONDS)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def run_pytest(root: Path, tests: list[str], *plugins: object) -> int:
    """Run tests of the tree at *root* until one fails. The process's working directory and import path are changed."""
    # mutmut names the functions that it adds so; tests that try every function of a module are not for these.
    options = ["-x", "-q", "-pno:cacheprovider", "-Wignore::pytest.PytestAssertRewriteWarning", "-knot mutmut"]
    os.chdir(root)
    sys.path.insert(0, str(root))
    return pytest.main([*options, "--hypothesis-profile=mutation", *tests], plugins=plugins)


def tests_pass(root: Path, tests: list[str], **environment: str) -> bool:
    """Run tests of the tree at *root*, in a forked process, until one fails; False if one does, or hangs."""

    def run() -> int:
        os.environ.update(environment)
        return run_pytest(root, tests)

    return succeeds(run)


class ForkedTests:
    """Collected tests, which are run again and again, each time in a new forked process."""

    def __init__(self, items: Iterable[pytest.Item]) -> None:
        self.items = list(items)
        self.cpu_seconds = CPU_SECONDS
        self._running = mmap.mmap(-1, 4)  # shared with the forked process: the index of the test that it runs

    def pass_with(self, prepare: Callable[[], None]) -> bool:
        """Run *prepare*, then the tests until one fails; False if one does, or hangs.

        The test that failed is the first of the next run: it often notices what is similar. The first run that passes
        sets the limit of CPU time for the others.
        """

        def run() -> int:
            prepare()
            for index, (item, following) in enumerate(zip(self.items, [*self.items[1:], None], strict=True)):
                self._running[:] = index.to_bytes(4, "little")
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if item.session.testsfailed:
                    return 1
            return 0

        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        if succeeds(run, self.cpu_seconds):
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
            self.cpu_seconds = min(self.cpu_seconds, 2 + int(2 * seconds))
            return True
        if self.items:
            self.items.insert(0, self.items.pop(int.from_bytes(self._running, "little")))
        return False

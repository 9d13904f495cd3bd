"""Run tests in forked processes, so that each run begins with what was imported and collected once."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Sequence
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


def succeeds(run: Callable[[], int], cpu_seconds: int = CPU_SECONDS, seconds: float = SECONDS) -> bool:
    """Run a function in a forked process, without output; False if it returns another status than 0, crashes or hangs.

    *cpu_seconds* holds for each process of the run alone. What the run has started ends with it.
    """
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
        select.select([end], [], [], seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def run_pytest(root: Path, tests: list[str], *plugins: object) -> int:
    """Run tests of the tree at *root* until one fails. The process's working directory and import path are changed."""
    options = ["-x", "-q", "-pno:cacheprovider", "-Wignore::pytest.PytestAssertRewriteWarning"]
    os.chdir(root)
    sys.path.insert(0, str(root))
    return pytest.main([*options, "--hypothesis-profile=mutation", *tests], plugins=plugins)


def run_item(item: pytest.Item, following: pytest.Item | None = None) -> bool:
    """Run one collected test; False if it failed. Fixtures that *following*, the next test, shares stay set up."""
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return not item.session.testsfailed


class ForkedTests:
    """Runs of collected tests, each in a new forked process."""

    def __init__(self) -> None:
        self._running = mmap.mmap(-1, 4)  # shared with the forked process: 1 + the index of the test that it runs

    def failure(
        self,
        prepare: Callable[[], None],
        items: Sequence[pytest.Item],
        cpu_seconds: int = CPU_SECONDS,
        seconds: float = SECONDS,
    ) -> int:
        """Run *prepare*, then the tests until one fails or hangs; return its index, or -1 if all pass."""

        def run() -> int:
            prepare()
            for index, (item, following) in enumerate(zip(items, [*items[1:], None], strict=True)):
                self._running[:] = index.to_bytes(4, "little")
                if not run_item(item, following):
                    return 1
            return 0

        self._running[:] = bytes(4)
        return -1 if succeeds(run, cpu_seconds, seconds) else int.from_bytes(self._running, "little")

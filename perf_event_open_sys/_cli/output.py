"""Where counts are printed: standard error, or a file that keeps its content until there is something to print."""

from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


class Output:
    """Standard error or a file. The file is opened at once, so that an error comes before the count.

    It is emptied when the first text is written.
    """

    def __init__(self, path: str | None, *, append: bool) -> None:
        self._append, self._started = append, path is None
        if path is None:
            if sys.stderr is None:  # closed by whoever started us (2>&-)
                raise OSError(None, "standard error is closed: print to a file, with -o FILE")
            self._file: TextIO = sys.stderr
        else:
            mode = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if append else 0)
            self._file = os.fdopen(os.open(path, mode, 0o666), "w", encoding="utf-8", errors="surrogateescape")

    def write(self, text: str, *, heading: bool = False) -> None:
        """Print *text* and flush it; a file begins with a heading that says when, as perf's do."""
        if not self._started:
            self._started = True
            if not self._append and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                self._file.truncate(0)
            if heading:
                import time

                self._file.write(f"# started on {time.ctime()}\n\n")
        self._file.write(text)
        self._file.flush()

    def bold(self, text: str) -> str:
        """Return *text* in bold if this is a terminal and NO_COLOR is not set."""
        return bold(text, self._file)

    def close(self) -> None:
        """Close the file."""
        if self._file is not sys.stderr:
            self._file.close()


def bold(text: str, file: TextIO) -> str:
    """Return *text* in bold for a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return f"\x1b[1m{text}\x1b[0m" if file.isatty() and not os.environ.get("NO_COLOR") else text

"""Suggest the right name for one that was misspelt."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``; did you mean …?`` with those of *names* that are most like *name*; "" if none is like it."""
    try:
        from difflib import get_close_matches  # imported here, since it takes a millisecond and a wrong name is rare
    except OSError:  # no more files can be opened
        return ""

    close = get_close_matches(name, (one for one in names if one != name), 3, 0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""

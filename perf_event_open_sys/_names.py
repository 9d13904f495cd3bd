"""What a wrong name was probably meant to be."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``; did you mean …?`` with the names that are like a wrong one, or nothing."""
    from difflib import get_close_matches  # a millisecond, for a wrong name only

    close = get_close_matches(name, names, 3, 0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""

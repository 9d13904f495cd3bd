"""An event of a perf.data file."""

from __future__ import annotations

from .._namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bindings import perf_event_attr_p


class Event(NamedTuple):
    """An event of a perf.data file: its attr, the ids that its records carry, and its name.

    There is an id for each file descriptor that the event was opened as: one for each CPU or thread. There may be none
    if the file has one event only.
    """

    attr: perf_event_attr_p
    ids: tuple[int, ...]
    name: str  #: as in "cycles:u", "sched:sched_switch"; "" if the file does not tell

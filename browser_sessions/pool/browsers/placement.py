"""Which browser process takes the next context. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RECYCLE_AGE_S: Final = 12 * 3600.0
"""A browser older than this takes no new session: Chromium's memory creeps, and half a day bounds it."""
RECYCLE_SERVED: Final = 1000
"""Likewise after so many sessions."""
RECYCLE_MEMORY_PER_PLACE: Final = 256 * 2**20
"""Likewise when its memory exceeds this times its places: four times what a session is planned for."""
EMPTY_FOR_S: Final = 30.0
"""An empty browser that belongs to a principal ends after this: long enough for one-after-the-other callers."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What placement needs to know of a browser process. `partition`: whose sessions it holds, None while nobody's."""

    browser_id: str
    partition: str | None
    dedicated: bool
    taken: int
    served: int
    age: float
    empty_for: float
    memory_bytes: int
    closed: bool
    """True when it takes nothing new: hanging, dying or on its way out."""


def choose(seats: Iterable[Seat], partition: str, *, dedicated: bool, places: int) -> str | None:
    """The browser that takes the next context of `partition`, or None: start another.

    The fullest one that still has room, so that others can empty and end; an unused one of nobody's only when there is
    none. A dedicated session takes an unused one of nobody's, never one that anybody used.
    """
    open_seats = [seat for seat in seats if not seat.closed and not seat.dedicated]
    unused = next(
        (seat for seat in open_seats if seat.partition is None and seat.taken == 0 and seat.served == 0), None
    )
    if not dedicated:
        own = [seat for seat in open_seats if seat.partition == partition and seat.taken < places]
        if own:
            return max(own, key=lambda seat: (seat.taken, -seat.age)).browser_id
    return unused.browser_id if unused else None


def recycle_reason(seat: Seat, *, places: int) -> str | None:
    """Why a browser should take nothing new and end once it is empty, or None."""
    if seat.closed:
        return None
    if seat.dedicated and seat.taken == 0 and seat.served > 0:
        return "dedicated session ended"
    if seat.age >= RECYCLE_AGE_S:
        return "age"
    if seat.served >= RECYCLE_SERVED:
        return "sessions served"
    if seat.memory_bytes >= RECYCLE_MEMORY_PER_PLACE * (1 if seat.dedicated else places):
        return "memory"
    if seat.partition is not None and seat.taken == 0 and seat.empty_for >= EMPTY_FOR_S:
        return "empty"
    return None

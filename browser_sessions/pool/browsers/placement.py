"""Which browser process takes the next context. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RECYCLE_AGE_S: Final = 12 * 3600.0
"""Seconds. An older browser accepts no new session: Chromium's memory use grows with time."""
RECYCLE_SERVED: Final = 1000
"""Nor one that has served so many sessions."""
RECYCLE_MEMORY_PER_SESSION: Final = 256 * 2**20
"""Nor one whose memory exceeds this times its capacity: four times what is planned for a session."""
EMPTY_FOR_S: Final = 30.0
"""Seconds until a principal's empty browser ends: callers who create one session after another reuse it."""


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """What placement needs of a browser. `partition`: the principal whose sessions it holds, None while unused."""

    browser_id: str
    partition: str | None
    dedicated: bool
    taken: int
    served: int
    age: float
    empty_for: float
    memory_bytes: int
    closed: bool
    """True when it accepts no new session."""


def choose(slots: Iterable[SlotInfo], partition: str, *, dedicated: bool, capacity: int) -> str | None:
    """The browser for the next context of `partition`, or None: start another.

    The fullest with free capacity, so that others become empty and end; an unused one only when there is none. A
    dedicated session always gets an unused one.
    """
    open_slots = [slot for slot in slots if not slot.closed and not slot.dedicated]
    unused = next(
        (slot for slot in open_slots if slot.partition is None and slot.taken == 0 and slot.served == 0), None
    )
    if not dedicated:
        own = [slot for slot in open_slots if slot.partition == partition and slot.taken < capacity]
        if own:
            return max(own, key=lambda slot: (slot.taken, -slot.age)).browser_id
    return unused.browser_id if unused else None


def recycle_reason(slot: SlotInfo, *, capacity: int) -> str | None:
    """Why a browser should retire, or None."""
    if slot.closed:
        return None
    if slot.dedicated and slot.taken == 0 and slot.served > 0:
        return "dedicated session ended"
    if slot.age >= RECYCLE_AGE_S:
        return "age"
    if slot.served >= RECYCLE_SERVED:
        return "sessions served"
    if slot.memory_bytes >= RECYCLE_MEMORY_PER_SESSION * (1 if slot.dedicated else capacity):
        return "memory"
    if slot.partition is not None and slot.taken == 0 and slot.empty_for >= EMPTY_FOR_S:
        return "empty"
    return None

"""Who drives a session: its clients, or one person who took the wheel from them and gives it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from browser_sessions.domain.errors import Conflict
from browser_sessions.domain.principal import Principal


class Hand(Protocol):
    """Somebody who puts in what the holder does."""

    def let_go(self) -> None:
        """The wheel is given back: nothing more may be put in. Calls `Wheel.loosen` once the page has taken what
        was."""


class Wheel:
    """One a session. While it is held, clients' commands wait at the gateway: none is lost, and they go on in order.
    They go on when every hand that gripped it has let go, so that nothing of the holder's comes after them.

    `tell` is called with `control.taken`, `control.released` and `control.waiting` and their fields.
    """

    def __init__(self, tell: Callable[..., Any] | None = None) -> None:
        self.holder: Principal | None = None
        self.tell = tell
        self._waiting: set[object] = set()
        self._gripping: set[Hand] = set()
        self._free = asyncio.Event()
        self._free.set()

    def __repr__(self) -> str:
        held = f"held by {self.holder.principal_id}" if self.holder else "free"
        return f"<Wheel {held}, {len(self._waiting)} waiting>"

    @property
    def held(self) -> bool:
        """True while clients' commands must wait. Cheap: asked for every command."""
        return self.holder is not None or bool(self._gripping)

    def is_of(self, principal_id: str | None) -> bool:
        """True when this principal has it."""
        return self.holder is not None and self.holder.principal_id == principal_id

    @property
    def waiting(self) -> int:
        """How many clients have a command waiting."""
        return len(self._waiting)

    def take(self, who: Principal) -> bool:
        """True when `who` has it from now on, False when it had it already. Raises `Conflict` when another has."""
        if self.holder is not None:
            if self.holder.principal_id == who.principal_id:
                return False
            raise Conflict(f"{self.holder.name} has the wheel. Ask them to give it back.")
        self.holder = who
        self._free.clear()
        self._say("control.taken", by=who.name)
        return True

    def release(self, who: Principal | None = None) -> bool:
        """Clients go on. `who` gives back only what is theirs (`Conflict` else), None takes it from whoever has it.
        False when nobody had it."""
        holder = self.holder
        if holder is None:
            return False
        if who is not None and who.principal_id != holder.principal_id:
            raise Conflict(f"{holder.name} has the wheel, and only they can give it back.")
        self.holder = None
        for hand in tuple(self._gripping):
            hand.let_go()
        self._maybe_free()
        self._say("control.released", by=holder.name)
        return True

    def grip(self, hand: Hand) -> None:
        """The hand puts in something for the holder."""
        self._gripping.add(hand)
        self._free.clear()

    def loosen(self, hand: Hand) -> None:
        """The page has taken all that the hand put in."""
        self._gripping.discard(hand)
        self._maybe_free()

    def _maybe_free(self) -> None:
        if not self.held:
            self._free.set()

    async def passage(self, client: object) -> None:
        """Returns when a command of `client` may be passed on: at once while nobody holds the wheel.

        Who waits is counted once, however many commands it has: it stops reading, and its own buffers hold the rest.
        """
        while self.held:
            if client not in self._waiting:
                self._waiting.add(client)
                self._say("control.waiting", count=len(self._waiting))
            try:
                await self._free.wait()
            finally:
                self._waiting.discard(client)
                if self.holder is not None:
                    self._say("control.waiting", count=len(self._waiting))

    def _say(self, kind: str, **data: Any) -> None:
        if self.tell is not None:
            self.tell(kind, **data)

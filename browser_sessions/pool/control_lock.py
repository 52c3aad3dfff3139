"""Who controls a session: its clients, or one person who has taken control until they release it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from browser_sessions.domain.errors import Conflict
from browser_sessions.domain.principal import Principal, Role


class InputSource(Protocol):
    """Passes the holder's input on to the pages."""

    def control_released(self) -> None:
        """Stop passing input on. Call `ControlLock.input_done` once the pages have processed what was sent."""


class ControlLock:
    """One per session. While it is held, clients' commands wait at the gateway, in order; none is lost. Actions over
    HTTP wait too, within their timeouts. Both continue once every source of the holder's input is done, so that none of
    that input comes after them.

    `publish` is called with `control.taken`, `control.released` and `control.waiting` and their fields.
    """

    def __init__(self, publish: Callable[..., Any]) -> None:
        self.holder: Principal | None = None
        self._until: float | None = None
        """When control without a live view ends; None: with the holder's last view."""
        self._publish = publish
        self._waiting: set[object] = set()
        self._sources: set[InputSource] = set()
        """Sources with input that the pages have not processed yet."""
        self._free = asyncio.Event()
        self._free.set()

    def __repr__(self) -> str:
        held = f"held by {self.holder.principal_id}" if self.holder else "free"
        return f"<ControlLock {held}, {len(self._waiting)} waiting>"

    @property
    def held(self) -> bool:
        """True while clients' commands must wait. Read for every command."""
        return self.holder is not None or bool(self._sources)

    def held_by(self, principal_id: str | None) -> bool:
        return self.holder is not None and self.holder.principal_id == principal_id

    @property
    def waiting(self) -> int:
        """How many clients have a command waiting."""
        return len(self._waiting)

    def take(self, who: Principal, *, until: float | None = None) -> bool:
        """True when `who` now has control, False when they already had it. `until` (monotonic) ends control that is
        taken without a live view, unless it is taken again. An admin takes over from others; else raises `Conflict`."""
        if self.holder is not None:
            if self.holder.principal_id == who.principal_id:
                self._until = None if until is None or self._until is None else until
                return False
            if who.role is not Role.ADMIN:
                raise Conflict(f"{self.holder.name} has control. Ask them to release it, or an admin to take over.")
            self.release()
        self.holder, self._until = who, until
        self._free.clear()
        self._publish("control.taken", by=who.name)
        return True

    def release(self, who: Principal | None = None) -> bool:
        """Lets clients continue; False when nobody had control. Raises `Conflict` when somebody other than `who` has
        it, unless `who` is an admin (None: whoever has it)."""
        holder = self.holder
        if holder is None:
            return False
        if who is not None and who.principal_id != holder.principal_id and who.role is not Role.ADMIN:
            raise Conflict(f"{holder.name} has control, and only they or an admin can release it.")
        self.holder = self._until = None
        for source in tuple(self._sources):
            source.control_released()
        self._maybe_free()
        self._publish("control.released", by=holder.name)
        return True

    def has_view(self) -> None:
        """The holder watches: control ends with their last view from now on."""
        self._until = None

    def expire(self, now: float) -> None:
        """Releases control that was taken without a live view, when its time is over."""
        if self._until is not None and now >= self._until:
            self.release()

    def revoked(self, credential: str) -> None:
        """Releases control that was taken with a credential, or in a sign-in, which is no longer valid."""
        if self.holder is not None and credential in (self.holder.credential, self.holder.sign_in):
            self.release()

    def input_begins(self, source: InputSource) -> None:
        """The source starts to pass on input of the holder."""
        self._sources.add(source)
        self._free.clear()

    def input_done(self, source: InputSource) -> None:
        """The pages have processed all input of the source."""
        self._sources.discard(source)
        self._maybe_free()

    async def allows(self, who: Principal, *, timeout: float) -> None:
        """Returns when an action of `who` may begin. Raises `Conflict` after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self.until_free(object(), who.principal_id)
        except TimeoutError:
            if self.holder is None:
                raise Conflict("The page is still processing input of the person who had control. Try again.") from None
            raise Conflict(
                f"{self.holder.name} has control, and did not release it within {timeout:g} s. Ask them to release it, "
                "or an admin to take over, and try again."
            ) from None

    def _maybe_free(self) -> None:
        if not self.held:
            self._free.set()

    async def until_free(self, client: object, principal_id: str | None = None) -> None:
        """Returns when a command of `client` may be passed on: at once while the lock is free or the principal's.

        A client that waits is counted once, however many commands it has: nobody reads from it meanwhile.
        """
        while self.held and not self.held_by(principal_id):
            if client not in self._waiting:
                self._waiting.add(client)
                self._publish("control.waiting", count=len(self._waiting))
            try:
                await self._free.wait()
            finally:
                self._waiting.discard(client)
                if self.holder is not None:
                    self._publish("control.waiting", count=len(self._waiting))

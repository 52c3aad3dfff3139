"""Commands of one client that wait while somebody else has control."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from browser_sessions.cdp.websocket import STEP_BYTES, ClientSocket, PauseReason
from browser_sessions.loop_shares import Share
from browser_sessions.pool.control_lock import ControlLock

MAX_HELD_BYTES: Final = 4 * 2**20
"""Commands that may wait while somebody else has control; beyond that we stop reading from the client."""


class HeldCommands:
    def __init__(
        self,
        control: ControlLock,
        principal_id: str | None,
        socket: ClientSocket,
        share: Share,
        handle: Callable[[bytes], None],
    ) -> None:
        """`principal_id`: whose own control does not hold the commands. `handle` gets each command, in order, within
        `share`."""
        self._control = control
        self._principal_id = principal_id
        self._socket = socket
        self._share = share
        self._handle = handle
        self._commands: deque[bytes] = deque()
        self._releasing: asyncio.Task[None] | None = None
        self.size = 0
        """Bytes."""

    @property
    def must_wait(self) -> bool:
        """Whether the next command must wait: for control, or for those before it."""
        return bool(self._commands) or (self._control.held and not self._control.held_by(self._principal_id))

    def add(self, payload: bytes) -> None:
        """Beyond `MAX_HELD_BYTES` we stop reading."""
        self._commands.append(payload)
        self.size += len(payload)
        if self.size > MAX_HELD_BYTES:
            self._socket.pause(PauseReason.CONTROL, True)
        if self._releasing is None:
            self._releasing = asyncio.create_task(self._release())

    def close(self) -> None:
        """Discards them all."""
        self._commands.clear()
        if self._releasing is not None:
            self._releasing.cancel()

    async def _release(self) -> None:
        while self._commands:
            await self._control.until_free(self)
            await self._share.finish(self._handle_some)
        self._releasing = None
        self._socket.pause(PauseReason.CONTROL, False)

    def _handle_some(self, steps: int) -> int:
        """`loop_shares.Work`"""
        while steps > 0 and self._commands and not self._control.held:
            payload = self._commands.popleft()
            self.size -= len(payload)
            steps -= 1 + len(payload) // STEP_BYTES
            self._handle(payload)
        return steps

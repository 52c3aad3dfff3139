"""Keeps new targets paused until all clients that attach to them have resumed them.

Chromium resumes a window with an opener when the first session asks for it; one without an opener when all its sessions
have, and never if one of them detaches first. So clients' `Runtime.runIfWaitingForDebugger` is not forwarded but
counted here, and sent for all sessions at once.

A window with an opener is paused in the opener's renderer. Closed before it runs, it leaves that renderer paused for
good, at full load (Chromium 156). So it is closed once it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

HOLD_S: Final = 0.6
"""How long to wait for the clients of a new target. A client resumes it within one to three of its network round trips.
One that never does delays its session's windows once: it is not waited for again until it has resumed one."""

OWNER_HOLD_S: Final = 5.0
"""The same for the client that sets the session's options, without which a page sees another browser."""

Resume = Callable[[str, tuple[str, ...]], None]
"""Called with a target's id and its paused CDP sessions. Must call `running` after Chromium's response."""


@dataclass(eq=False)
class _Pause:
    sessions: list[str]
    """CDP sessions on which Chromium waits for `Runtime.runIfWaitingForDebugger`."""
    waiting: set[object]
    """Clients that have not resumed the target yet."""
    timer: asyncio.TimerHandle
    overdue: bool = False
    """`HOLD_S` has passed: waits for owners only."""
    released: bool = False
    then: list[Callable[[], None]] = field(default_factory=list)


class Pauses:
    """One per browser."""

    def __init__(self, resume: Resume) -> None:
        self._resume = resume
        self._early: dict[str, list[str]] = {}
        """Sessions that were attached before `begin`, by target."""
        self._begun: set[str] = set()
        """Targets that are or were paused."""
        self._owners: set[object] = set()
        """Clients that always have `OWNER_HOLD_S`."""
        self._paused: dict[str, _Pause] = {}
        self._windows: dict[str, list[Callable[[], object]]] = {}
        """Windows with an opener that do not run yet, each with the calls that close it."""
        self._kept: set[str] = set()
        """Targets without a time limit."""
        self._stalled: set[object] = set()
        """Clients that have not resumed a target in time, and none since."""

    def __len__(self) -> int:
        """Number of paused targets with a time limit."""
        return len(self._paused.keys() - self._kept)

    def __contains__(self, target_id: object) -> bool:
        """Whether the target is paused."""
        return target_id in self._paused

    def suspend_limit(self, target_id: str) -> None:
        """Keeps the target paused without a time limit, until `start_limit`."""
        self._kept.add(target_id)

    def start_limit(self, target_id: str) -> None:
        """Starts the usual time limit now."""
        self._kept.discard(target_id)
        pause = self._paused.get(target_id)
        if pause is not None and not pause.released:
            pause.timer.cancel()
            pause.timer = asyncio.get_running_loop().call_later(HOLD_S, self._timed_out, target_id)

    def add_owner(self, client: object) -> None:
        """Declares the client an owner: it sets the session's options."""
        self._owners.add(client)

    def window_created(self, target_id: str) -> None:
        """A window with an opener was created: `begin` follows, or `running`."""
        self._windows[target_id] = []

    def when_closable(self, target_id: str, close: Callable[[], object]) -> None:
        """Calls `close` once the target may be closed: at once unless it is a window with an opener."""
        waiting = self._windows.get(target_id)
        if waiting is None:
            close()
        else:
            waiting.append(close)

    def begin(self, target_id: str, session_id: str, waiting: Iterable[object]) -> None:
        """A new target is paused on `session_id`. It is resumed when all clients in `waiting` have resumed it, or after
        `HOLD_S`. The pause exists already while `waiting` is iterated over."""
        timer = asyncio.get_running_loop().call_later(HOLD_S, self._timed_out, target_id)
        pause = self._paused[target_id] = _Pause([session_id, *self._early.pop(target_id, ())], {self}, timer)
        self._begun.add(target_id)
        pause.waiting |= set(waiting) - self._stalled
        pause.waiting.discard(self)
        self._release_if_ready(target_id)

    def add_session(self, target_id: str, session_id: str) -> bool:
        """Adds another session of Chromium's that has to be resumed. Returns False if the target has been resumed
        already, so that the caller must resume the session."""
        pause = self._paused.get(target_id)
        if pause is not None and not pause.released:
            pause.sessions.append(session_id)
        elif target_id not in self._begun:
            self._early.setdefault(target_id, []).append(session_id)
        else:
            return False
        return True

    def wait_for(self, target_id: str, client: object) -> None:
        """Waits for a client too that has attached to a paused target by itself."""
        pause = self._paused.get(target_id)
        if pause is not None and not pause.released and client not in self._stalled:
            pause.waiting.add(client)

    def resumed(self, target_id: str, client: object) -> None:
        """The client has resumed the target."""
        self._stalled.discard(client)
        self.release(target_id, client)

    def release(self, target_id: str, client: object) -> None:
        """Does not wait for the client any more."""
        pause = self._paused.get(target_id)
        if pause is not None:
            pause.waiting.discard(client)
            self._release_if_ready(target_id)

    def client_left(self, client: object) -> None:
        """The client has disconnected."""
        for target_id in [each for each, pause in self._paused.items() if client in pause.waiting]:
            self.release(target_id, client)
        self._stalled.discard(client)
        self._owners.discard(client)

    def when_running(self, target_id: str, then: Callable[[], None]) -> None:
        """Calls `then` when the target runs or is gone; at once if it is not paused."""
        pause = self._paused.get(target_id)
        if pause is None:
            then()
        else:
            pause.then.append(then)

    def running(self, target_id: str) -> None:
        """Chromium has resumed the target, or it is gone."""
        pause = self._paused.pop(target_id, None)
        if pause is not None:
            pause.timer.cancel()
            for then in pause.then:
                then()
        for close in self._windows.pop(target_id, ()):
            close()

    def gone(self, target_id: str) -> None:
        """The target is gone."""
        self._early.pop(target_id, None)
        self.running(target_id)
        self._begun.discard(target_id)
        self._kept.discard(target_id)

    def close(self) -> None:
        """The browser is gone."""
        for target_id in (*self._paused, *self._windows):
            self.running(target_id)

    def _timed_out(self, target_id: str) -> None:
        pause = self._paused.get(target_id)
        if pause is None or pause.released or target_id in self._kept:
            return
        self._stalled |= pause.waiting - self._owners
        if pause.overdue:
            pause.waiting.clear()
        else:
            pause.overdue = True
            pause.waiting &= self._owners
            wait_s = OWNER_HOLD_S - HOLD_S
            pause.timer = asyncio.get_running_loop().call_later(wait_s, self._timed_out, target_id)
        self._release_if_ready(target_id)

    def _release_if_ready(self, target_id: str) -> None:
        pause = self._paused[target_id]
        if not pause.waiting and not pause.released:
            pause.released = True
            pause.timer.cancel()
            self._resume(target_id, tuple(pause.sessions))

"""New targets that are kept paused until every client that attaches to them has asked to let them run.

Chromium lets a window with an opener run as soon as one session asks for it, one without an opener when all have that
hold it, and never when one of those detaches first. So no client's `Runtime.runIfWaitingForDebugger` reaches Chromium
by itself: it is counted here, and sent for all of them at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

HOLD_S: Final = 0.6
"""How long a new target waits for its clients. A client resumes within one to three round trips of its own network; one
that never does delays its session's windows by this, once: until it resumes one, it is not waited for again."""

OWNER_HOLD_S: Final = 5.0
"""The same for who sets the session's options: without them a page shows itself as another browser."""

Resume = Callable[[str, tuple[str, ...]], None]
"""Called with a target's id and the CDP sessions that hold it; `running` is to follow when Chromium has answered."""


@dataclass(eq=False)
class _Pause:
    sessions: list[str]
    """CDP sessions that Chromium waits for."""
    waiting: set[object]
    timer: asyncio.TimerHandle
    overdue: bool = False
    """Clients other than owners are not waited for any more."""
    released: bool = False
    then: list[Callable[[], None]] = field(default_factory=list)


class Pauses:
    """Of one browser."""

    def __init__(self, resume: Resume) -> None:
        self._resume = resume
        self._early: dict[str, list[str]] = {}
        """Sessions that hold targets of which `begin` has not told yet."""
        self._begun: set[str] = set()
        """Targets that were paused once."""
        self._owners: set[object] = set()
        """Clients that have `OWNER_HOLD_S`, every time."""
        self._paused: dict[str, _Pause] = {}
        self._kept: set[str] = set()
        """Targets that have no time limit yet."""
        self._stalled: set[object] = set()
        """Clients that let a target wait until its time was over, and have resumed none since."""

    def __len__(self) -> int:
        """Of those whose time is limited."""
        return len(self._paused.keys() - self._kept)

    def __contains__(self, target_id: object) -> bool:
        """Whether the target does not run yet."""
        return target_id in self._paused

    def keep(self, target_id: str) -> None:
        """The target may stay paused for as long as it likes, until `limit`."""
        self._kept.add(target_id)

    def limit(self, target_id: str) -> None:
        """Its clients have the usual time from now on."""
        self._kept.discard(target_id)
        pause = self._paused.get(target_id)
        if pause is not None and not pause.released:
            pause.timer.cancel()
            pause.timer = asyncio.get_running_loop().call_later(HOLD_S, self._too_late, target_id)

    def trust(self, client: object) -> None:
        """The client sets the session's options."""
        self._owners.add(client)

    def begin(self, target_id: str, session_id: str, waiting: Iterable[object]) -> None:
        """The target has come, paused for `session_id`: it runs when all of `waiting` have resumed it, or `HOLD_S`
        have passed. The target is paused already while `waiting` is iterated over."""
        timer = asyncio.get_running_loop().call_later(HOLD_S, self._too_late, target_id)
        pause = self._paused[target_id] = _Pause([session_id, *self._early.pop(target_id, ())], {self}, timer)
        self._begun.add(target_id)
        pause.waiting |= set(waiting) - self._stalled
        pause.waiting.discard(self)
        self._release_if_ready(target_id)

    def held_by(self, target_id: str, session_id: str) -> bool:
        """Chromium has attached one more session that waits, and that has to be resumed too. False: nothing here will,
        the target is not paused or was let run already."""
        pause = self._paused.get(target_id)
        if pause is not None and not pause.released:
            pause.sessions.append(session_id)
        elif target_id not in self._begun:
            self._early.setdefault(target_id, []).append(session_id)
        else:
            return False
        return True

    def wait_for(self, target_id: str, client: object) -> None:
        """A client that attached to a paused target by itself is waited for too."""
        pause = self._paused.get(target_id)
        if pause is not None and not pause.released and client not in self._stalled:
            pause.waiting.add(client)

    def resumed(self, target_id: str, client: object) -> None:
        """The client lets the target run."""
        self._stalled.discard(client)
        self.let_go(target_id, client)

    def let_go(self, target_id: str, client: object) -> None:
        """The client does not hold the target any more."""
        pause = self._paused.get(target_id)
        if pause is not None:
            pause.waiting.discard(client)
            self._release_if_ready(target_id)

    def left(self, client: object) -> None:
        """The client is gone: nothing waits for it any more."""
        for target_id in [each for each, pause in self._paused.items() if client in pause.waiting]:
            self.let_go(target_id, client)
        self._stalled.discard(client)
        self._owners.discard(client)

    def once_running(self, target_id: str, then: Callable[[], None]) -> None:
        """Calls `then` when the target runs or is gone: now, when nothing holds it."""
        pause = self._paused.get(target_id)
        if pause is None:
            then()
        else:
            pause.then.append(then)

    def running(self, target_id: str) -> None:
        """Chromium has let it run, or it is gone."""
        pause = self._paused.pop(target_id, None)
        if pause is not None:
            pause.timer.cancel()
            for then in pause.then:
                then()

    def gone(self, target_id: str) -> None:
        """There is no such target any more."""
        self._early.pop(target_id, None)
        self.running(target_id)
        self._begun.discard(target_id)
        self._kept.discard(target_id)

    def close(self) -> None:
        """The browser is gone."""
        for target_id in tuple(self._paused):
            self.running(target_id)

    def _too_late(self, target_id: str) -> None:
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
            pause.timer = asyncio.get_running_loop().call_later(wait_s, self._too_late, target_id)
        self._release_if_ready(target_id)

    def _release_if_ready(self, target_id: str) -> None:
        pause = self._paused[target_id]
        if not pause.waiting and not pause.released:
            pause.released = True
            pause.timer.cancel()
            self._resume(target_id, tuple(pause.sessions))

"""New targets that are kept paused, whom each one waits for, and what is to be done once it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

HOLD_S: Final = 5.0
"""How long a new target may wait for a client that was told of it: a client resumes within milliseconds of its own
network's delay, and one that never does must not keep its session's page from starting."""

LetGo = Callable[[str, str], None]
"""Called with a target id and the CDP session that holds it, once nobody is waited for; `Holds.running` follows."""


@dataclass(eq=False)
class _Hold:
    session_id: str
    waiting: set[object]
    preparing: bool
    """The service's own connection has not put the session's options in place yet."""
    timer: asyncio.TimerHandle


class Holds:
    """Of one browser."""

    def __init__(self, let_go: LetGo) -> None:
        self._let_go = let_go
        self._holds: dict[str, _Hold] = {}
        self._came: set[str] = set()
        """Targets that have come, held or not."""
        self._prepared: dict[str, Callable[[], None]] = {}
        """Windows that the service's own connection told of before they came here."""
        self._started: dict[str, asyncio.Future[None]] = {}
        """Done when the target is held no more."""

    def __len__(self) -> int:
        return len(self._holds)

    def __contains__(self, target_id: str) -> bool:
        return target_id in self._holds

    def begin(self, target_id: str, session_id: str, waiting: Iterable[object], *, preparing: bool) -> None:
        """The target has come, paused: it runs when all of `waiting` have let it and, with `preparing`, the service's
        own connection has it ready; after `HOLD_S` in any case."""
        self._came.add(target_id)
        go = self._prepared.pop(target_id, None)
        if go is not None:
            self.once_running(target_id, go, coming=True)
        timer = asyncio.get_running_loop().call_later(HOLD_S, self._release, target_id)
        self._holds[target_id] = _Hold(session_id, set(waiting), preparing and go is None, timer)
        self._release_if_ready(target_id)

    def wait_for(self, target_id: str, client: object) -> None:
        """A client that attached to a held target by itself takes part in holding it."""
        hold = self._holds.get(target_id)
        if hold is not None:
            hold.waiting.add(client)

    def resumed(self, target_id: str, client: object) -> None:
        """The client has let the target run; it runs when all have."""
        hold = self._holds.get(target_id)
        if hold is not None:
            hold.waiting.discard(client)
            self._release_if_ready(target_id)

    def left(self, client: object) -> None:
        """The client has gone: what waited for it waits no more."""
        for target_id in [t for t, hold in self._holds.items() if client in hold.waiting]:
            self.resumed(target_id, client)

    def prepared(self, target_id: str, go: Callable[[], None]) -> None:
        """The service's own connection has put the session's options in place in a window that a page has opened, and
        lets it run when `go` is called: when everybody does. A `model.ports.WindowKeeper`."""
        hold = self._holds.get(target_id)
        if hold is not None:
            self.once_running(target_id, go)
            hold.preparing = False
            self._release_if_ready(target_id)
        elif target_id in self._came:
            self.once_running(target_id, go)
        else:
            self._prepared[target_id] = go

    def once_running(self, target_id: str, then: Callable[[], None], *, coming: bool = False) -> None:
        """Calls `then` when nothing of ours holds the target any more, or it is gone: now, when nothing does and it is
        not `coming`, about to be held."""
        if target_id not in self._holds and not coming and target_id not in self._started:
            then()
            return
        self._start_of(target_id).add_done_callback(lambda _: then())

    def _start_of(self, target_id: str) -> asyncio.Future[None]:
        return self._started.setdefault(target_id, asyncio.get_running_loop().create_future())

    def running(self, target_id: str) -> None:
        """It was let go, and Chromium has heard of it."""
        started = self._started.pop(target_id, None)
        if started is not None and not started.done():
            started.set_result(None)

    def gone(self, target_id: str) -> None:
        hold = self._holds.pop(target_id, None)
        if hold is not None:
            hold.timer.cancel()
        self._came.discard(target_id)
        go = self._prepared.pop(target_id, None)
        if go is not None:
            go()
        self.running(target_id)

    def close(self) -> None:
        """Nothing is held any more: the connection that held it ends."""
        for target_id in {*self._holds, *self._prepared, *self._started}:
            self.gone(target_id)

    def _release_if_ready(self, target_id: str) -> None:
        hold = self._holds[target_id]
        if not hold.waiting and not hold.preparing:
            self._release(target_id)

    def _release(self, target_id: str) -> None:
        hold = self._holds.pop(target_id, None)
        if hold is not None:
            hold.timer.cancel()
            _ = self._start_of(target_id)  # who asks between now and `running` is told then
            self._let_go(target_id, hold.session_id)

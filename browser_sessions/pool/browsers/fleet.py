"""The browser processes of this node: started when needed, shared, replaced, ended when empty."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from browser_sessions.chromium.ports import BrowserLauncher, BrowserProcess
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import BrowserSessionsError, NoBrowser
from browser_sessions.domain.session import EndReason
from browser_sessions.events.journal import Journal
from browser_sessions.pool.browsers.placement import Seat, choose, recycle_reason
from browser_sessions.tracing import span

CLOSE_TIMEOUT_S: Final = 3.0
"""How long a browser may take to end by itself before it is killed; it needs 10 to 100 ms."""
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_LAST_S: Final = 30.0
"""Waits between failed starts double from the first to the last: a broken machine is not hammered, a mended one is back
soon."""


@dataclass(eq=False)
class Berth:
    """One browser process and who is in it. `process` is None until it has started."""

    number: int
    partition: str | None
    dedicated: bool
    started: asyncio.Future[BrowserProcess] = field(repr=False)
    process: BrowserProcess | None = None
    taken: int = 0
    served: int = 0
    since: float = 0.0
    empty_since: float = 0.0
    memory_bytes: int = 0
    missed_probes: int = 0
    """In a row."""
    idle_misses: int = 0
    """Those of them, in a row, in which it did nothing."""
    retiring: str | None = None
    """Why it takes nothing new; it ends once it is empty."""
    dead: bool = False

    @property
    def browser_id(self) -> str:
        return f"browser-{self.number}"


class Fleet:
    """Starts, shares and ends browsers. All bookkeeping is synchronous; only starting and ending awaits."""

    def __init__(
        self,
        launcher: BrowserLauncher,
        clock: Clock,
        journal: Journal,
        *,
        places: int,
        shared_between_principals: bool,
        on_death: Callable[[Berth, EndReason], None],
    ) -> None:
        self.berths: list[Berth] = []
        self.places = places
        self.failures = 0
        """Failed starts in a row."""
        self.restarts = 0
        self.keeps_spare = True
        """False once nothing new is taken: a drain starts no browser."""
        self._launcher = launcher
        self._clock = clock
        self._journal = journal
        self._shared = shared_between_principals
        self._on_death = on_death
        self._numbers = itertools.count(1)
        self._not_before = 0.0
        self.last_failure = ""
        self._background: set[asyncio.Task[None]] = set()
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Fleet {[(b.browser_id, b.taken) for b in self.berths]}>"

    @property
    def working(self) -> bool:
        return any(b.process is not None and b.process.alive and not b.dead for b in self.berths)

    @property
    def spares(self) -> int:
        """Running browsers that nobody has used yet."""
        return sum(b.process is not None and b.partition is None and not b.dead for b in self.berths)

    def seat(self, berth: Berth) -> Seat:
        now = self._clock.monotonic()
        return Seat(
            browser_id=berth.browser_id,
            partition=berth.partition,
            dedicated=berth.dedicated,
            taken=berth.taken,
            served=berth.served,
            age=now - berth.since,
            empty_for=0.0 if berth.taken else now - berth.empty_since,
            memory_bytes=berth.memory_bytes,
            closed=berth.dead or berth.retiring is not None,
        )

    async def take(self, principal_id: str, *, dedicated: bool) -> Berth:
        """A berth with a running browser and one place of it taken. Raises `NoBrowser`; a cancelled wait gives the
        place back."""
        partition = "*" if self._shared else principal_id
        chosen = choose(map(self.seat, self.berths), partition, dedicated=dedicated, places=self.places)
        berth = next((b for b in self.berths if b.browser_id == chosen), None) or self._start()
        berth.partition = partition
        berth.dedicated = berth.dedicated or dedicated
        berth.taken += 1
        berth.served += 1
        try:
            await asyncio.shield(berth.started)
        except BaseException:
            self.give_back(berth)
            raise
        if berth.dead:
            self.give_back(berth)
            raise NoBrowser("The browser died while it started. Try again.", retry_after=1.0)
        return berth

    def give_back(self, berth: Berth) -> None:
        """One place of the berth is free again."""
        berth.taken -= 1
        if berth.taken == 0:
            berth.empty_since = self._clock.monotonic()
            if berth.retiring is not None and not berth.dead:
                self._in_background(self._end(berth))

    async def first(self) -> None:
        """Starts the first browser: what it raises is why this node cannot work. Raises as the launcher does."""
        await asyncio.shield(self._start().started)

    async def ensure_spare(self) -> None:
        """Keeps one unused browser of nobody's, so that a new principal's first session need not wait for a start."""
        if self._stopping or not self.keeps_spare:
            return
        for b in self.berths:
            if b.partition is None and not b.dead and b.retiring is None:
                return
        with contextlib.suppress(BrowserSessionsError):  # in the journal already, and the next turn tries again
            await asyncio.shield(self._start().started)

    def recycle(self) -> None:
        """Retires what is too old, too large, too used, or empty for long; ends what is retired and empty."""
        for berth in list(self.berths):
            if berth.process is None or berth.dead or berth.retiring is not None:
                continue
            reason = recycle_reason(self.seat(berth), places=self.places)
            if reason is not None:
                self.retire(berth, reason)

    def retire(self, berth: Berth, reason: str) -> None:
        """It takes nothing new from now on, and ends when its last session has."""
        berth.retiring = reason
        self._journal.publish("browser.retiring", browser_id=berth.browser_id, reason=reason, sessions=berth.taken)
        if berth.taken == 0:
            self._in_background(self._end(berth))

    def condemn(self, berth: Berth, reason: EndReason) -> None:
        """Kills a browser that does not answer and reports its death."""
        if berth.process is not None and not berth.dead:
            berth.process.kill()
            self._died(berth, reason)

    def calmed(self, berth: Berth, pid: int) -> None:
        """A page of it that kept it from answering was ended."""
        self._journal.publish("browser.swamped", browser_id=berth.browser_id, misses=berth.missed_probes, pid=pid)

    def kill(self) -> None:
        """Kills every browser, for an end that cannot wait: their sessions close at once, with nothing left to ask."""
        self._stopping = True
        for berth in self.berths:
            if berth.process is not None:
                berth.process.kill()

    async def stop(self) -> None:
        """Ends every browser and returns when all are gone."""
        self._stopping = True
        await asyncio.gather(*(self._end(b) for b in list(self.berths)), return_exceptions=True)
        if self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    def _start(self) -> Berth:
        number = next(self._numbers)
        now = self._clock.monotonic()
        berth = Berth(number, None, False, asyncio.get_running_loop().create_future(), since=now, empty_since=now)
        berth.started.add_done_callback(
            lambda f: f.cancelled() or f.exception()
        )  # whoever waits hears it; nobody may wait
        self.berths.append(berth)
        self._in_background(self._launch(berth))
        return berth

    async def _launch(self, berth: Berth) -> None:
        wait = self._not_before - self._clock.monotonic()
        if wait > 0:
            self._abandon(
                berth, NoBrowser(f"No browser starts: {self.last_failure} Trying again soon.", retry_after=wait + 0.5)
            )
            return
        began = self._clock.monotonic()
        try:
            with span("browser.launch", browser_id=berth.browser_id):
                process = await self._launcher.launch(lambda _, reason: self._died(berth, reason))
        except BaseException as error:
            self.failures += 1
            self.last_failure = (
                error.detail if isinstance(error, BrowserSessionsError) else f"{type(error).__name__}: {error}"
            )
            pause = min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2 ** min(self.failures - 1, 16))
            self._not_before = self._clock.monotonic() + pause
            self._journal.publish("browser.start_failed", reason=self.last_failure, failures=self.failures, pause=pause)
            self._abandon(
                berth,
                error
                if isinstance(error, BrowserSessionsError)
                else NoBrowser(f"No browser starts: {self.last_failure}", retry_after=pause + 0.5),
            )
            if not isinstance(error, Exception):
                raise
            return
        self.failures = 0
        ended_meanwhile = berth.dead
        berth.process = process
        berth.since = berth.empty_since = self._clock.monotonic()
        if not process.alive:
            self._died(berth, EndReason.BROWSER_DIED)
        self._journal.publish(
            "browser.started",
            browser_id=berth.browser_id,
            pid=process.pid,
            version=process.version,
            seconds=round(berth.since - began, 3),
        )
        if not berth.started.done():
            berth.started.set_result(process)
        if ended_meanwhile:
            await self._close(berth, process)
        elif self._stopping:
            await self._end(berth)

    def _abandon(self, berth: Berth, error: BaseException) -> None:
        berth.dead = True
        if berth in self.berths:
            self.berths.remove(berth)
        if not berth.started.done():
            berth.started.set_exception(error)

    def _died(self, berth: Berth, reason: EndReason) -> None:
        if berth.dead:
            return
        berth.dead = True
        if berth in self.berths:
            self.berths.remove(berth)
        self.restarts += 1
        with span("browser.died", browser_id=berth.browser_id, reason=reason.value, sessions=berth.taken):
            pass  # a moment, from which the launch of another follows
        self._journal.publish("browser.died", browser_id=berth.browser_id, reason=reason.value, sessions=berth.taken)
        self._on_death(berth, reason)
        if berth.process is not None:
            self._in_background(berth.process.close(timeout=CLOSE_TIMEOUT_S))

    async def _end(self, berth: Berth) -> None:
        """Ends a browser that nobody is in (or that all are leaving)."""
        if berth.dead:
            return
        berth.dead = True
        if berth in self.berths:
            self.berths.remove(berth)
        if berth.process is not None:  # or it is still starting, and `_launch` closes it
            await self._close(berth, berth.process)

    async def _close(self, berth: Berth, process: BrowserProcess) -> None:
        await process.close(timeout=CLOSE_TIMEOUT_S)
        self._journal.publish("browser.ended", browser_id=berth.browser_id, reason=berth.retiring or "stopping")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

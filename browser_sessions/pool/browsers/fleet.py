"""The browser processes of this node: started when needed, shared, replaced, ended when empty."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from browser_sessions.background_tasks import Background
from browser_sessions.chromium.ports import BrowserLauncher, BrowserProcess
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.errors import BrowserSessionsError, NoBrowser
from browser_sessions.domain.session import EndReason
from browser_sessions.events.journal import Journal
from browser_sessions.pool.browsers.placement import SlotInfo, choose, recycle_reason
from browser_sessions.tracing import span

CLOSE_TIMEOUT_S: Final = 3.0
"""How long a browser may take to end by itself before it is killed; it needs 10 to 100 ms."""
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_LAST_S: Final = 30.0
"""Waits between failed starts double from the first to the last: a broken machine is not hammered, a mended one is back
soon."""


@dataclass(frozen=True, slots=True)
class Starting:
    """Launched, and not ready yet."""


@dataclass(frozen=True, slots=True)
class Running:
    process: BrowserProcess


@dataclass(frozen=True, slots=True)
class Retiring(Running):
    """Accepts no more sessions and exits once empty."""

    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """Died, ended, or never started."""


@dataclass(eq=False)
class BrowserSlot:
    """One browser process and how many sessions are in it."""

    number: int
    started: asyncio.Future[BrowserProcess] = field(repr=False)
    """The process once it runs; raises why it does not."""
    since: float
    empty_since: float
    state: Starting | Running | Gone = Starting()
    partition: str | None = None
    """Whose sessions it holds; None while nobody's."""
    dedicated: bool = False
    """For one session only."""
    taken: int = 0
    served: int = 0
    memory_bytes: int = 0
    missed_probes: int = 0
    """In a row."""
    idle_misses: int = 0
    """Those of them, in a row, in which it did nothing."""

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
        capacity: int,
        shared_between_principals: bool,
        on_death: Callable[[BrowserSlot, EndReason], None],
    ) -> None:
        """`capacity` is how many sessions one browser takes; `on_death` hears of every browser that dies unasked."""
        self.slots: list[BrowserSlot] = []
        """Of browsers that start, run or retire."""
        self.capacity = capacity
        self.failures = 0
        """Failed starts in a row."""
        self.keeps_spare = True
        """False once nothing new is taken: a drain starts no browser."""
        self._keeps_ready = True
        self._launcher = launcher
        self._clock = clock
        self._journal = journal
        self._shared = shared_between_principals
        self._on_death = on_death
        self._numbers = itertools.count(1)
        self._not_before = 0.0
        self.last_failure = ""
        self._background = Background()
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Fleet {[(slot.browser_id, slot.taken) for slot in self.slots]}>"

    @property
    def running(self) -> list[tuple[BrowserSlot, BrowserProcess]]:
        """Those that have started, retiring ones too."""
        return [(slot, slot.state.process) for slot in self.slots if isinstance(slot.state, Running)]

    @property
    def working(self) -> bool:
        return any(process.alive for _, process in self.running)

    @property
    def spares(self) -> int:
        """Running browsers that nobody has used yet."""
        return sum(slot.partition is None for slot, _ in self.running)

    def info(self, slot: BrowserSlot) -> SlotInfo:
        now = self._clock.monotonic()
        return SlotInfo(
            browser_id=slot.browser_id,
            partition=slot.partition,
            dedicated=slot.dedicated,
            taken=slot.taken,
            served=slot.served,
            age=now - slot.since,
            empty_for=0.0 if slot.taken else now - slot.empty_since,
            memory_bytes=slot.memory_bytes,
            closed=isinstance(slot.state, Retiring | Gone),
        )

    async def take(self, principal_id: str, *, dedicated: bool) -> tuple[BrowserSlot, BrowserProcess]:
        """A running browser that has one session more from now on: `give_back` must follow. Raises `NoBrowser`; a
        cancelled wait gives it back."""
        partition = "*" if self._shared else principal_id
        chosen = choose(map(self.info, self.slots), partition, dedicated=dedicated, capacity=self.capacity)
        slot = next((slot for slot in self.slots if slot.browser_id == chosen), None) or self._start()
        slot.partition = partition
        slot.dedicated = slot.dedicated or dedicated
        slot.taken += 1
        slot.served += 1
        try:
            process = await asyncio.shield(slot.started)
        except BaseException:
            self.give_back(slot)
            raise
        if isinstance(slot.state, Gone):
            self.give_back(slot)
            raise NoBrowser("The browser died while it started. Try again.", retry_after=1.0)
        return slot, process

    def give_back(self, slot: BrowserSlot) -> None:
        """One session of the browser is gone."""
        slot.taken -= 1
        if slot.taken == 0:
            slot.empty_since = self._clock.monotonic()
            if isinstance(slot.state, Retiring):
                _ = self._background.run(self._end(slot))

    async def first(self) -> None:
        """Starts the first browser: what it raises is why this node cannot work. Raises as the launcher does."""
        await asyncio.shield(self._start().started)

    async def ensure_spare(self) -> None:
        """Keeps one unused browser of nobody's, so that a new principal's first session need not wait for a start."""
        if self._stopping or not self.keeps_spare:
            return
        if any(slot.partition is None and not isinstance(slot.state, Retiring | Gone) for slot in self.slots):
            return
        with contextlib.suppress(BrowserSessionsError):  # in the journal already, and the next turn tries again
            await asyncio.shield(self._start().started)

    def keep_ready(self, on: bool) -> None:
        """Whether browsers keep contexts ready for creates, those to come too."""
        if on is self._keeps_ready:
            return
        self._keeps_ready = on
        for slot, process in self.running:
            if not isinstance(slot.state, Retiring):
                process.keep_ready(on)

    def recycle(self) -> None:
        """Retires what is too old, too large, too used, or empty for long."""
        for slot, process in self.running:
            if (reason := recycle_reason(self.info(slot), capacity=self.capacity)) is not None:
                self._retire(slot, process, reason)

    def mark_unresponsive(self, slot: BrowserSlot, reason: EndReason) -> None:
        """Kills a browser that does not answer and reports its death."""
        if isinstance(slot.state, Running):
            slot.state.process.kill()
            self._died(slot, reason)

    def page_killed(self, slot: BrowserSlot, pid: int) -> None:
        """Reports that a page which kept the browser from answering was killed."""
        self._journal.publish("browser.swamped", browser_id=slot.browser_id, misses=slot.missed_probes, pid=pid)

    def kill(self) -> None:
        """Kills every browser, for an end that cannot wait: their sessions close at once, with nothing left to ask."""
        self._stopping = True
        for _, process in self.running:
            process.kill()

    async def stop(self) -> None:
        """Ends every browser and returns when all are gone."""
        self._stopping = True
        await asyncio.gather(*(self._end(slot) for slot in list(self.slots)), return_exceptions=True)
        await self._background.finished()

    def _start(self) -> BrowserSlot:
        now = self._clock.monotonic()
        slot = BrowserSlot(next(self._numbers), asyncio.get_running_loop().create_future(), now, now)
        slot.started.add_done_callback(lambda f: f.cancelled() or f.exception())  # perhaps nobody waits to hear it
        self.slots.append(slot)
        _ = self._background.run(self._launch(slot))
        return slot

    async def _launch(self, slot: BrowserSlot) -> None:
        wait = self._not_before - self._clock.monotonic()
        if wait > 0:
            self._never_started(
                slot, NoBrowser(f"No browser starts: {self.last_failure} Trying again soon.", retry_after=wait + 0.5)
            )
            return
        began = self._clock.monotonic()
        try:
            with span("browser.launch", browser_id=slot.browser_id):
                process = await self._launcher.launch(lambda _, reason: self._died(slot, reason))
        except BaseException as error:
            self.failures += 1
            self.last_failure = (
                error.detail if isinstance(error, BrowserSessionsError) else f"{type(error).__name__}: {error}"
            )
            pause = min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2 ** min(self.failures - 1, 16))
            self._not_before = self._clock.monotonic() + pause
            self._journal.publish("browser.start_failed", reason=self.last_failure, failures=self.failures, pause=pause)
            self._never_started(
                slot,
                error
                if isinstance(error, BrowserSessionsError)
                else NoBrowser(f"No browser starts: {self.last_failure}", retry_after=pause + 0.5),
            )
            if not isinstance(error, Exception):
                raise
            return
        self.failures = 0
        ended_meanwhile = isinstance(slot.state, Gone)
        slot.since = slot.empty_since = self._clock.monotonic()
        if not self._keeps_ready:
            process.keep_ready(False)
        if not ended_meanwhile:
            slot.state = Running(process)
            if not process.alive:
                self._died(slot, EndReason.BROWSER_DIED)
        self._journal.publish(
            "browser.started",
            browser_id=slot.browser_id,
            pid=process.pid,
            version=process.version,
            seconds=round(slot.since - began, 3),
        )
        if not slot.started.done():
            slot.started.set_result(process)
        if ended_meanwhile:
            await self._close(slot, process, "stopping")
        elif self._stopping:
            await self._end(slot)

    def _never_started(self, slot: BrowserSlot, error: BaseException) -> None:
        self._remove(slot)
        if not slot.started.done():
            slot.started.set_exception(error)

    def _retire(self, slot: BrowserSlot, process: BrowserProcess, reason: str) -> None:
        slot.state = Retiring(process, reason)
        self._journal.publish("browser.retiring", browser_id=slot.browser_id, reason=reason, sessions=slot.taken)
        if slot.taken == 0:
            _ = self._background.run(self._end(slot))
        else:
            process.keep_ready(False)

    def _died(self, slot: BrowserSlot, reason: EndReason) -> None:
        before = self._remove(slot)
        if isinstance(before, Gone):
            return
        with span("browser.died", browser_id=slot.browser_id, reason=reason.value, sessions=slot.taken):
            pass  # a moment, from which the launch of another follows
        self._journal.publish("browser.died", browser_id=slot.browser_id, reason=reason.value, sessions=slot.taken)
        self._on_death(slot, reason)
        if isinstance(before, Running):
            _ = self._background.run(before.process.close(timeout=CLOSE_TIMEOUT_S))

    async def _end(self, slot: BrowserSlot) -> None:
        """Ends a browser that is empty or that all sessions are leaving."""
        before = self._remove(slot)
        if isinstance(before, Running):  # one that still starts is closed by `_launch`
            await self._close(slot, before.process, before.reason if isinstance(before, Retiring) else "stopping")

    async def _close(self, slot: BrowserSlot, process: BrowserProcess, reason: str) -> None:
        await process.close(timeout=CLOSE_TIMEOUT_S)
        self._journal.publish("browser.ended", browser_id=slot.browser_id, reason=reason)

    def _remove(self, slot: BrowserSlot) -> Starting | Running | Gone:
        """What it was until now."""
        before, slot.state = slot.state, Gone()
        if slot in self.slots:
            self.slots.remove(slot)
        return before

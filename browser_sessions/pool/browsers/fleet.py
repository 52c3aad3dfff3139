"""The browser processes of this node: starts them when needed, shares them, ends them when empty."""

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
"""Seconds that a browser may take to exit (it takes 10 to 100 ms) before it is killed."""
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_LAST_S: Final = 30.0
"""Seconds. Pauses between failed starts double from the first to the last."""


@dataclass(frozen=True, slots=True)
class Starting:
    """Launched, not ready yet."""


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
    """One browser process and its sessions."""

    number: int
    started: asyncio.Future[BrowserProcess] = field(repr=False)
    """The process once it runs, or the error of its start."""
    since: float
    empty_since: float
    state: Starting | Running | Gone = Starting()
    partition: str | None = None
    """The principal whose sessions it holds; None while it is unused."""
    dedicated: bool = False
    """For one session only."""
    taken: int = 0
    served: int = 0
    memory_bytes: int = 0
    missed_probes: int = 0
    """Consecutive ones."""
    idle_misses: int = 0
    """Consecutive ones in which it used no processor time."""

    @property
    def browser_id(self) -> str:
        return f"browser-{self.number}"


class Fleet:
    """Starts, shares and ends browsers. Bookkeeping is synchronous; only starting and ending awaits."""

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
        """`capacity`: sessions of one browser. `on_death` is called for every browser that dies unexpectedly."""
        self.slots: list[BrowserSlot] = []
        """Browsers that are starting, running or retiring."""
        self.capacity = capacity
        self.failures = 0
        """Consecutive failed starts."""
        self.keeps_spare = True
        """False during a drain, which starts no browser."""
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
        """Running browsers, retiring ones included."""
        return [(slot, slot.state.process) for slot in self.slots if isinstance(slot.state, Running)]

    @property
    def working(self) -> bool:
        return any(process.alive for _, process in self.running)

    @property
    def spares(self) -> int:
        """Number of running browsers that are unused."""
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
        """Takes capacity for one session in a running browser; `give_back` must follow. Raises `NoBrowser`; when it
        raises or is cancelled, the capacity is given back."""
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
            raise NoBrowser("The browser died while it was starting. Try again.", retry_after=1.0)
        return slot, process

    def give_back(self, slot: BrowserSlot) -> None:
        """Frees the capacity of one session."""
        slot.taken -= 1
        if slot.taken == 0:
            slot.empty_since = self._clock.monotonic()
            if isinstance(slot.state, Retiring):
                _ = self._background.run(self._end(slot))

    async def first(self) -> None:
        """Starts the first browser. Raises as the launcher does: then this node cannot work."""
        await asyncio.shield(self._start().started)

    async def ensure_spare(self) -> None:
        """Keeps one unused browser running, so that a new principal's first session need not wait for a start."""
        if self._stopping or not self.keeps_spare:
            return
        if any(slot.partition is None and not isinstance(slot.state, Retiring | Gone) for slot in self.slots):
            return
        with contextlib.suppress(BrowserSessionsError):  # already in the journal; the next turn tries again
            await asyncio.shield(self._start().started)

    def keep_ready(self, on: bool) -> None:
        """Whether all browsers, future ones included, keep contexts ready for creates."""
        if on is self._keeps_ready:
            return
        self._keeps_ready = on
        for slot, process in self.running:
            if not isinstance(slot.state, Retiring):
                process.keep_ready(on)

    def recycle(self) -> None:
        """Retires browsers that are too old, too large, have served too many sessions, or are empty for long."""
        for slot, process in self.running:
            if (reason := recycle_reason(self.info(slot), capacity=self.capacity)) is not None:
                self._retire(slot, process, reason)

    def mark_unresponsive(self, slot: BrowserSlot, reason: EndReason) -> None:
        """Kills a browser that does not respond and reports its death."""
        if isinstance(slot.state, Running):
            slot.state.process.kill()
            self._died(slot, reason)

    def page_killed(self, slot: BrowserSlot, pid: int) -> None:
        """Reports that a page was killed because it kept the browser from responding."""
        self._journal.publish("browser.swamped", browser_id=slot.browser_id, misses=slot.missed_probes, pid=pid)

    def kill(self) -> None:
        """Kills every browser, for a shutdown that cannot wait."""
        self._stopping = True
        for _, process in self.running:
            process.kill()

    async def stop(self) -> None:
        """Ends every browser and returns when all have exited."""
        self._stopping = True
        await asyncio.gather(*(self._end(slot) for slot in list(self.slots)), return_exceptions=True)
        await self._background.finished()

    def _start(self) -> BrowserSlot:
        now = self._clock.monotonic()
        slot = BrowserSlot(next(self._numbers), asyncio.get_running_loop().create_future(), now, now)
        slot.started.add_done_callback(lambda f: f.cancelled() or f.exception())  # perhaps nobody awaits it
        self.slots.append(slot)
        _ = self._background.run(self._launch(slot))
        return slot

    async def _launch(self, slot: BrowserSlot) -> None:
        wait = self._not_before - self._clock.monotonic()
        if wait > 0:
            self._never_started(
                slot,
                NoBrowser(
                    f"Chromium could not be started: {self.last_failure} Trying again soon.", retry_after=wait + 0.5
                ),
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
                else NoBrowser(f"Chromium could not be started: {self.last_failure}", retry_after=pause + 0.5),
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
            pass  # an instant; the launch of another browser follows
        process = before.process if isinstance(before, Running) else None
        self._journal.publish(
            "browser.died",
            browser_id=slot.browser_id,
            reason=reason.value,
            sessions=slot.taken,
            pid=process and process.pid,
            exit=process and process.exit,
        )
        self._on_death(slot, reason)
        if process is not None:
            _ = self._background.run(process.close(timeout=CLOSE_TIMEOUT_S))

    async def _end(self, slot: BrowserSlot) -> None:
        """Ends a browser without sessions, or at shutdown."""
        before = self._remove(slot)
        if isinstance(before, Running):  # `_launch` closes one that is still starting
            await self._close(slot, before.process, before.reason if isinstance(before, Retiring) else "stopping")

    async def _close(self, slot: BrowserSlot, process: BrowserProcess, reason: str) -> None:
        await process.close(timeout=CLOSE_TIMEOUT_S)
        self._journal.publish("browser.ended", browser_id=slot.browser_id, reason=reason)

    def _remove(self, slot: BrowserSlot) -> Starting | Running | Gone:
        """Returns the previous state."""
        before, slot.state = slot.state, Gone()
        if slot in self.slots:
            self.slots.remove(slot)
        return before

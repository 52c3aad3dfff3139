"""Complete contexts with a page, prepared with the options of earlier creates for the next ones that have the same.

`driver/ready_contexts.py` saves the start of a renderer for any options; a spare also saves setting them. Nothing has
been loaded in it, and no session has had it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from playwright.async_api import BrowserContext, Page

from browser_sessions.background_tasks import Background
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.session_spec import Isolation, SessionSpec
from browser_sessions.egress.egress import EgressPort

IDLE_S: Final = 0.2
"""Delay between the last create and the next preparation: twice that of `ReadyContexts`, which a spare begins with."""
FEWER_S: Final = 60.0
"""After this time without a create that found no spare, one less is kept; the last one goes with its options."""
FORGET_S: Final = 600.0
"""Options that no create has had for this time are forgotten."""
MOST_OPTIONS: Final = 32
"""Different options that are remembered; the ones used least recently are forgotten."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A context with one empty page, for a session to come."""

    inner: BrowserContext
    context_id: str
    page: Page
    page_id: str
    port: EgressPort | None


@dataclass(slots=True)
class _Options:
    wanted: int = 0
    missed_at: float = 0.0
    used_at: float = 0.0
    spares: deque[Prepared] = field(default_factory=deque)


def options_of(spec: SessionSpec, *, through_relay: bool) -> SessionSpec | None:
    """What a context has to be prepared with; None where it is not prepared: for secrets and stored state, which do not
    outlive their session, and for a browser of its own. `through_relay`: its proxy is ours, so `proxy` is too."""
    if spec.storage_state is not None or spec.http_credentials is not None or spec.isolation is Isolation.BROWSER:
        return None
    plain = SessionSpec()
    return replace(
        spec,
        idle_timeout_seconds=plain.idle_timeout_seconds,
        max_lifetime_seconds=plain.max_lifetime_seconds,
        device=None,
        proxy=None if through_relay else spec.proxy,
        egress=plain.egress,
        client_certificates=(),
        max_traffic_bytes=None,
        start_url=None,
        metadata=(),
    )


class Spares:
    """Those of one browser, at most `most`. As many of each kind are kept as were lately missed at once."""

    def __init__(
        self,
        most: int,
        *,
        through_relay: bool,
        prepare: Callable[[SessionSpec], Awaitable[Prepared]],
        usable: Callable[[Prepared], bool],
        dispose: Callable[[Prepared], None],
    ) -> None:
        """`prepare` may raise any `BrowserSessionsError`; `dispose` must not block."""
        self._most = most
        self._through_relay = through_relay
        self._prepare = prepare
        self._usable = usable
        self._dispose = dispose
        self._kinds: OrderedDict[SessionSpec, _Options] = OrderedDict()
        """The most recently used last."""
        self._creates = 0
        self._filling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._background = Background()

    def __repr__(self) -> str:
        return f"<Spares {len(self)} of {len(self._kinds)} kinds>"

    def __len__(self) -> int:
        return sum(len(kind.spares) for kind in self._kinds.values())

    @property
    def context_ids(self) -> set[str]:
        return {spare.context_id for kind in self._kinds.values() for spare in kind.spares}

    @contextlib.contextmanager
    def create(self) -> Iterator[None]:
        """Surrounds a create: nothing is prepared meanwhile."""
        self._creates += 1
        try:
            yield
        finally:
            self._creates -= 1
            self._fill_in(IDLE_S)

    def take(self, spec: SessionSpec) -> Prepared | None:
        """One for these options. If there is none, one more of them will be kept."""
        options = options_of(spec, through_relay=self._through_relay)
        if options is None or self._most == 0:
            return None
        kind = self._kinds.setdefault(options, _Options())
        self._kinds.move_to_end(options)
        if len(self._kinds) > MOST_OPTIONS:
            self._forget(next(iter(self._kinds)))
        kind.used_at = asyncio.get_running_loop().time()
        while kind.spares:
            spare = kind.spares.popleft()
            if self._usable(spare):
                return spare
            self._dispose(spare)
        kind.wanted = min(kind.wanted + 1, self._most)
        kind.missed_at = kind.used_at
        return None

    def keep(self, most: int) -> None:
        """Sets the limit, and disposes of the excess at once."""
        self._most = most
        while len(self) > most:
            self._drop_oldest()
        self._fill_in(IDLE_S)

    def close(self) -> None:
        """The browser is gone, or is about to be."""
        self._most = 0
        self._stop_timer()
        self._background.cancel()
        for options in tuple(self._kinds):
            self._forget(options)

    # -- preparation -----------------------------------------------------------------------------------------------

    def _fill_in(self, seconds: float) -> None:
        self._stop_timer()
        if not self._creates and self._most and self._kinds:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._fill)

    def _fill(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = self._background.run(self._fill_all())

    async def _fill_all(self) -> None:
        self._fade()
        while not self._creates and (options := self._missing()) is not None:
            kind = self._kinds[options]
            try:
                spare = await self._prepare(options)
            except BrowserSessionsError as error:  # a create reports it
                log.debug("browser.no_spare", reason=error.detail)
                kind.wanted = 0
                continue
            if self._kinds.get(options) is not kind or len(kind.spares) >= kind.wanted or len(self) > self._most:
                self._dispose(spare)
                continue
            kind.spares.append(spare)
            while len(self) > self._most:
                self._drop_oldest()
        self._fill_in(FEWER_S)

    def _missing(self) -> SessionSpec | None:
        """The options of the next one to prepare: those used last come first, and displace those used before."""
        room = self._most
        for options, kind in reversed(self._kinds.items()):
            if len(kind.spares) < min(kind.wanted, room):
                return options
            room -= len(kind.spares)
        return None

    def _fade(self) -> None:
        now = asyncio.get_running_loop().time()
        for options, kind in tuple(self._kinds.items()):
            if now - kind.used_at >= FORGET_S:
                self._forget(options)
            elif now - kind.missed_at >= FEWER_S and kind.wanted > 1:
                kind.wanted -= 1
                kind.missed_at = now
                while len(kind.spares) > kind.wanted:
                    self._dispose(kind.spares.popleft())

    def _drop_oldest(self) -> None:
        """Of the kind used least recently."""
        kind = next(kind for kind in self._kinds.values() if kind.spares)
        self._dispose(kind.spares.popleft())

    def _forget(self, options: SessionSpec) -> None:
        for spare in self._kinds.pop(options).spares:
            self._dispose(spare)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

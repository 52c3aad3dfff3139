"""Complete contexts with a page, prepared with options that several creates had, for the next ones that have the same.

`driver/ready_contexts.py` saves the start of a renderer for any options; a spare also saves setting them. Nothing has
been loaded in it, and no session has had it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog
from playwright.async_api import BrowserContext, Page

from browser_sessions.background_tasks import Background
from browser_sessions.domain.errors import BrowserSessionsError
from browser_sessions.domain.session_spec import Isolation, SessionSpec
from browser_sessions.egress.egress import EgressPort

IDLE_S: Final = 0.2
"""Delay between the last create and the next preparation: twice that of `ReadyContexts`, which serves any options."""
FEWER_S: Final = 60.0
"""After this time without a create that found no spare, one less is kept; the last one goes with its options."""
FORGET_S: Final = 600.0
"""Options that no create has had for this time are forgotten."""
MOST_OPTIONS: Final = 32
"""Different options that are remembered; beyond that, those of one create go first, then those used least recently."""

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
class RunningCreates:
    """Of all browsers, which share the processor."""

    number: int = 0


@dataclass(slots=True)
class _Options:
    repeated: bool = False
    """Whether more than one create had them."""
    wanted: int = 0
    missed_at: float = 0.0
    used_at: float = 0.0
    spares: deque[Prepared] = field(default_factory=deque)


def options_of(spec: SessionSpec, *, through_relay: bool) -> SessionSpec | None:
    """What a context has to be prepared with: all but what is set outside the browser or, in the spare, by
    `context_opening`. `through_relay`: its proxy is ours, so `proxy` is too. None where no context is prepared: for
    HTTP credentials and stored origins, which only a new one can be given, and for a browser of its own."""
    if _has_origins(spec.storage_state) or spec.http_credentials or spec.isolation is Isolation.BROWSER:
        return None
    plain = SessionSpec()
    return replace(
        spec,
        idle_timeout_seconds=plain.idle_timeout_seconds,
        max_lifetime_seconds=plain.max_lifetime_seconds,
        device=None,
        geolocation=None,
        permissions=(),
        extra_http_headers=(),
        offline=False,
        storage_state=None,
        proxy=None if through_relay else spec.proxy,
        egress=plain.egress,
        client_certificates=(),
        max_traffic_bytes=None,
        start_url=None,
        metadata=(),
    )


def _has_origins(state: Mapping[str, Any] | None) -> bool:
    """Whether it has anything but cookies."""
    return state is not None and any(value for name, value in state.items() if name != "cookies")


class Spares:
    """Those of one browser, at most `most`. As many of each kind are kept as were lately missed at once; none of a kind
    that does not come again."""

    def __init__(
        self,
        most: int,
        *,
        through_relay: bool,
        creates: RunningCreates,
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
        self._creates = creates
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
        """Surrounds a create: no browser begins to prepare one meanwhile."""
        self._creates.number += 1
        try:
            yield
        finally:
            self._creates.number -= 1
            self._fill_in(IDLE_S)

    def take(self, spec: SessionSpec) -> Prepared | None:
        """One for these options. If there is none, one more of them will be kept."""
        options = options_of(spec, through_relay=self._through_relay)
        if options is None or self._most == 0:
            return None
        if (kind := self._kinds.get(options)) is None:
            kind = self._kinds[options] = _Options()
        else:
            kind.repeated = True
        self._kinds.move_to_end(options)
        if len(self._kinds) > MOST_OPTIONS:
            *earlier, _ = self._kinds
            self._forget(next((each for each in earlier if not self._kinds[each].repeated), earlier[0]))
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
        if self._most and self._kinds:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._fill)

    def _fill(self) -> None:
        if self._creates.number:
            self._fill_in(IDLE_S)
        elif self._filling is None or self._filling.done():
            self._filling = self._background.run(self._fill_all())

    async def _fill_all(self) -> None:
        self._fade()
        while not self._creates.number and (options := self._missing()) is not None:
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
        self._fill_in(IDLE_S if self._creates.number else FEWER_S)

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
            elif not kind.repeated:
                kind.wanted = 0
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

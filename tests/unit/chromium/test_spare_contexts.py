"""How many contexts are prepared for which options, and when they are given up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from browser_sessions.chromium.context import spare_contexts
from browser_sessions.chromium.context.spare_contexts import Prepared, RunningCreates, Spares, options_of
from browser_sessions.domain.egress_rules import EgressRules
from browser_sessions.domain.errors import BrowserTimeout
from browser_sessions.domain.session_spec import (
    ClientCertificate,
    Geolocation,
    HttpCredentials,
    Isolation,
    Proxy,
    SessionSpec,
)
from tests.harness.waiting import until

CERTIFICATE = ClientCertificate("https://a.example", "", "a.example", 443, ssl.create_default_context())
NARROW, WIDE = SessionSpec(viewport_width=300), SessionSpec(viewport_width=3000)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_contexts, "IDLE_S", 0.0)


class Browser:
    """What `Spares` does to its browser."""

    def __init__(self, most: int, creates: RunningCreates | None = None) -> None:
        self.prepared: list[SessionSpec] = []
        self.disposed: list[str] = []
        self.lost: set[str] = set()
        self.failing = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._ids = count(1)
        self.spares = Spares(
            most,
            through_relay=True,
            creates=creates or RunningCreates(),
            prepare=self._prepare,
            usable=lambda spare: spare.context_id not in self.lost,
            dispose=lambda spare: self.disposed.append(spare.context_id),
        )

    async def _prepare(self, options: SessionSpec) -> Prepared:
        await self.gate.wait()
        if self.failing:
            raise BrowserTimeout("It takes too long.")
        self.prepared.append(options)
        unused: Any = None
        return Prepared(unused, f"context-{next(self._ids)}", unused, "page", None)

    def create(self, spec: SessionSpec, times: int = 1) -> list[str | None]:
        """Creates at once: the ids of the contexts that were prepared for them."""
        with self.spares.create():
            spares = [self.spares.take(spec) for _ in range(times)]
            return [None if spare is None else spare.context_id for spare in spares]

    async def learn(self, spec: SessionSpec) -> None:
        """Two creates, one after the other, of which neither finds a spare: one is prepared after the second."""
        assert self.create(spec) == [None]
        await self.idle_after(spec)
        assert self.create(spec) == [None]

    async def idle_after(self, spec: SessionSpec) -> None:
        """The first create with these options."""
        await until(lambda: self.spares._kinds[options(spec)].wanted == 0, what="an idle moment")

    async def has(self, number: int) -> None:
        await until(lambda: len(self.spares) == number and self.idle, what=f"{number} spares")

    @property
    def idle(self) -> bool:
        return self.spares._filling is None or self.spares._filling.done()


def options(spec: SessionSpec) -> SessionSpec:
    found = options_of(spec, through_relay=True)
    assert found is not None
    return found


async def test_nothing_is_prepared_for_options_that_no_other_create_has() -> None:
    browser = Browser(8)
    await browser.learn(WIDE)
    await browser.has(1)
    for width in range(300, 400):
        browser.create(replace(NARROW, viewport_width=width))
        await browser.idle_after(replace(NARROW, viewport_width=width))
    assert browser.prepared == [options(WIDE)]
    assert browser.create(WIDE) == ["context-1"], "options that come again outlast a hundred that do not"


async def test_as_many_are_kept_as_were_missing_at_once() -> None:
    browser = Browser(8)
    assert browser.create(NARROW, 3) == [None] * 3
    await browser.has(3)
    assert None not in browser.create(NARROW, 3)
    await browser.has(3)
    assert browser.create(NARROW, 4)[3] is None
    await browser.has(4)
    await browser.learn(WIDE)
    await browser.has(5)


async def test_the_limit_goes_to_the_options_that_were_used_last() -> None:
    browser = Browser(3)
    browser.create(NARROW, 2)
    await browser.has(2)
    browser.create(WIDE, 2)
    await until(lambda: browser.prepared.count(WIDE) == 2, what="two of the later options")
    await browser.has(3)
    assert browser.disposed == ["context-1"]
    assert None not in [*browser.create(WIDE, 2), *browser.create(NARROW)]


async def test_nothing_is_prepared_during_a_create_in_any_browser() -> None:
    creates = RunningCreates()
    browser, other = Browser(8, creates), Browser(8, creates)
    with other.spares.create():
        browser.create(NARROW, 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert browser.spares._filling is None
    await browser.has(2)


async def test_the_next_one_is_not_prepared_once_a_create_has_begun() -> None:
    browser = Browser(8)
    browser.gate.clear()
    browser.create(NARROW, 2)
    await until(lambda: not browser.idle, what="the preparation begins")
    with browser.spares.create():
        browser.gate.set()
        await browser.has(1)
    await browser.has(2)


async def test_one_that_is_lost_is_not_given_out() -> None:
    browser = Browser(8)
    browser.create(NARROW, 2)
    await browser.has(2)
    browser.lost.add("context-1")
    assert browser.create(NARROW) == ["context-2"]
    assert browser.disposed == ["context-1"]


async def test_options_that_cannot_be_prepared_are_not_tried_again_before_the_next_create() -> None:
    browser = Browser(8)
    browser.failing = True
    browser.create(NARROW, 2)
    await until(lambda: browser.idle and browser.spares._filling is not None, what="the attempt is over")
    browser.failing = False
    await asyncio.sleep(0.01)
    assert browser.prepared == []
    browser.create(NARROW)
    await browser.has(1)


@pytest.mark.parametrize("end", [lambda spares: spares.keep(0), Spares.close], ids=["pressure", "close"])
async def test_one_that_is_ready_too_late_is_disposed_of(end: Callable[[Spares], None]) -> None:
    browser = Browser(8)
    browser.gate.clear()
    browser.create(NARROW, 2)
    await until(lambda: not browser.idle, what="the preparation begins")
    end(browser.spares)
    browser.gate.set()
    await until(lambda: browser.idle, what="the preparation ends")
    assert len(browser.spares) == 0
    assert len(browser.disposed) == len(browser.prepared)
    assert browser.spares._timer is None


async def test_fewer_are_kept_with_time_and_in_the_end_none(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(8)
    browser.create(NARROW, 3)
    await browser.has(3)
    monkeypatch.setattr(spare_contexts, "FEWER_S", 0.01)
    await browser.learn(WIDE)
    await until(lambda: len(browser.spares) == 2, what="one of each is left")
    monkeypatch.setattr(spare_contexts, "FORGET_S", 0.0)
    await until(lambda: len(browser.spares) == 0, what="all options are forgotten")
    assert browser.spares._kinds == {}


async def test_the_number_of_options_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_contexts, "MOST_OPTIONS", 4)
    browser = Browser(0)
    for width in range(300, 320):
        browser.create(SessionSpec(viewport_width=width))
    assert len(browser.spares._kinds) == 0, "without spares nothing is remembered"
    browser = Browser(2)
    browser.gate.clear()
    for width in range(300, 320):
        browser.create(SessionSpec(viewport_width=width))
    assert len(browser.spares._kinds) == 4
    browser.spares.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"idle_timeout_seconds": 1.0, "max_lifetime_seconds": None},
        {"metadata": (("a", "b"),)},
        {"geolocation": Geolocation(1.0, 2.0)},
        {"permissions": ("geolocation",)},
        {"extra_http_headers": (("A", "b"),)},
        {"offline": True},
        {"storage_state": {"cookies": [{"name": "a", "value": "b", "domain": "a.example", "path": "/"}]}},
        {"start_url": "https://example.com/"},
        {"egress": EgressRules(deny=("*",)), "max_traffic_bytes": 5},
        {"client_certificates": (CERTIFICATE,)},
        {"proxy": Proxy("http://proxy.example:3128")},
        {"device": "Desktop Chrome"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_set_later_does_not_matter(changes: dict[str, Any]) -> None:
    assert options_of(replace(NARROW, **changes), through_relay=True) == options_of(NARROW, through_relay=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"storage_state": {"cookies": [], "origins": [{"origin": "https://a.example", "localStorage": []}]}},
        {"http_credentials": HttpCredentials("ada", "secret")},
        {"isolation": Isolation.BROWSER},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_only_a_new_context_can_be_given_is_not_prepared(changes: dict[str, Any]) -> None:
    assert options_of(replace(NARROW, **changes), through_relay=True) is None


def test_without_the_relay_the_proxy_matters() -> None:
    proxied = replace(NARROW, proxy=Proxy("http://proxy.example:3128"))
    assert options_of(proxied, through_relay=False) != options_of(NARROW, through_relay=False)

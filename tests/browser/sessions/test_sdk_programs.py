"""Programs of the kind that users of the SDK write: they run, and leave no session behind. `make check` checks their
types with mypy and pyright."""

from __future__ import annotations

import asyncio
import importlib
import inspect

import anyio
import httpx
import pytest

from tests.harness.paths import TESTS
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.sites.plain_site import Site

pytestmark = pytest.mark.browser

FOLDER = TESTS / "programs"
PRINTED = {
    "asynchronous.title": "Hello 800\n",
    "asynchronous.screenshots": "red.jpg green.jpg blue.jpg white.jpg\n",
    "asynchronous.errors": (
        "page: net::ERR_UNSAFE_PORT\nscript: Error: no\nvalue 42\nended: True\nnot found: 404\nno id\n"
        "invalid: viewport_width\nnobody: Connection refused\n"
    ),
    "asynchronous.keep_login": "user=ann dark\n",
    "asynchronous.watch_events": "console: hello\nended: deleted\n",
    "asynchronous.download": "note.txt some text 9\n",
    "asynchronous.over_cdp": "1 de-CH\n",
    "synchronous.title": "Hello True\n",
    "synchronous.report": (
        "active: [True]\nrow: active 1\nstatuses: {'closed': 1}\nplaces: True ok True\nmetrics: True\n"
    ),
    "synchronous.process_pool": "409 TypeError: no\n2\n",
    "synchronous.threads": "14\n",
    "synchronous.accounts": (
        "forbidden: Not allowed\nrevoked\ntaken\ntoken: client []\n"
        "removed: ann token_type='bearer' expires_in=3600 scope='client'\n"
    ),
    "synchronous.attach": "Mine\nwaiting: True\nclosed deleted\nsession.ended\n",
    "synchronous.behind_a_proxy": "Connection refused\n",
}
"""What each prints, except the web application."""
COSTLY = ("synchronous.process_pool", "asynchronous.screenshots")
"""They start processes or many sessions. Unit tests assert that errors can be pickled and pictures are requested."""


@pytest.fixture
def found(service: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """The service, as programs find it by their environment."""
    monkeypatch.setenv("BROWSER_SESSIONS_URL", service.url)
    monkeypatch.setenv("BROWSER_SESSIONS_API_KEY", ADMIN_KEY)
    return service


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow) if each in COSTLY else each for each in PRINTED]
)
async def test_a_program_prints_what_it_should_and_leaves_no_session(
    name: str, found: Running, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"tests.programs.{name}")
    printed: list[str] = []
    monkeypatch.setattr(module, "print", lambda *words: printed.append(" ".join(map(str, words)) + "\n"), raising=False)
    main = module.main
    arguments = [site.url] if "site" in inspect.signature(main).parameters else []
    if inspect.iscoroutinefunction(main):
        await main(*arguments)
    else:
        await asyncio.to_thread(main, *arguments)
    assert "".join(printed) == PRINTED[name]
    assert not found.inside.pool.registry.sessions


async def test_a_request_that_a_web_application_gives_up_leaves_no_session(found: Running) -> None:
    from tests.programs.asynchronous import web_app

    async with web_app.lifespan(web_app.app):
        transport = httpx.ASGITransport(web_app.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as caller:
            answer = await caller.get("/render", params={"url": "data:text/html,<p>text"})
            assert (answer.status_code, answer.content[:5]) == (200, b"%PDF-")
            assert (await caller.get("/render", params={"url": "http://127.0.0.1:1"})).status_code == 502
            for seconds in (0.01, 0.1, 0.3):  # before, in and after the create
                with anyio.move_on_after(seconds):
                    await caller.get("/render", params={"url": "data:text/html,<p>text"})
    assert not found.inside.pool.registry.sessions


def test_every_program_is_run() -> None:
    programs = {f"{path.parent.name}.{path.stem}" for path in FOLDER.glob("*/*.py")}
    assert programs == {*PRINTED, "asynchronous.web_app"}
    assert len(programs) == 15

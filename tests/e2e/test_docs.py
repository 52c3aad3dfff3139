"""Every code block of the README and the docs runs, in order and as a reader would run it, against one service with
default settings, but that it allows the test's site, which is on loopback, and ends without waiting for sessions.

A block whose first line says `not-run` is for another machine or needs what the tests do not have. A block that follows
another one directly is that one's output.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
import websockets

from browser_sessions import Client
from tests.harness.command_line import bs
from tests.harness.documents import PAGES, Block, blocks
from tests.harness.newcomer import Newcomer, Shell, newcomer, outputs, streams
from tests.harness.nginx import NGINX, nginx
from tests.harness.paths import ROOT, TESTS
from tests.harness.shared import SharedPlaywright
from tests.harness.sites.plain_site import plain_site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

README: Final = ROOT / "README.md"
NODE_CLIENTS: Final = TESTS / "node" / "node_modules"
NOT_RUN: Final = "not-run"
SITE: Final = {
    "/": "<title>Example Domain</title><h1>Example Domain</h1><script>document.cookie = 'visited=1';"
    "localStorage.visited = '1'</script>",
    "/login": "<title>Sign in</title><form action='/account'><input name=user><input name=password type=password>"
    "<button>Sign in</button></form><script>document.forms[0].onsubmit = () => { document.cookie = 'sid=1; path=/' }"
    "</script>",
    "/account": "<title>Account</title><h1></h1><script>document.querySelector('h1').textContent = "
    "document.cookie.includes('sid=') ? 'Welcome' : 'Sign in first'</script>",
    "/upload": '<title>Upload</title><input type=file onchange="document.title = this.files[0].name">',
    "/broken": "<title>Broken</title><script>console.warn('about to fail'); fetch('/missing'); missing()</script>",
    "/report.csv": "a,b\n1,2\n",
}
"""What the docs find at example.com."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def user(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Newcomer]:
    async with newcomer(tmp_path_factory.mktemp("home")) as user, plain_site() as site:
        site.pages |= SITE
        site.headers["/report.csv"] = "Content-Disposition: attachment"
        user.site = site.url
        (user.home / "node_modules").symlink_to(NODE_CLIENTS)
        yield user


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


LONG: Final = {"docs/cli.md", "docs/clients.md", "docs/operations.md", "docs/sdk.md", "docs/guides/files.md"}
"""Each starts services, clients or many commands of its own, of the kinds that the README and the other pages have."""
WITH_BLOCKS: Final = [
    pytest.param(page, marks=[pytest.mark.slow] if named(page) in LONG else []) for page in PAGES if blocks(page)
]
PRELUDE: Final = next(block for block in blocks(ROOT / "docs" / "api.md") if block.language == "bash")
"""`KEY`, `URL` and `api`, which the other pages use."""


@pytest.mark.parametrize("document", WITH_BLOCKS, ids=named)
async def test_every_block_runs_and_prints_what_is_shown(user: Newcomer, document: Path) -> None:
    shell = Shell(user)
    try:
        await shell.run(PRELUDE.text)
        for block in blocks(document):
            try:
                await run(user, shell, document, block)
            except AssertionError as error:
                raise AssertionError(f"{named(document)}:{block.line}: {error}") from error
    finally:
        await shell.close()


async def run(user: Newcomer, shell: Shell, page: Path, block: Block) -> None:
    if block.note == NOT_RUN:
        return
    if block.language == "bash" and page != README:  # the README's have tests of their own
        compare(shell, block, await shell.run(streams(block.text)))
    elif block.language == "python":
        out, err = await user.run(sys.executable, "-c", shell.here(block.text), URL=user.url, KEY=user.key)
        assert err == ""
        compare(shell, block, out)
    elif block.language == "js" and (NODE_CLIENTS / "playwright-core").exists():
        await run_node(user, shell, block)


def compare(shell: Shell, block: Block, out: str) -> None:
    shown = block.output
    if shown is not None and shown.language == "json":
        shell.same(outputs(shown.text), outputs(out))
    elif shown is not None and shown.language == "text" and "…" not in shown.text:
        assert out.strip() == shell.here(shown.text).strip()


async def run_node(user: Newcomer, shell: Shell, block: Block) -> None:
    (user.home / "script.mjs").write_text(shell.here(block.text) + "\nprocess.exit(0)\n", encoding="utf-8")
    async with Client(data_dir=user.data) as client, client.session() as session:
        out, _ = await user.run("node", "script.mjs", CONNECT_URL=session.connect_url)
    compare(shell, block, out)


def shape(value: Any) -> Any:
    """The names in order, with the type of each value."""
    return [(name, type(item).__name__) for name, item in value.items()]


async def test_the_curl_commands_of_the_readme_print_what_is_shown(user: Newcomer) -> None:
    script = next(block.text for block in blocks(README) if "curl" in block.text)
    assert script.count("curl ") == 3
    shown = [json.loads(block.text) for block in blocks(README) if block.language == "json"]
    out, err = await user.run("bash", "-euc", user.here(script))
    created, (state, ended) = json.loads(err), [json.loads(f"{{{part}}}") for part in re.findall(r"\{([^{}]*)\}", out)]
    assert [shape(each) for each in (created, state, ended)] == [shape(each) for each in shown]
    fixed = ("status", "viewport_width", "viewport_height", "user_agent")
    for real, documented in zip((created, state, ended), shown, strict=True):
        assert {name: real[name] for name in fixed} == {name: documented[name] for name in fixed}


async def test_one_line_connects_without_a_create(user: Newcomer, shared_playwright: SharedPlaywright) -> None:
    shown = re.search(r"`(ws://127\.0\.0\.1:8000/v1/browser/connect\?viewport_width=800)`", README.read_text())
    assert shown is not None
    address = user.here(shown.group(1))
    pw = await shared_playwright.take()
    async with Client(data_dir=user.data) as client:
        before = {each.session_id async for each in client.iter_sessions()}
        for browser in (
            await pw.chromium.connect_over_cdp(address, headers={"X-API-Key": user.key}),
            await pw.chromium.connect_over_cdp(f"{address}&api_key={user.key}"),
        ):
            assert await browser.contexts[0].pages[0].evaluate("innerWidth") == 800
            await browser.close()

        async def ended() -> bool:
            new = [each.status async for each in client.iter_sessions() if each.session_id not in before]
            return new == ["closed", "closed"]

        await until(ended, what="both sessions ended with their clients")
        assert user.key not in user.log
        assert str(user.data / "secrets" / "admin_api_key") in user.log


async def test_the_command_line_commands_of_the_readme(user: Newcomer) -> None:
    """Only the first one as a process that finds the service by itself: each takes most of a second to load."""
    create, *others, end = next(
        block.text for block in blocks(README) if "browser-sessions create" in block.text
    ).splitlines()
    out, _ = await user.run("bash", "-euc", create)
    session_id = re.findall(r"ses_[0-9a-f]{32}", out)[0]
    for line in (*others, end):
        here = line.replace("ses_31e6", session_id[:14]).replace("hello.png", f"{user.home}/a.png")
        program, *args = shlex.split(here)
        assert program == ".venv/bin/browser-sessions"
        done = await bs(user.data, *args)
        assert done.code == 0, done.err
        assert line != end or done.out == f"{session_id} closed\n"
    assert (user.home / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_everything_passes_the_nginx_of_the_guide_and_no_secret_is_logged(user: Newcomer, tmp_path: Path) -> None:
    headers = {"X-API-Key": user.key}
    async with (
        nginx(tmp_path, user.url.removeprefix("http://")) as url,
        httpx.AsyncClient(base_url=url, headers=headers) as http,
        websockets.connect(f"ws{url[4:]}/browsers/v1/browser/connect?api_key={user.key}") as socket,
    ):
        assert socket.response is not None
        path = f"/v1/browser/sessions/{socket.response.headers['browser-session-id']}"
        for prefix in ("", "/browsers"):
            async with http.stream("GET", f"{prefix}{path}/events?since=start") as stream:
                assert "event: session.active" in [line async for line in first_lines(stream)]
            assert (await http.get(f"{prefix}/metrics")).status_code == 404
        ticket = (await http.get(f"{path}/details")).json()["connect_url"].partition("ticket=")[2]
        async with websockets.connect(f"ws{url[4:]}{path}/cdp?ticket={ticket}") as client:
            await client.send('{"id": 1, "method": "Browser.getVersion"}')
            assert b"Chrome" in await client.recv(decode=False)
    logged = (tmp_path / "browser-sessions.log").read_text()
    assert logged.count(" 101 ") == 2
    assert not any(secret in logged for secret in (ticket, user.key, "?"))


async def first_lines(stream: httpx.Response) -> AsyncIterator[str]:
    """Until the session is active."""
    async for line in stream.aiter_lines():
        yield line
        if line.startswith("event: session.active"):
            return

"""The commands and scripts of the README, run against a service with default settings."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from browser_sessions import Client
from browser_sessions.client.discovery import announced_url
from tests.harness.paths import ROOT
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

README = (ROOT / "README.md").read_text(encoding="utf-8")
NODE_CLIENTS = Path(__file__).resolve().parents[1] / "node" / "node_modules"
PATIENCE_S = 60.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", README)


def shape(value: Any) -> Any:
    """The names in order, with the type of each value."""
    return [(name, type(item).__name__) for name, item in value.items()]


class Newcomer:
    """A new user's home folder, with no settings."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / ".local" / "share" / "browser-sessions"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("BROWSER_SESSIONS_") and name != "XDG_DATA_HOME"
        } | {"HOME": str(home), "PYTHONPATH": str(ROOT)}
        if "PLAYWRIGHT_BROWSERS_PATH" not in os.environ:  # the downloaded browser is in the real home
            self.environment["PLAYWRIGHT_BROWSERS_PATH"] = str(Path.home() / ".cache" / "ms-playwright")

    async def run(self, *command: str) -> tuple[str, str]:
        """Standard output and standard error of a command. Fails unless it exits with 0."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
            cwd=self.home,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, err.decode()
        return out.decode(), err.decode()


@asynccontextmanager
async def newcomer(home: Path) -> AsyncIterator[tuple[Newcomer, str]]:
    user = Newcomer(home)
    with (home / "serve.log").open("wb") as log:
        serving = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "browser_sessions", "serve", "--port", "0"),
            stdout=log,
            stderr=log,
            env=user.environment,
            cwd=home,
            start_new_session=True,
        )
    try:
        await until(lambda: announced_url(user.data) or serving.returncode is not None, within=PATIENCE_S)
        url = announced_url(user.data)
        assert url is not None, (home / "serve.log").read_text()
        yield user, url
        serving.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await serving.wait() == 0
    finally:
        if serving.returncode is None:
            os.killpg(serving.pid, signal.SIGKILL)
            await serving.wait()


OLD_CURL_OPTIONS = {"-H", "-N", "-OJ", "-X", "-d", "-s"}
"""All known to curl 7.74 of Debian 11. `--json`, for example, was added in 7.82."""


def curl_options(page: str) -> set[str]:
    """Options of `curl`, and of the `api` function that docs/api.md defines with it."""
    fenced = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", page)
    code = "\n".join(text for language, text in fenced if language in ("", "bash"))
    without_values = re.sub(r"""'[^']*'|"[^"]*\"""", "VALUE", code)
    commands = re.findall(r"(?m)\b(?:curl|api) ([^|;)\n]*)", without_values)
    return {word for command in commands for word in command.split() if word.startswith("-")}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_an_old_curl_knows_every_option(page: Path) -> None:
    assert curl_options(page.read_text(encoding="utf-8")) <= OLD_CURL_OPTIONS


def test_curl_options_are_found_in_code_blocks() -> None:
    assert curl_options(README) == {"-H", "-X", "-d", "-s"}
    line = next(line for line in README.splitlines() if "curl" in line and " -d " in line)
    assert "--json" in curl_options(f"```bash\n{line.replace(' -d ', ' --json ')}\n```")


async def test_the_curl_commands_print_what_is_shown(tmp_path: Path) -> None:
    script = next(block for block in blocks("bash") if "curl" in block)
    assert script.count("curl ") == 3
    shown = [json.loads(block) for block in blocks("json")]
    async with newcomer(tmp_path) as (user, url):
        out, err = await user.run("bash", "-euc", script.replace("http://127.0.0.1:8000", url))
    created, (state, ended) = json.loads(err), [json.loads(f"{{{part}}}") for part in re.findall(r"\{([^{}]*)\}", out)]
    assert [shape(each) for each in (created, state, ended)] == [shape(each) for each in shown]
    fixed = ("status", "viewport_width", "viewport_height", "user_agent")
    for real, documented in zip((created, state, ended), shown, strict=True):
        assert {name: real[name] for name in fixed} == {name: documented[name] for name in fixed}


async def test_the_python_script_prints_what_is_shown(tmp_path: Path) -> None:
    script = blocks("python")[0]
    after = README.split("It prints this", 1)[1]
    expected = after.split("```\n", 2)[1]
    async with newcomer(tmp_path) as (user, _):
        out, err = await user.run(sys.executable, "-c", script)
    assert out == expected
    assert err == ""


async def test_playwright_connects_as_shown(tmp_path: Path) -> None:
    script = next(block for block in blocks("python") if "connect_over_cdp" in block)
    async with newcomer(tmp_path) as (user, _):
        out, err = await user.run(sys.executable, "-c", script)
    assert out == "Hello 800\n"
    assert err == ""


@pytest.mark.node
@pytest.mark.skipif(not (NODE_CLIENTS / "playwright-core").exists(), reason="make setup installs the Node clients")
async def test_node_clients_connect_as_shown(tmp_path: Path) -> None:
    scripts = blocks("js")
    assert ["playwright" in script or "puppeteer" in script for script in scripts] == [True, True]
    (tmp_path / "node_modules").symlink_to(NODE_CLIENTS)
    async with newcomer(tmp_path) as (user, _), Client(data_dir=user.data) as client:
        for number, script in enumerate(scripts):
            (tmp_path / f"script{number}.mjs").write_text(script)
            async with client.session() as session:
                user.environment["CONNECT_URL"] = session.connect_url
                out, _ = await user.run("node", str(tmp_path / f"script{number}.mjs"))
            assert out == "Hello\n"


async def test_one_line_connects_without_a_create(tmp_path: Path) -> None:
    shown = re.search(r"`(ws://127\.0\.0\.1:8000/v1/browser/connect\?viewport_width=800)`", README)
    assert shown is not None
    async with (
        newcomer(tmp_path) as (user, url),
        Client(data_dir=user.data) as client,
        async_playwright() as pw,
    ):
        address = shown.group(1).replace("ws://127.0.0.1:8000", url.replace("http", "ws"))
        key = (user.data / "secrets" / "admin_api_key").read_text().strip()
        for browser in (
            await pw.chromium.connect_over_cdp(address, headers={"X-API-Key": key}),
            await pw.chromium.connect_over_cdp(f"{address}&api_key={key}"),
        ):
            assert await browser.contexts[0].pages[0].evaluate("innerWidth") == 800
            await browser.close()

        async def ended() -> bool:
            return [each.status async for each in client.iter_sessions()] == ["closed", "closed"]

        await until(ended, within=PATIENCE_S, what="both sessions ended with their clients")
        assert key not in (tmp_path / "serve.log").read_text().split("Admin key:")[1].split("\n", 1)[1]


async def test_the_command_line_commands(tmp_path: Path) -> None:
    lines = next(block for block in blocks("bash") if "browser-sessions create" in block).splitlines()
    ours = f"{sys.executable} -m browser_sessions"
    async with newcomer(tmp_path) as (user, _):
        outputs = []
        session_id = "ses_31e6"
        for line in lines:
            command = line.replace(".venv/bin/browser-sessions", ours).replace(" --watch", "")
            out, _ = await user.run("bash", "-euc", command.replace("ses_31e6", session_id[:14]))
            if found := re.search(r"ses_[0-9a-f]{32}", out):
                session_id = found.group()
            outputs.append(out)
    assert outputs[-1] == f"{session_id} closed\n"

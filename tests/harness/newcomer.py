"""A new user's home folder with a service of its own, started as the README says."""

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
from typing import Any, Final

from browser_sessions.client.discovery import announced_url
from tests.harness.paths import ROOT
from tests.harness.service import LOCAL_PAGES, devtools
from tests.harness.waiting import until

PATIENCE_S: Final = 60.0
DOCUMENTED_URL: Final = "127.0.0.1:8000"
DOCUMENTED_SITE: Final = "https://example.com"
FIXED: Final = {"status", "type", "role", "detail", "filename", "state", "http_status", "viewport_width"}
"""Fields whose documented values are those that the reader gets."""
DONE: Final = "the block has ended"


class Newcomer:
    """A home folder with no settings. `url`: of its service; `site`: what `example.com` in the docs stands for."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / ".local" / "share" / "browser-sessions"
        self.url = ""
        self.site = DOCUMENTED_SITE
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("BROWSER_SESSIONS_") and name != "XDG_DATA_HOME"
        } | {"HOME": str(home), "PYTHONPATH": str(ROOT)}
        if "PLAYWRIGHT_BROWSERS_PATH" not in os.environ:  # the downloaded browser is in the real home
            self.environment["PLAYWRIGHT_BROWSERS_PATH"] = str(Path.home() / ".cache" / "ms-playwright")
        (home / ".venv").symlink_to(Path(sys.prefix))
        self.environment["PATH"] = f"{home / '.venv' / 'bin'}:{os.environ.get('PATH', os.defpath)}"

    @property
    def log(self) -> str:
        return (self.home / "serve.log").read_text(encoding="utf-8")

    @property
    def key(self) -> str:
        return (self.data / "secrets" / "admin_api_key").read_text(encoding="utf-8").strip()

    def here(self, text: str) -> str:
        """A documented text with the addresses of this service and site."""
        return text.replace(DOCUMENTED_URL, self.url.removeprefix("http://")).replace(DOCUMENTED_SITE, self.site)

    async def run(self, *command: str, **environment: str) -> tuple[str, str]:
        """Standard output and standard error of a command. Fails unless it exits with 0."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment | environment,
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
async def newcomer(home: Path) -> AsyncIterator[Newcomer]:
    user = Newcomer(home)
    await devtools.copy_to(user.data)
    with (home / "serve.log").open("wb") as log:
        serving = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "browser_sessions", "serve", "--port", "0"),
            stdout=log,
            stderr=log,
            env=user.environment
            | {"BROWSER_SESSIONS_EGRESS_ALLOW": LOCAL_PAGES, "BROWSER_SESSIONS_DRAIN_SECONDS": "0"},
            cwd=home,
            start_new_session=True,
        )
    try:
        await until(lambda: announced_url(user.data) or serving.returncode is not None, within=PATIENCE_S)
        url = announced_url(user.data)
        assert url is not None, user.log
        user.url = url
        devtools.keep(user.data)
        yield user
        serving.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await serving.wait() == 0
    finally:
        if serving.returncode is None:
            os.killpg(serving.pid, signal.SIGKILL)
            await serving.wait()


class Shell:
    """A shell in which the blocks of a page run one after the other, as if typed. Ids in the page stand for those of
    this run: `same` notes which."""

    def __init__(self, user: Newcomer) -> None:
        self._user = user
        self._ids: dict[str, str] = {}
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, block: str) -> str:
        """Standard output of the block. Fails if a command in it does."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                "bash",
                "-eu",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._user.environment,
                cwd=self._user.home,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self.here(block)}\nprintf '\\n{DONE}\\n'\n".encode())
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            while (line := (await self._process.stdout.readline()).decode()).strip() != DONE:
                assert line, f"the shell has ended in\n{block}\nafter\n{''.join(lines)}"
                lines.append(line)
        return "".join(lines)

    def here(self, text: str) -> str:
        text = self._user.here(text)
        for documented, real in self._ids.items():
            text = text.replace(documented, real)
        return text

    def same(self, documented: Any, real: Any, where: str = "") -> None:
        """Fails unless both have the same fields and types, and values where those of `FIXED` are shown. `…` in the
        documented value stands for anything."""
        if documented is None or real is None or documented == "…":
            return
        assert type(documented) is type(real) or {type(documented), type(real)} == {int, float}, where
        if isinstance(documented, dict):
            if "…" in documented:
                assert documented.keys() - {"…"} <= real.keys(), where
            else:
                assert documented.keys() == real.keys(), f"{where}: {real}"
            for name in documented.keys() & real.keys():
                self.same(documented[name], real[name], f"{where}.{name}")
        elif isinstance(documented, list) and documented:
            assert real, f"{where} is empty"
            self.same(documented[0], real[0], f"{where}[0]")
        elif isinstance(documented, str) and where.endswith("_id") and not documented.endswith("…"):
            self._ids[documented] = real
        elif where.rpartition(".")[2] in FIXED:
            assert documented == real, where

    async def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()


def outputs(block: str) -> list[Any]:
    """The JSON values of a documented or real output, one after the other."""
    decoder = json.JSONDecoder()
    found, rest = [], block.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


def streams(block: str) -> str:
    """`curl -N` and `--follow` read a stream that does not end: for a second here."""
    return re.sub(r"(?m)^(curl -N .*|browser-sessions .* --follow .*)$", r"timeout 1 \1 || [ $? = 124 ]", block)

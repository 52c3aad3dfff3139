"""A scripted Chromium at the other end of a browser's pipe, and helpers for its tests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from browser_sessions.cdp import Browser
from tests.harness.waiting import until

Reply = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Returns the result of a command, or None to send no response (yet). Raises `Refused`."""


class Refused(Exception):
    """The command fails with this message."""


def wire(message: dict[str, Any]) -> bytes:
    """Encodes as Chromium does: no spaces, `sessionId` last."""
    session_id = message.pop("sessionId", None)
    if session_id is not None:
        message["sessionId"] = session_id
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def info(target_id: str, context_id: str = "C", target_type: str = "page", url: str = "about:blank") -> dict[str, Any]:
    return {
        "targetId": target_id,
        "type": target_type,
        "title": "",
        "url": url,
        "attached": False,
        "canAccessOpener": False,
        "browserContextId": context_id,
    }


class Chromium:
    """Create with `chromium`. Responds `{}` to commands without an entry in `replies`; `Target` methods behave as
    Chromium's do."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []
        self.targets: dict[str, dict[str, Any]] = {}
        self.paused: set[str] = set()
        self.sessions: dict[str, str] = {}
        """Target ids by CDP session."""
        self.auto_attaching: list[str] = []
        """Browser sessions other than our root with auto-attach on."""
        self.gone = False
        """Whether our side has closed its pipe."""
        self.replies: dict[str, Reply] = {
            "Target.attachToBrowserTarget": self._attach_to_browser,
            "Target.attachToTarget": self._attach,
            "Target.detachFromTarget": self._detach,
            "Target.createTarget": self._create,
            "Target.setAutoAttach": self._auto_attach,
            "Target.createBrowserContext": lambda _: {"browserContextId": f"CONTEXT{next(self._numbers)}"},
        }
        self._numbers = itertools.count(1)
        self._reading: asyncio.ReadTransport | None = None
        self._writing: asyncio.WriteTransport | None = None
        self._rest = b""

    async def start(self, browser: Browser) -> None:
        loop = asyncio.get_running_loop()
        messages, our_messages = os.pipe()
        our_commands, commands = os.pipe()
        self._reading, _ = await loop.connect_read_pipe(lambda: _Commands(self), os.fdopen(our_commands, "rb", 0))
        self._writing, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(our_messages, "wb", 0))
        await browser.open(messages, commands, timeout=5)

    def end(self) -> None:
        for transport in (self._reading, self._writing):
            if transport is not None:
                transport.close()

    def received(self, method: str) -> list[dict[str, Any]]:
        return [command for command in self.commands if command["method"] == method]

    def resumed(self) -> list[str]:
        """The CDP sessions whose targets were resumed, in order."""
        return [command["sessionId"] for command in self.received("Runtime.runIfWaitingForDebugger")]

    def write(self, message: bytes) -> None:
        assert self._writing is not None
        self._writing.write(message + b"\0")

    def event(self, method: str, params: dict[str, Any], session_id: str | None = None) -> None:
        self.write(wire({"method": method, "params": params, "sessionId": session_id}))

    def answer(self, command: dict[str, Any], value: dict[str, Any]) -> None:
        self.write(wire({"id": command["id"], "result": value, "sessionId": command.get("sessionId")}))

    def refuse(self, command: dict[str, Any], code: int, text: str) -> None:
        error = {"code": code, "message": text}
        self.write(wire({"id": command["id"], "error": error, "sessionId": command.get("sessionId")}))

    def new_target(self, target: dict[str, Any], *, waiting: bool = True) -> str:
        """Reports a new target and attaches our root and all auto-attaching sessions to it. Returns the root's CDP
        session."""
        self.targets[target["targetId"]] = target
        self.event("Target.targetCreated", {"targetInfo": target})
        if waiting:
            self.paused.add(target["targetId"])
        root = self.attached(target["targetId"], None)
        for level in self.auto_attaching:
            self.attached(target["targetId"], level)
        return root

    def destroy(self, target_id: str) -> None:
        """Reports the target as destroyed; the test reports the detached sessions before."""
        self.event("Target.targetDestroyed", {"targetId": target_id})

    def attached(self, target_id: str, level: str | None) -> str:
        """Chromium auto-attaches `level` to a target."""
        session_id = self.new_session(target_id)
        params = {
            "sessionId": session_id,
            "targetInfo": self.targets[target_id],
            "waitingForDebugger": target_id in self.paused,
        }
        self.event("Target.attachedToTarget", params, level)
        return session_id

    def new_session(self, target_id: str) -> str:
        session_id = f"{next(self._numbers):032X}"
        self.sessions[session_id] = target_id
        return session_id

    def on_data(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\0")
        for message in whole:
            command = json.loads(message)
            self.commands.append(command)
            try:
                value = self.replies.get(command["method"], _nothing)(command)
            except Refused as error:
                self.refuse(command, -32000, str(error))
            else:
                if value is not None:
                    self.answer(command, value)

    def _attach_to_browser(self, command: dict[str, Any]) -> dict[str, Any]:
        session_id = self.new_session("THE-BROWSER")
        params = {
            "sessionId": session_id,
            "targetInfo": info("THE-BROWSER", "", "browser"),
            "waitingForDebugger": False,
        }
        self.event("Target.attachedToTarget", params, command.get("sessionId"))
        return {"sessionId": session_id}

    def _auto_attach(self, command: dict[str, Any]) -> dict[str, Any]:
        level = command.get("sessionId")
        if level is not None and self.sessions.get(level) == "THE-BROWSER":
            self.auto_attaching.append(level)
        return {}

    def _attach(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["params"]["targetId"] not in self.targets:
            raise Refused("No target with given id found")
        return {"sessionId": self.attached(command["params"]["targetId"], command.get("sessionId"))}

    def _detach(self, command: dict[str, Any]) -> dict[str, Any]:
        session_id = command["params"]["sessionId"]
        target_id = self.sessions.pop(session_id, "")
        if session_id in self.auto_attaching:
            self.auto_attaching.remove(session_id)
        self.event(
            "Target.detachedFromTarget", {"sessionId": session_id, "targetId": target_id}, command.get("sessionId")
        )
        return {}

    def _create(self, command: dict[str, Any]) -> dict[str, Any]:
        target_id = f"TARGET{next(self._numbers)}"
        self.new_target(info(target_id, command["params"].get("browserContextId", "C")))
        return {"targetId": target_id}


def _nothing(_command: dict[str, Any]) -> dict[str, Any]:
    return {}


class _Commands(asyncio.Protocol):
    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium

    def data_received(self, data: bytes) -> None:
        self._chromium.on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._chromium.gone = True


async def settled(browser: Browser) -> None:
    """Returns once everything that Chromium wrote has been read, and the commands that followed have been answered."""
    for _ in range(3):
        await browser.root.call("Test.ping", timeout=10)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[tuple[Chromium, Browser]]:
    """An open browser without targets."""
    scripted, browser = Chromium(), Browser(lambda: datetime.now(UTC))
    try:
        await scripted.start(browser)
        yield scripted, browser
    finally:
        browser.close()
        await until(lambda: scripted.gone, what="our side closed its pipe")
        scripted.end()
        await asyncio.sleep(0)

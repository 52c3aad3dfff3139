"""Raw CDP sessions on pages, one a page, over one connection a browser that is opened when the first is wanted.

Beside Playwright and beside the connection that probes the browser: what is watched here (consoles, pictures) comes in
floods at times, and must hold up neither.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from browser_sessions.cdp import CdpClosed, CdpError, Connection
from browser_sessions.model.errors import BrowserGone, BrowserTimeout, PageNotFound

OPEN_SECONDS: Final = 5.0
"""To connect to a browser that runs: 2 ms on an idle machine."""

Handler = Callable[[dict[str, Any]], None]


class PageSession:
    """One page, as Chromium's protocol sees it, or a part of it that is a target of its own: a worker, a frame of
    another site. Commands of all users of the page go through it, in their order."""

    def __init__(self, connection: Connection, page_id: str, session_id: str) -> None:
        self.page_id = page_id
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the page or the browser is gone."""
        self.connection = connection
        self._session_id = session_id
        self._handlers: dict[str, list[Handler]] = {}

    def on(self, method: str, handler: Handler) -> Callable[[], None]:
        """Calls `handler` with the params of every event `method`. Returns what takes it away again."""
        self._handlers.setdefault(method, []).append(handler)

        def off() -> None:
            with contextlib.suppress(KeyError, ValueError):
                self._handlers[method].remove(handler)

        return off

    async def call(self, method: str, params: dict[str, Any] | None = None, *, timeout: float) -> dict[str, Any]:
        """Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`, and `CdpError` when Chromium refuses."""
        if self.closed.done():
            raise PageNotFound("", self.page_id)
        try:
            return await self.connection.call(method, params, session_id=self._session_id, timeout=timeout)
        except CdpClosed:
            raise BrowserGone("The browser went away under the call.") from None
        except TimeoutError:
            raise BrowserTimeout(f"The page did not answer {method} within {timeout:g} s.") from None
        except CdpError:
            if self.closed.done():
                raise PageNotFound("", self.page_id) from None
            raise

    def happened(self, method: str, params: dict[str, Any]) -> None:
        for handler in tuple(self._handlers.get(method, ())):
            handler(params)

    def end(self) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        self._handlers.clear()


class Attachments:
    """The page sessions of one browser, by target id."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._connecting: asyncio.Task[Connection] | None = None
        self._attaching: dict[str, asyncio.Task[PageSession]] = {}
        self._sessions: dict[str, PageSession] = {}
        """By CDP session id."""
        self._heard: set[str] = set()
        self._ended = False

    def __repr__(self) -> str:
        return f"<Attachments {len(self._attaching)} pages>"

    async def page(self, page_id: str, *, timeout: float) -> PageSession:
        """The session on a page, the same for everybody. Raises `PageNotFound`, `BrowserGone`, `BrowserTimeout`."""
        attaching = self._attaching.get(page_id)
        if attaching is None:
            attaching = self._attaching[page_id] = asyncio.create_task(self._attach(page_id))
            attaching.add_done_callback(lambda done: self._attached(page_id, done))
        done, _ = await asyncio.wait({attaching}, timeout=timeout)
        if not done:
            raise BrowserTimeout(f"The page could not be attached to within {timeout:g} s.")
        if attaching.cancelled():
            raise PageNotFound("", page_id)
        return attaching.result()

    def hear(self, method: str) -> None:
        """Passes events `method` on to the sessions they belong to."""
        if (connection := self._now_connected()) is not None and method not in self._heard:
            self._listen(connection, method)
        self._heard.add(method)

    def part(self, of: PageSession, params: dict[str, Any]) -> PageSession:
        """The session on a part of a page that Chromium attached us to, from its `Target.attachedToTarget`."""
        session_id = params["sessionId"]
        session = self._sessions[session_id] = PageSession(of.connection, of.page_id, session_id)
        return session

    def drop(self, page_id: str) -> None:
        """The page is closed."""
        attaching = self._attaching.pop(page_id, None)
        if attaching is None:
            return
        if not attaching.done():
            attaching.cancel()
        elif not attaching.cancelled() and attaching.exception() is None:
            attaching.result().end()

    async def close(self) -> None:
        """Ends everything; safe when the browser is gone already."""
        self._ended = True
        for page_id in tuple(self._attaching):
            self.drop(page_id)
        if self._connecting is not None:
            await asyncio.wait({self._connecting})
            if (connection := self._now_connected()) is not None:
                await connection.close()

    def _now_connected(self) -> Connection | None:
        task = self._connecting
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    async def _connected(self) -> Connection:
        if self._ended:
            raise BrowserGone("The browser has ended.")
        if self._connecting is None or (self._connecting.done() and self._connecting.exception() is not None):
            self._connecting = asyncio.create_task(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Connection:
        connection = await Connection.open(self._endpoint, timeout=OPEN_SECONDS)
        for method in self._heard:
            self._listen(connection, method)
        connection.on("Target.detachedFromTarget", self._detached)
        return connection

    def _listen(self, connection: Connection, method: str) -> None:
        def pass_on(params: dict[str, Any], session_id: str | None) -> None:
            session = self._sessions.get(session_id or "")
            if session is not None:
                session.happened(method, params)

        connection.on(method, pass_on)

    async def _attach(self, page_id: str) -> PageSession:
        try:
            connection = await self._connected()
            answer = await connection.call(
                "Target.attachToTarget", {"targetId": page_id, "flatten": True}, timeout=OPEN_SECONDS
            )
        except CdpError:
            raise PageNotFound("", page_id) from None
        except CdpClosed as error:
            raise BrowserGone(f"The browser went away: {error.reason}") from None
        except TimeoutError:
            raise BrowserTimeout("The browser did not let itself be attached to in time.") from None
        session = PageSession(connection, page_id, answer["sessionId"])
        self._sessions[answer["sessionId"]] = session
        return session

    def _attached(self, page_id: str, task: asyncio.Task[PageSession]) -> None:
        if task.cancelled() or task.exception() is not None:
            if self._attaching.get(page_id) is task:
                del self._attaching[page_id]
        elif self._attaching.get(page_id) is not task:  # dropped meanwhile
            task.result().end()

    def _detached(self, params: dict[str, Any], _session: str | None) -> None:
        session = self._sessions.pop(params["sessionId"], None)
        if session is not None:
            session.end()
            attaching = self._attaching.get(session.page_id)
            if attaching is not None and attaching.done() and attaching.result() is session:
                del self._attaching[session.page_id]

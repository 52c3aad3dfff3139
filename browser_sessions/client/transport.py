"""One HTTP call: sent, retried where that is safe, and its answer or its error."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

import httpx
import stamina

from browser_sessions.client.discovery import Target
from browser_sessions.client.errors import ApiError, Busy, NotReachable, error_from
from browser_sessions.domain.urls import is_loopback

CONNECT_TIMEOUT_S: Final = 5.0
"""A connection takes milliseconds; five seconds is two lost packets."""
ANSWER_TIMEOUT_S: Final = 40.0
"""The service gives a page thirty seconds to answer and says 504 then: wait a little longer than it does."""
RETRY_FOR_S: Final = 60.0
"""How long a call is tried again. A busy service says "in five seconds" or a little more; a restart takes three."""
PAUSE_S: Final = 0.2
"""The first pause after a lost connection; it doubles, with jitter, up to five seconds."""

Query = Mapping[str, str | int | list[str]]


class Transport:
    """Sends calls to one service. `attempts` bounds retries: 1 means none."""

    def __init__(self, target: Target, attempts: int, carrier: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = target.url
        self._attempts = attempts
        headers = {"User-Agent": f"browser-sessions/{version('browser-sessions')}", "Accept": "application/json"}
        if target.api_key is not None:
            headers["X-API-Key"] = target.api_key
        self._http = httpx.AsyncClient(
            base_url=target.url,
            headers=headers,
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=carrier,
            # A proxy named in the environment would see the key, and cannot reach this machine's loopback anyway.
            trust_env=not is_loopback(httpx.URL(target.url).host),
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        answer_within: float = ANSWER_TIMEOUT_S,
        retry: bool = False,
    ) -> httpx.Response:
        """The answer, when it is a good one. With `retry`, a lost connection and a busy service are tried again.

        Raises `NotReachable` and `ApiError`.
        """
        request = self._http.build_request(
            method,
            path,
            json=body,
            params=query,
            headers=headers,
            timeout=httpx.Timeout(answer_within, connect=CONNECT_TIMEOUT_S),
        )
        if not retry or self._attempts <= 1:
            return await self._once(request)
        async for attempt in stamina.retry_context(
            on=_again(time.monotonic() + RETRY_FOR_S),
            attempts=self._attempts,
            timeout=RETRY_FOR_S,
            wait_initial=PAUSE_S,
        ):
            with attempt:
                return await self._once(request)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._http.send(request)
        except httpx.TimeoutException as error:
            raise NotReachable(self._url, _why(error) or "no answer in time") from error
        except httpx.TransportError as error:
            raise NotReachable(self._url, _why(error) or type(error).__name__) from error
        if response.is_success:
            return response
        raise error_from(response)


def decoded(response: httpx.Response) -> Any:
    """The JSON of an answer. Raises `ApiError` when it is none: something else lives at that address."""
    try:
        return response.json()
    except ValueError:
        raise ApiError(
            response.status_code,
            f"{response.request.url} answered, but not as browser-sessions does. Is that the right address?",
            title="Not this API",
        ) from None


def _again(until: float, clock: Callable[[], float] = time.monotonic) -> Callable[[Exception], bool | float]:
    """Whether and when to try again. Never when the service says a moment beyond `until`."""

    def decide(error: Exception) -> bool | float:
        if isinstance(error, Busy) and error.retry_after is not None:
            return error.retry_after if clock() + error.retry_after < until else False
        return isinstance(error, Busy | NotReachable)

    return decide


def _why(error: Exception) -> str:
    """ "Connection refused" rather than "All connection attempts failed", where the system says so."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        inside = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None  # one for each address tried
        cause = inside or cause.__cause__ or cause.__context__
    return str(error)

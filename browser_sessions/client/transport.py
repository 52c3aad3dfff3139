"""HTTP requests with retries, and the mapping of responses to errors."""

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
"""Connecting takes milliseconds; five seconds allow for two lost packets."""
RESPONSE_TIMEOUT_S: Final = 40.0
"""Longer than the service's own timeout: it responds 504 if a page has not responded for thirty seconds."""
RETRY_FOR_S: Final = 60.0
"""Total time for retries. A busy service sends a Retry-After of about five seconds; a restart takes three."""
INITIAL_PAUSE_S: Final = 0.2
"""The first pause after a lost connection; it doubles, with jitter, up to five seconds."""

Query = Mapping[str, str | int | list[str]]


class Transport:
    """Sends requests to one service. `attempts` limits retries: 1 means none."""

    def __init__(self, target: Target, attempts: int, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = target.url
        self._attempts = attempts
        headers = {"User-Agent": f"browser-sessions/{version('browser-sessions')}", "Accept": "application/json"}
        if target.api_key is not None:
            headers["X-API-Key"] = target.api_key
        self._http = httpx.AsyncClient(
            base_url=target.url,
            headers=headers,
            timeout=httpx.Timeout(RESPONSE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport,
            # A proxy from the environment would see the key, and cannot reach this machine's loopback anyway.
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
        timeout: float = RESPONSE_TIMEOUT_S,
        retry: bool = False,
    ) -> httpx.Response:
        """The successful response. `retry`: try again if the connection is lost or the service is busy.

        Raises `NotReachable` and `ApiError`.
        """
        request = self._http.build_request(
            method,
            path,
            json=body,
            params=query,
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT_S),
        )
        if not retry or self._attempts <= 1:
            return await self._once(request)
        async for attempt in stamina.retry_context(
            on=_should_retry(time.monotonic() + RETRY_FOR_S),
            attempts=self._attempts,
            timeout=RETRY_FOR_S,
            wait_initial=INITIAL_PAUSE_S,
        ):
            with attempt:
                return await self._once(request)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._http.send(request)
        except httpx.TimeoutException as error:
            raise NotReachable(self._url, _reason(error) or "no response in time") from error
        except httpx.TransportError as error:
            raise NotReachable(self._url, _reason(error) or type(error).__name__) from error
        if response.is_success:
            return response
        raise error_from(response)


def decoded(response: httpx.Response) -> Any:
    """The JSON of a response. Raises `ApiError` if it is not JSON: another server is at that URL."""
    try:
        return response.json()
    except ValueError:
        raise ApiError(
            response.status_code,
            f"{response.request.url} responded, but not with JSON. Check that the URL is that of browser-sessions.",
            title="Not this API",
        ) from None


def _should_retry(until: float, clock: Callable[[], float] = time.monotonic) -> Callable[[Exception], bool | float]:
    """Whether to retry, or after how many seconds. Not if the service's Retry-After ends after `until`."""

    def decide(error: Exception) -> bool | float:
        if isinstance(error, Busy) and error.retry_after is not None:
            return error.retry_after if clock() + error.retry_after < until else False
        return isinstance(error, Busy | NotReachable)

    return decide


def _reason(error: Exception) -> str:
    """The system's error text, if there is one: "Connection refused" instead of "All connection attempts failed"."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        inner = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None  # one for each address tried
        cause = inner or cause.__cause__ or cause.__context__
    return str(error)

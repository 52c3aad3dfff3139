"""HTTP requests with retries, and the mapping of everything that can go wrong to `ClientError`."""

from __future__ import annotations

import json
import logging
import os
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from browser_sessions.client.concurrency import async_sleep
from browser_sessions.client.discovery import Target
from browser_sessions.client.errors import (
    Busy,
    ClientClosed,
    ClientError,
    InvalidArgument,
    NotReachable,
    NotTrusted,
    UnexpectedResponse,
    error_from,
)
from browser_sessions.client.http_options import HttpOptions, client_arguments, extended, positive_seconds
from browser_sessions.client.paths import Query
from browser_sessions.client.retries import Retries

M = TypeVar("M", bound=BaseModel)
log = logging.getLogger("browser_sessions")

_IDEMPOTENT: Final = frozenset({"GET", "DELETE"})
"""Methods that are retried. A POST whose response was lost may have been executed."""

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""RFC 9110, section 5.5: not in a header's value."""
_PATH: Final = re.compile(r"/(?![/\\])")
"""Anything else may name another host, which would get the key."""


class Transport:
    """Sends requests to one service. `attempts` limits retries: 1 means none. Every method raises `ClientError`."""

    def __init__(
        self,
        target: Target,
        token: str | None,
        attempts: int,
        options: HttpOptions,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.url = target.url
        self.attempts = attempts
        with self._translated():
            self._http = httpx.AsyncClient(transport=transport, **client_arguments(target, token, options))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: AsyncGenerator[bytes] | None = None,
        form: Mapping[str, str] | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        service_time: object = None,
        retry: bool | None = None,
        accept: Collection[int] = (),
    ) -> httpx.Response:
        """The response, if it is successful or its status is one of `accept`. `body` is sent as JSON, `content` as it
        is.

        `service_time`: seconds that the service was given for this; `timeout`: wait exactly so long for the response.
        `retry`: try again if the connection is lost or the service is busy; by default for GET and DELETE.
        """
        request = self._request(method, path, body, content, form, query, headers, timeout, service_time)
        retries = Retries(self.attempts if (method in _IDEMPOTENT if retry is None else retry) else 1)
        while True:
            try:
                return await self._once(request, accept)
            except (Busy, NotReachable) as error:
                pause = retries.pause_after(error)
                if pause is None:
                    raise
                log.info("%s %s: %s Trying again in %.1f s.", method, path, error, pause)
            await async_sleep(pause)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """A successful GET whose content is read in the block. Not retried."""
        request = self._request("GET", path, None, None, None, query, headers, timeout, None)
        with self._translated():
            response = await self._http.send(request, stream=True)
            try:
                if not response.is_success:
                    await response.aread()
                    raise error_from(response)
                yield response
            finally:
                await response.aclose()

    def _request(
        self,
        method: str,
        path: str,
        body: Any,
        content: AsyncGenerator[bytes] | None,
        form: Mapping[str, str] | None,
        query: Query | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
        service_time: object,
    ) -> httpx.Request:
        if not _PATH.match(str(path)):
            raise InvalidArgument(f"path must begin with one slash and name no host, not {path!r:.80}.")
        limits = self._http.timeout
        if timeout is not None:
            limits = httpx.Timeout(positive_seconds("timeout", timeout), connect=limits.connect)
        with self._translated():
            encoded = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
            request = self._http.build_request(
                method,
                path,
                content=encoded if content is None else content,
                data=form,
                params=query,
                headers={"Content-Type": "application/json", **(headers or {})} if body is not None else headers,
                timeout=extended(limits, service_time),
            )
            if wrong := next((name for name, value in request.headers.raw if _CONTROL.search(value)), None):
                raise ValueError(f"the header {wrong.decode()} contains a control character")
            return request

    async def _once(self, request: httpx.Request, accept: Collection[int]) -> httpx.Response:
        with self._translated():
            response = await self._http.send(request)
        if response.is_success or response.status_code in accept:
            return response
        raise error_from(response)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raises httpx's exceptions, and those for values that cannot be encoded, as `ClientError`."""
        try:
            yield
        except ClientError:
            raise
        except httpx.TimeoutException as error:
            raise NotReachable(self.url, _reason(error) or "no response in time") from error
        except (httpx.LocalProtocolError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InvalidArgument(f"The request cannot be sent: {error}") from error
        except httpx.HTTPError as error:
            if self._http.is_closed:
                raise ClientClosed from error
            raise _not_reached(self.url, error) from error
        except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
            raise InvalidArgument(f"The request cannot be sent: {error}") from error
        except RuntimeError as error:
            if self._http.is_closed:
                raise ClientClosed from None
            raise NotReachable(self.url, str(error)) from error  # a connection of an event loop that is closed


def decoded(response: httpx.Response) -> Any:
    """The JSON of a response. Raises `UnexpectedResponse` if it is not JSON."""
    try:
        return response.json()
    except ValueError:
        raise UnexpectedResponse(
            response.status_code,
            f"{response.request.url} responded, but not with JSON. Check that the URL is that of browser-sessions.",
            title="Not this API",
        ) from None


def parsed(model: type[M], response: httpx.Response) -> M:
    """The response as a model. Raises `UnexpectedResponse`."""
    found = decoded(response)
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UnexpectedResponse(
            response.status_code,
            f"{response.request.url} responded with another form of {model.__name__} than this version of the client "
            f"knows ({'.'.join(map(str, first['loc']))}: {first['msg']}).",
            title="Unknown form",
        ) from None


def _not_reached(url: str, error: Exception) -> NotReachable:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NotTrusted(url, getattr(cause, "verify_message", "") or str(cause.strerror or cause))
    return NotReachable(url, _reason(error) or type(error).__name__)


def _causes(error: Exception) -> Iterator[BaseException]:
    """The error and what caused it. Of a group, one for each address tried, the first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        inner = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None
        cause = inner or cause.__cause__ or cause.__context__


def _reason(error: Exception) -> str:
    """The system's error text, if there is one: "Connection refused" instead of "All connection attempts failed"."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno:
            known = cause.errno > 0 and not isinstance(cause, ssl.SSLError)  # the others have numbers of their own
            return os.strerror(cause.errno) if known else str(cause.strerror or cause)
    return str(error)

"""Options of the HTTP connection, and the timeouts of requests."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final, TypedDict

import httpx

from browser_sessions.client.discovery import Target
from browser_sessions.client.errors import InvalidArgument
from browser_sessions.domain.urls import is_loopback

CONNECT_TIMEOUT_S: Final = 5.0
"""Connecting takes milliseconds; five seconds allow for two lost packets."""
RESPONSE_TIMEOUT_S: Final = 40.0
"""Longer than the service's own timeout: it responds 504 if a page has not responded for thirty seconds."""
GRACE_S: Final = 10.0
"""Added to a timeout that the service was given: for the network, and for the service's cleanup after a timeout."""


class HttpOptions(TypedDict, total=False):
    """Passed on to httpx."""

    timeout: float | httpx.Timeout
    """Seconds to wait for a response. By default 40, and 5 to connect. Calls that may take longer on the service
    (`wait_seconds`, `timeout_seconds`) wait longer all the same."""
    verify: ssl.SSLContext | bool
    """TLS: an `ssl.SSLContext`, for example with a private authority's certificate or a client certificate; or False to
    accept any certificate. By default the authorities of `SSL_CERT_FILE` or `SSL_CERT_DIR`, else public ones."""
    proxy: str | httpx.URL | httpx.Proxy | None
    """The URL of a proxy. By default, that of the environment (`HTTPS_PROXY` …), except for this machine itself."""
    headers: Mapping[str, str]
    """Sent with every request."""


def timeouts(given: float | httpx.Timeout | None) -> httpx.Timeout:
    """The default timeouts of a client."""
    if isinstance(given, httpx.Timeout):
        return given
    if given is None:
        return httpx.Timeout(RESPONSE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    seconds = positive_seconds("timeout", given)
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))


def positive_seconds(name: str, value: object) -> float:
    """Raises `InvalidArgument`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidArgument(f"{name} must be a positive number of seconds, not {value!r:.80}.")
    return value


def extended(base: httpx.Timeout, service_time: object) -> httpx.Timeout:
    """`base` for a request for which the service itself may take `service_time` seconds."""
    if isinstance(service_time, bool) or not isinstance(service_time, int | float) or base.read is None:
        return base
    read = max(base.read, service_time + GRACE_S)
    return httpx.Timeout(connect=base.connect, read=read, write=base.write, pool=base.pool)


def client_arguments(target: Target, token: str | None, options: HttpOptions) -> dict[str, Any]:
    """Keyword arguments of an httpx client, except its `transport`. Raises `InvalidArgument`."""
    given_headers, verify = options.get("headers", {}), options.get("verify", True)
    if not isinstance(given_headers, Mapping):
        raise InvalidArgument(f"headers must be a mapping, not {type(given_headers).__name__}.")
    if not isinstance(verify, bool | ssl.SSLContext):
        raise InvalidArgument(f"verify must be a bool or an ssl.SSLContext, not {type(verify).__name__}.")
    headers = {"User-Agent": f"browser-sessions/{version('browser-sessions')}", "Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if target.api_key is not None:
        headers["X-API-Key"] = target.api_key
    url = httpx.URL(target.url)
    return {
        "base_url": target.url,
        "headers": headers | dict(given_headers),
        "timeout": timeouts(options.get("timeout")),
        "verify": _trusted(url.scheme) if verify is True else verify,
        "proxy": options.get("proxy"),
        # A proxy from the environment would see the key, and cannot reach this machine's loopback anyway.
        "trust_env": not is_loopback(url.host),
    }


def _trusted(scheme: str) -> ssl.SSLContext:
    """The authorities of `SSL_CERT_FILE` or `SSL_CERT_DIR`, which httpx itself would not read without `trust_env`, else
    those of certifi; without TLS none, because loading them takes longer than a request. Raises `InvalidArgument`."""
    if scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise InvalidArgument(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {error.strerror or error}.") from error

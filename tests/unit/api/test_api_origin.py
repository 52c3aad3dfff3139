"""Allowed Host headers, trusted proxies and allowed origins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.api.middleware.origin import REMEMBERED, Hosts, apply_forwarded, base_url, check_origin, networks
from browser_sessions.domain.errors import Forbidden

ANYWHERE = "0.0.0.0"  # noqa: S104 - only a string, nothing is bound


@pytest.mark.parametrize(
    ("listen", "public", "allowed", "host", "good"),
    [
        ("127.0.0.1", None, (), "localhost", True),
        ("127.0.0.1", None, (), "localhost:8000", True),
        ("127.0.0.1", None, (), "LOCALHOST", True),
        ("127.0.0.1", None, (), "127.0.0.1:8000", True),
        ("127.0.0.1", None, (), "[::1]:8000", True),
        ("127.0.0.1", None, (), "evil.example", False),
        ("127.0.0.1", None, (), "localhost.evil.example", False),
        ("127.0.0.1", None, (), "127.0.0.1.evil.example", False),
        ("127.0.0.1", None, (), "10.0.0.7", False),
        ("127.0.0.1", None, (), "", False),
        ("127.0.0.1", None, (), "localhost:x", False),
        ("127.0.0.1", None, (), "a@localhost", False),
        ("127.0.0.1", None, (), "localhost/", False),
        ("127.0.0.1", "https://browsers.example.com", (), "browsers.example.com", True),
        ("127.0.0.1", "https://browsers.example.com:8443/x", (), "browsers.example.com:8443", True),
        ("127.0.0.1", "https://browsers.example.com", (), "example.com", False),
        ("127.0.0.1", None, ("lab.example",), "lab.example:9000", True),
        ("127.0.0.1", None, ("*",), "evil.example", True),
        ("127.0.0.1", None, ("*",), "evil example", False),
        (ANYWHERE, None, (), "10.0.0.7:8000", True),
        (ANYWHERE, None, (), "[fd00::7]:8000", True),
        (ANYWHERE, None, (), "localhost", True),
        (ANYWHERE, None, (), "evil.example", False),
        ("::", None, (), "evil.example", False),
        ("browsers.lan", None, (), "browsers.lan", True),
    ],
)
def test_only_the_services_own_hosts_are_allowed(
    listen: str, public: str | None, allowed: tuple[str, ...], host: str, good: bool
) -> None:
    hosts = Hosts(listen, public, allowed)
    assert hosts.allows(host.encode()) is good
    assert hosts.allows(host.encode()) is good, "the cached decision must be the same"


def test_the_cache_of_hosts_is_bounded() -> None:
    hosts = Hosts("127.0.0.1", None, ())
    assert all(hosts.allows(f"localhost:{port}".encode()) for port in range(2_000))
    assert len(hosts._good) == REMEMBERED


@given(st.binary(max_size=80))
def test_the_host_check_accepts_any_bytes(host: bytes) -> None:
    assert Hosts(ANYWHERE, None, ()).allows(host) in (True, False)


def scope(peer: str, headers: dict[str, str], kind: str = "http") -> dict[str, Any]:
    sent = {"host": "inner:8000"} | headers
    return {
        "type": kind,
        "client": (peer, 5000),
        "scheme": "ws" if kind == "websocket" else "http",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }


FORWARDED = {
    "x-forwarded-for": "6.6.6.6, 203.0.113.9, 10.0.0.2",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "browsers.example.com",
}


def test_forwarded_headers_of_a_trusted_proxy_are_applied() -> None:
    seen = scope("10.0.0.1", FORWARDED)
    apply_forwarded(seen, networks(["10.0.0.0/8"]))
    assert seen["client"] == ("203.0.113.9", 0), "the last hop that is not a trusted proxy; earlier ones are unverified"
    assert base_url(seen, None) == "https://browsers.example.com"


def test_forwarded_headers_of_other_peers_are_ignored() -> None:
    seen = scope("203.0.113.9", FORWARDED)
    apply_forwarded(seen, networks(["10.0.0.0/8"]))
    assert seen["client"] == ("203.0.113.9", 5000)
    assert base_url(seen, None) == "http://inner:8000"


def test_a_forwarded_websocket_scheme_is_wss() -> None:
    seen = scope("10.0.0.1", FORWARDED, "websocket")
    apply_forwarded(seen, networks(["10.0.0.1"]))
    assert seen["scheme"] == "wss"
    assert base_url(seen, None) == "https://browsers.example.com"


def test_the_public_url_takes_precedence_over_the_host_header() -> None:
    assert base_url(scope("127.0.0.1", {}), "https://browsers.example.com") == "https://browsers.example.com"


@given(st.text(max_size=100), st.text(max_size=20), st.text(max_size=50))
def test_forwarded_headers_with_any_text_are_handled(chain: str, scheme: str, host: str) -> None:
    seen = scope("10.0.0.1", {})
    for name, value in (("for", chain), ("proto", scheme), ("host", host)):
        seen["headers"].append((f"x-forwarded-{name}".encode(), value.encode("latin-1", "replace")))
    apply_forwarded(seen, networks(["10.0.0.1"]))
    assert seen["scheme"] in ("http", "https")


@pytest.mark.parametrize(
    ("origin", "public", "allowed"),
    [
        ("http://inner:8000", None, True),
        ("HTTP://INNER:8000", None, True),
        ("https://inner:8000", None, True),  # a proxy that terminates TLS without forwarding the scheme
        ("https://browsers.example.com", "https://browsers.example.com/below", True),
        ("http://inner:8000", "https://browsers.example.com", True),
        ("http://inner", None, False),
        ("http://inner:8000.evil.example", None, False),
        ("http://browsers.example.com", "https://browsers.example.com", False),
        ("chrome-extension://inner:8000", None, False),
        ("inner:8000", None, False),
        ("null", None, False),
    ],
)
def test_websockets_are_allowed_from_the_requested_host_and_the_public_url(
    origin: str, public: str | None, allowed: bool
) -> None:
    request_scope = scope("127.0.0.1", {"origin": origin}, "websocket") | {"root_path": "/below"}
    if allowed:
        check_origin(request_scope, public, ticketed=False)
    else:
        with pytest.raises(Forbidden):
            check_origin(request_scope, public, ticketed=False)

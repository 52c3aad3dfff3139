"""Which names the service answers to, and whom it believes about the caller."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.api.middleware.origin import REMEMBERED, Hosts, apply_forwarded, base_url, check_origin, networks
from browser_sessions.domain.errors import Forbidden

ANYWHERE = "0.0.0.0"  # noqa: S104 - a string, nothing listens


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
def test_a_host_is_answered_when_it_is_ours(
    listen: str, public: str | None, allowed: tuple[str, ...], host: str, good: bool
) -> None:
    hosts = Hosts(listen, public, allowed)
    assert hosts.allows(host.encode()) is good
    assert hosts.allows(host.encode()) is good, "the same from memory"


def test_a_caller_who_varies_the_port_fills_no_memory() -> None:
    hosts = Hosts("127.0.0.1", None, ())
    assert all(hosts.allows(f"localhost:{port}".encode()) for port in range(2_000))
    assert len(hosts._good) == REMEMBERED


@given(st.binary(max_size=80))
def test_no_bytes_make_the_check_fail(host: bytes) -> None:
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


def test_a_trusted_proxy_is_believed() -> None:
    seen = scope("10.0.0.1", FORWARDED)
    apply_forwarded(seen, networks(["10.0.0.0/8"]))
    assert seen["client"] == ("203.0.113.9", 0), (
        "the last hop that is no proxy of ours; what stands before it is hearsay"
    )
    assert base_url(seen, None) == "https://browsers.example.com"


def test_nobody_else_is() -> None:
    seen = scope("203.0.113.9", FORWARDED)
    apply_forwarded(seen, networks(["10.0.0.0/8"]))
    assert seen["client"] == ("203.0.113.9", 5000)
    assert base_url(seen, None) == "http://inner:8000"


def test_a_websocket_keeps_its_kind_of_scheme() -> None:
    seen = scope("10.0.0.1", FORWARDED, "websocket")
    apply_forwarded(seen, networks(["10.0.0.1"]))
    assert seen["scheme"] == "wss"
    assert base_url(seen, None) == "https://browsers.example.com"


def test_the_public_url_wins_over_what_was_asked() -> None:
    assert base_url(scope("127.0.0.1", {}), "https://browsers.example.com") == "https://browsers.example.com"


@given(st.text(max_size=100), st.text(max_size=20), st.text(max_size=50))
def test_nothing_a_proxy_passes_on_makes_it_fail(chain: str, scheme: str, host: str) -> None:
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
        ("https://inner:8000", None, True),  # a proxy ends TLS and does not tell
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
def test_a_socket_opens_for_pages_of_the_address_that_was_asked_and_of_the_public_one(
    origin: str, public: str | None, allowed: bool
) -> None:
    asked = scope("127.0.0.1", {"origin": origin}, "websocket") | {"root_path": "/below"}
    if allowed:
        check_origin(asked, public, ticketed=False)
    else:
        with pytest.raises(Forbidden):
            check_origin(asked, public, ticketed=False)

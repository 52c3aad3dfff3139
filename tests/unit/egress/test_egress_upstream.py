"""The `proxy` option as the relay's upstream."""

from __future__ import annotations

import pytest

from browser_sessions.domain.session_spec import Proxy
from browser_sessions.egress.addresses import canonical
from browser_sessions.egress.upstream import InvalidProxy, Upstream


@pytest.mark.parametrize(
    ("server", "meant"),
    [
        ("proxy.example:3128", ("http", "proxy.example", 3128)),
        ("http://Proxy.Example", ("http", "proxy.example", 80)),
        ("https://proxy.example/", ("https", "proxy.example", 443)),
        ("socks5://10.0.0.1", ("socks5", "10.0.0.1", 1080)),
        ("socks5://[::1]:1081", ("socks5", "::1", 1081)),
    ],
)
def test_a_server_in_its_forms(server: str, meant: tuple[str, str, int]) -> None:
    upstream = Upstream.parse(Proxy(server))
    assert (upstream.scheme, upstream.host, upstream.port) == meant


@pytest.mark.parametrize(
    ("proxy", "field", "hint"),
    [
        (Proxy("socks4://proxy.example"), "server", "socks5://"),
        (Proxy("http://"), "server", "http://proxy.example:3128"),
        (Proxy("http://user:secret@proxy.example"), "server", "fields of their own"),
        (Proxy("http://proxy.example/path"), "server", "end with the port"),
        (Proxy("socks5://proxy.example", username="", password="secret"), "username", "1 to 255"),
        (Proxy("socks5://proxy.example", username="u", password="secret" * 99), "password", "1 to 255"),
        (Proxy("http://proxy.example", bypass="a.example, b c"), "bypass", "'b c' must be"),
        (Proxy("http://proxy.example", username="a:b"), "username", "colon"),
    ],
)
def test_what_is_no_proxy_is_said_without_its_password(proxy: Proxy, field: str, hint: str) -> None:
    with pytest.raises(InvalidProxy) as caught:
        Upstream.parse(proxy)
    assert caught.value.field == field
    assert hint in str(caught.value)
    assert "secret" not in str(caught.value)


def test_hosts_that_go_without_it() -> None:
    upstream = Upstream.parse(
        Proxy("http://p.example", bypass=".corp.example, a.example:81;10.0.0.0/8 ,<local>,<-loopback>")
    )

    def bypassed(host: str, port: int = 80) -> bool:
        try:
            address = canonical(host)
        except ValueError:
            address = None
        return upstream.is_bypassed(host, port, address)

    assert all(bypassed(host) for host in ("x.corp.example", "10.2.3.4", "intranet"))
    assert bypassed("a.example", 81)
    assert not any(
        bypassed(host) for host in ("corp.example", "a.example", "b.example", "11.0.0.1", "127.0.0.1", "::1")
    )

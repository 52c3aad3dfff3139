"""The session's own proxy as the next hop."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from browser_sessions.domain.session_spec import Proxy
from browser_sessions.egress import dialer
from browser_sessions.egress.rules import EgressPolicy, Rules
from browser_sessions.egress.upstream import Upstream
from tests.harness.egress import OK, Talk, answering, origin, proxy, request_head

LOGIN = {"username": "user", "password": "secret"}
AUTHORIZATION = b"Proxy-Authorization: Basic " + b64encode(b"user:secret")


def upstream(scheme: str, port: int, *, bypass: str | None = None, host: str = "127.0.0.1") -> Upstream:
    return Upstream.parse(Proxy(f"{scheme}://{host}:{port}", bypass=bypass, **LOGIN))


class HttpProxy:
    """Answers itself what it is asked for."""

    def __init__(self, response: bytes = OK) -> None:
        self.heads: list[bytes] = []
        self.response = response

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await request_head(reader)
            self.heads.append(head)
            tunnel = head.startswith(b"CONNECT ") and self.response == OK
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if tunnel else self.response)


class SocksProxy:
    def __init__(self, *, accepts: bool = True, reply: int = 0) -> None:
        self.asked: list[bytes] = []
        self.accepts = accepts
        self.reply = reply

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(4) == b"\5\2\0\2"
        writer.write(b"\5\2")
        assert await reader.readexactly(2 + 4 + 1 + 6) == b"\1\4user\6secret"
        writer.write(b"\1\0" if self.accepts else b"\1\1")
        _, _, _, kind = await reader.readexactly(4)
        length = (await reader.readexactly(1))[0] if kind == 3 else {1: 4, 4: 16}[kind]
        self.asked.append(await reader.readexactly(length))
        await reader.readexactly(2)
        writer.write(bytes([5, self.reply, 0, 1, 127, 0, 0, 1, 0, 80]))
        await request_head(reader)
        writer.write(OK)


async def test_the_checked_address_is_sent_with_the_credentials() -> None:
    hop = HttpProxy()
    async with origin(hop.talk) as port:
        lookup = {"shop.example": ["127.0.0.9"]}
        async with proxy(upstream=upstream("http", port), lookup=lambda name, _: lookup[name]) as under_test:
            assert (await under_test.get("http://shop.example/a"))[1] == b"ok"
            client = await under_test.tunnel("shop.example", 443)
            await client.close()
    tunnelled, plain, secure = hop.heads
    assert tunnelled.startswith(b"CONNECT 127.0.0.9:80 HTTP/1.1\r\n")
    assert AUTHORIZATION in tunnelled
    assert plain.startswith(b"GET /a HTTP/1.1\r\nHost: shop.example\r\n")
    assert b"Proxy-Authorization" not in plain
    assert secure.startswith(b"CONNECT 127.0.0.9:443 HTTP/1.1\r\n")


async def test_with_the_setting_names_are_sent_unresolved() -> None:
    hop = HttpProxy()
    async with (
        origin(hop.talk) as port,
        proxy(
            upstream=upstream("http", port), upstream_names=True, lookup=lambda *_: pytest.fail("it was resolved")
        ) as under_test,
    ):
        client = await under_test.connect()
        for _ in range(2):
            client.request("http://shop.example/a")
            await client.head()
            assert await client.body(2) == b"ok"
        await client.close()
        client = await under_test.tunnel("shop.example", 443)
        await client.close()
        head, _ = await under_test.get("http://10.0.0.1/")  # an address needs no resolver
        assert head.startswith(b"HTTP/1.1 403 ")
    assert [head.split(b"\r\n")[0] for head in hop.heads] == [
        b"GET http://shop.example/a HTTP/1.1",
        b"GET http://shop.example/a HTTP/1.1",
        b"CONNECT shop.example:443 HTTP/1.1",
    ]
    assert all(AUTHORIZATION in head for head in hop.heads)


@pytest.mark.parametrize(("names", "asked"), [(False, bytes([127, 0, 0, 9])), (True, b"shop.example")])
async def test_socks5_with_a_login(names: bool, asked: bytes) -> None:
    hop = SocksProxy()
    async with (
        origin(hop.talk) as port,
        proxy(upstream=upstream("socks5", port), upstream_names=names, lookup=lambda *_: ["127.0.0.9"]) as under_test,
    ):
        assert (await under_test.get("http://shop.example/"))[1] == b"ok"
    assert hop.asked == [asked]


async def test_https_to_the_upstream_is_verified(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=proxy", "-addext", "subjectAltName=IP:127.0.0.1"]
    await asyncio.to_thread(
        subprocess.run, [*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    hop = HttpProxy()
    async with origin(hop.talk, tls=serving) as port:
        trusted = ssl.create_default_context(cafile=str(certificate))
        async with proxy(upstream=upstream("https", port), tls=trusted) as under_test:
            assert (await under_test.get("http://127.0.0.9/"))[1] == b"ok"
        async with proxy(upstream=upstream("https", port)) as under_test:
            head, body = await under_test.get("http://127.0.0.9/")
            assert head.startswith(b"HTTP/1.1 502 ")
            assert b"certificate" in body.lower()
    assert AUTHORIZATION in hop.heads[0]


async def test_hosts_on_the_bypass_list_go_directly_and_are_checked() -> None:
    async with (
        origin(answering(OK)) as port,
        proxy(upstream=upstream("http", 1, bypass="127.0.0.1,10.0.0.1")) as under_test,
    ):
        assert (await under_test.get(f"http://127.0.0.1:{port}/"))[1] == b"ok"
        head, _ = await under_test.get("http://10.0.0.1/")
        assert head.startswith(b"HTTP/1.1 403 ")


async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def no_socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(3)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize(
    ("scheme", "talk", "words"),
    [
        ("http", HttpProxy(b"HTTP/1.1 407 Login\r\nContent-Length: 0\r\n\r\n").talk, "user name and password"),
        ("http", HttpProxy(b"HTTP/1.1 401 Login\r\nContent-Length: 0\r\n\r\n").talk, "username and password of proxy"),
        (
            "http",
            HttpProxy(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").talk,
            "CONNECT to port 80. With BROWSER",
        ),
        ("http", HttpProxy(b"\0\0\0\0\r\n\r\n").talk, "does not speak its protocol"),
        ("http", hangs, "did not respond"),
        ("socks5", SocksProxy(accepts=False).talk, "user name and password"),
        ("socks5", SocksProxy(reply=5).talk, "connection refused"),
        ("socks5", no_socks, "does not speak SOCKS 5"),
        ("socks5", hangs, "did not respond"),
    ],
    ids=["407", "401", "403", "no-http", "hangs", "socks-login", "socks-refused", "no-socks", "socks-hangs"],
)
async def test_an_upstream_that_fails_is_a_502_with_words(
    scheme: str, talk: Talk, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "CONNECT_S", 0.3 if talk is hangs else 10)
    async with origin(talk) as port, proxy(upstream=upstream(scheme, port)) as under_test:
        head, body = await under_test.get("http://127.0.0.9/")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert words in body.decode()
        assert "secret" not in body.decode()
        client = await under_test.connect()
        client.send(b"CONNECT 127.0.0.9:443 HTTP/1.1\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 502 ")
        await client.close()


async def test_an_upstream_that_refuses_connections() -> None:
    async with proxy(upstream=upstream("http", 1)) as under_test:
        head, body = await under_test.get("http://127.0.0.9/")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"No connection to the session" in body


async def test_a_407_in_the_middle_does_not_reach_the_browser() -> None:
    hop = HttpProxy(b"HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
    async with origin(hop.talk) as port, proxy(upstream=upstream("http", port), upstream_names=True) as under_test:
        head, body = await under_test.get("http://shop.example/")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"user name and password" in body


async def test_an_upstream_is_a_destination_itself() -> None:
    closed = EgressPolicy.of_server(allow=Rules.parse(["127.0.0.9"]))
    hop = HttpProxy()
    async with origin(hop.talk) as port, proxy(closed, upstream=upstream("http", port)) as under_test:
        head, body = await under_test.get("http://127.0.0.9/")
        assert head.startswith(b"HTTP/1.1 403 ")
        assert f"127.0.0.1:{port}".encode() in body
    assert not hop.heads

"""The driver's endpoint accepts an announced connection once, with its secret, and refuses all others before the
upgrade."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from browser_sessions.chromium.driver import driver_endpoint as endpoint_module
from browser_sessions.chromium.driver.driver_endpoint import SECRET_BYTES, LocalEndpoint
from tests.harness.waiting import until

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


class Expected(asyncio.Protocol):
    """The protocol that the endpoint passes the connection to."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.received = b""
        self.lost = 0

    def abort(self) -> bool:
        """Aborts the connection. False if there is none."""
        if self.transport is None:
            return False
        self.transport.abort()
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        assert self.transport is None, "the connection must be passed on once"
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1


@pytest.fixture
async def endpoint() -> AsyncIterator[LocalEndpoint]:
    made = await LocalEndpoint.open()
    yield made
    made.close()
    await until(lambda: not made._handshakes, what="all connections are closed")


class RawConnection:
    """A bare connection to the endpoint."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path

    async def open(self) -> RawConnection:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode() if isinstance(text, str) else text)

    def request(self, path: str, *, origin: str = "", upgrade: bool = True) -> None:
        headers = f"Host: {self.host}:{self.port}\r\n"
        if upgrade:
            headers += f"Connection: Upgrade\r\nUpgrade: websocket\r\n{KEY}"
        if origin:
            headers += f"Origin: {origin}\r\n"
        self.send(f"GET {path} HTTP/1.1\r\n{headers}\r\n")

    async def read_to_end(self) -> bytes:
        """All data until the other side closes."""
        try:
            async with asyncio.timeout(10):
                return await self.reader.read()
        except ConnectionResetError:
            return b""
        finally:
            await self.close()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def test_an_announced_connection_is_passed_on_completely(endpoint: LocalEndpoint) -> None:
    expected = Expected()
    with endpoint.expect(expected) as address:
        assert address.startswith("ws://127.0.0.1:")
        async with connect(address, proxy=None, compression=None, origin=None) as socket:
            assert expected.transport is not None
            await socket.send("{}")
            await until(lambda: len(expected.received) == 8, what="its frame")
            expected.transport.write(b"\x81\x02ok")
            assert await socket.recv() == "ok"
            assert not endpoint._handshakes, "the handshake and its time limit must be over"
            expected.transport.abort()
    await until(lambda: expected.lost == 1, what="the end is reported to the protocol")


async def test_each_secret_is_new_and_long(endpoint: LocalEndpoint) -> None:
    addresses = set()
    for _ in range(10):
        with endpoint.expect(Expected()) as address:
            addresses.add(urlsplit(address).path)
    assert len(addresses) == 10
    assert min(map(len, addresses)) > SECRET_BYTES


@pytest.mark.parametrize("path", ["/", "/json/version", "/devtools/browser/x", "{}x", "{}/", "/x{}", "{}?a=1"])
async def test_every_other_path_gets_404(endpoint: LocalEndpoint, path: str) -> None:
    expected = Expected()
    with endpoint.expect(expected) as address:
        connection = await RawConnection(address).open()
        connection.request(path.format(connection.path))
        response = await connection.read_to_end()
        assert response.startswith(b"HTTP/1.1 404 ")
        assert b"Upgrade:" not in response
        assert connection.path.encode() not in response
        assert expected.transport is None
        again = await RawConnection(address).open()  # the expected connection is still accepted
        again.request(again.path)
        assert b"101 Switching Protocols" in await again.reader.readuntil(b"\r\n")
        assert expected.abort()
        await again.close()


@pytest.mark.parametrize("origin", ["http://127.0.0.1", "https://a.test", "null"])
async def test_a_page_is_rejected_even_with_the_secret(endpoint: LocalEndpoint, origin: str) -> None:
    expected = Expected()
    with endpoint.expect(expected) as address:
        connection = await RawConnection(address).open()
        connection.request(connection.path, origin=origin)
        assert (await connection.read_to_end()).startswith(b"HTTP/1.1 404 ")
        with pytest.raises(InvalidStatus):
            await connect(address, proxy=None, origin=origin)  # type: ignore[arg-type]
    assert expected.transport is None


async def test_a_secret_is_valid_once(endpoint: LocalEndpoint) -> None:
    first = Expected()
    with endpoint.expect(first) as address:
        async with connect(address, proxy=None, compression=None):
            connection = await RawConnection(address).open()
            connection.request(connection.path)
            assert (await connection.read_to_end()).startswith(b"HTTP/1.1 404 ")
            assert first.transport is not None
            first.transport.abort()


async def test_a_secret_is_valid_only_while_its_connection_is_announced(endpoint: LocalEndpoint) -> None:
    expected = Expected()
    with endpoint.expect(expected) as address:
        pass
    with endpoint.expect(Expected()):
        connection = await RawConnection(address).open()
        connection.request(connection.path)
        assert (await connection.read_to_end()).startswith(b"HTTP/1.1 404 ")
    assert expected.transport is None


async def test_concurrent_connections_are_distinguished(endpoint: LocalEndpoint) -> None:
    one, other = Expected(), Expected()
    with endpoint.expect(one) as _, endpoint.expect(other) as address:
        async with connect(address, proxy=None, compression=None):
            assert (one.transport, other.transport is None) == (None, False)
            assert other.transport is not None
            other.transport.abort()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"GET {path}\r\n\r\n",
        b"GET {path} HTTP/1.1\r\nHost\r\n\r\n",
        b"GET " + b"x" * 100_000,
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
async def test_an_invalid_handshake_closes_the_connection(endpoint: LocalEndpoint, data: bytes) -> None:
    expected = Expected()
    with endpoint.expect(expected) as address:
        connection = await RawConnection(address).open()
        connection.send(data.replace(b"{path}", connection.path.encode()))
        assert b"101" not in (await connection.read_to_end())[:20]
        assert expected.transport is None


async def test_a_request_without_an_upgrade_gets_nothing(endpoint: LocalEndpoint) -> None:
    expected = Expected()
    with endpoint.expect(expected) as address:
        connection = await RawConnection(address).open()
        connection.request(connection.path, upgrade=False)
        assert b" 101 " not in await connection.read_to_end()
    assert expected.transport is None


async def test_a_connection_without_a_handshake_times_out(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "HANDSHAKE_S", 0.05)
    expected = Expected()
    with endpoint.expect(expected) as address:
        silent, slow = await RawConnection(address).open(), await RawConnection(address).open()
        slow.send(f"GET {slow.path} HTTP/1.1\r\nHost")
        assert (await silent.read_to_end(), await slow.read_to_end()) == (b"", b"")
    await until(lambda: not endpoint._handshakes, what="both are closed")
    assert expected.transport is None


async def test_connections_beyond_the_limit_are_closed_until_others_end(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "MAX_HANDSHAKES", 3)
    expected = Expected()
    with endpoint.expect(expected) as address:
        waiting = [await RawConnection(address).open() for _ in range(3)]
        await until(lambda: len(endpoint._handshakes) == 3, what="three handshakes are pending")
        surplus = await RawConnection(address).open()
        surplus.request(surplus.path)
        assert await surplus.read_to_end() == b""
        assert expected.transport is None
        await waiting.pop().close()
        await until(lambda: len(endpoint._handshakes) == 2, what="one is closed")
        async with connect(address, proxy=None, compression=None):
            assert expected.abort()
        for each in waiting:
            await each.close()


async def test_the_secret_is_not_in_logs_or_reprs(endpoint: LocalEndpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    expected = Expected()
    logging.getLogger("browser_sessions").info("the log is captured")
    with endpoint.expect(expected) as address:
        path = urlsplit(address).path
        for origin in ("https://a.test", ""):
            connection = await RawConnection(address).open()
            connection.request(path, origin=origin)
            await connection.reader.readuntil(b"\r\n")
            await connection.close()
        assert expected.transport is not None
        names = f"{endpoint!r} {endpoint._handshakes!r} {expected.transport!r}"
        expected.transport.abort()
    assert "the log is captured" in caplog.text
    assert path[1:] not in caplog.text
    assert path[1:] not in names


async def test_closing_aborts_handshakes_and_accepts_no_more() -> None:
    endpoint = await LocalEndpoint.open()
    with endpoint.expect(Expected()) as address:
        connection = await RawConnection(address).open()
        await until(lambda: endpoint._handshakes, what="the handshake is pending")
        endpoint.close()
        assert await connection.read_to_end() == b""
        with pytest.raises(OSError, match="Connect call failed"):
            await RawConnection(address).open()
    await until(lambda: not endpoint._handshakes, what="the handshake is aborted")

"""Client certificates are read with an error for the field that is wrong, and shown by the relay."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from browser_sessions.domain.session_spec import ClientCertificate, Proxy
from browser_sessions.egress.client_certificates import InvalidCertificate, read_client_certificate
from browser_sessions.egress.relay_certificate import RelayCertificate
from browser_sessions.egress.rules import EgressPolicy, Rules
from browser_sessions.egress.upstream import Upstream
from tests.harness.certificates import Authority, Pair, common_name
from tests.harness.egress import OK, Client, Talk, origin, proxy, request_head
from tests.harness.egress import Proxy as RunningProxy
from tests.harness.waiting import PATIENCE_S

SHOP = "https://shop.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def ann(authority: Authority) -> Pair:
    return authority.sign("ann")


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.own.cert))


def read(pair: Pair, at: str = SHOP, **changed: Any) -> ClientCertificate:
    given = pair.for_origin(at, passphrase=None) | changed  # type: ignore[arg-type]
    return read_client_certificate(**{"ignore_https_errors": False} | given)


def refusal(pair: Pair, **changed: Any) -> tuple[str, str]:
    with pytest.raises(InvalidCertificate) as refused:
        read(pair, **changed)
    return refused.value.field, str(refused.value)


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "host", "port", "shown"),
    [
        ("https://shop.example", "shop.example", 443, SHOP),
        ("https://SHOP.example.:443/", "shop.example", 443, SHOP),
        ("https://shop.example:8443", "shop.example", 8443, "https://shop.example:8443"),
        ("https://[::1]:8443", "::1", 8443, "https://[::1]:8443"),
        ("https://bücher.example", "xn--bcher-kva.example", 443, "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_a_host_and_a_port(ann: Pair, given: str, host: str, port: int, shown: str) -> None:
    found = read(ann, given)
    assert (found.host, found.port, found.origin) == (host, port, shown)
    assert "tls" not in repr(found)


def test_text_around_the_blocks_is_left_out(ann: Pair) -> None:
    found = read(
        ann, cert=f"Bag Attributes\n    friendlyName: Ännchen\n{ann.cert.read_text()}", key=f"ü {ann.key.read_text()}"
    )
    assert found.host == "shop.example"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "shop.example",
        "http://shop.example",
        "https://",
        "https://*.shop.example/a",
        "https://shop.example?",
        "https://ann:secret@shop.example",
        "https://shop.example/path",
        "https://\ud800.example",
        "https://\0",
        "https://shop.example#a",
    ],
)
def test_another_address_is_no_origin(ann: Pair, given: str) -> None:
    field, message = refusal(ann, origin=given)
    assert field == "origin"
    assert "secret" not in message


def test_the_field_that_is_wrong_is_named_without_its_content(authority: Authority, ann: Pair) -> None:
    cert, key = ann.cert.read_text(), ann.key.read_text()
    locked = authority.encrypted(ann, "right-passphrase")
    other = authority.sign("bob").key.read_text()
    broken = key.replace(key[60:90], "A" * 30)
    found = [
        refusal(ann, cert="nothing"),
        refusal(ann, cert=key),
        refusal(ann, cert=cert.replace(cert[100:140], "A" * 40)),
        refusal(ann, key="nothing"),
        refusal(ann, key=cert),
        refusal(ann, key=broken),
        refusal(ann, key=key.replace(key[60:62], "ä")),
        refusal(ann, key=key + other),
        refusal(ann, key=other),
        refusal(locked),
        refusal(locked, passphrase="wrong-passphrase"),
        refusal(locked, passphrase="x" * 5000),
        refusal(locked, passphrase="\ud800"),
    ]
    assert [field for field, _ in found] == ["cert"] * 3 + ["key"] * 6 + ["passphrase"] * 4
    assert "belongs to another" in found[8][1]
    assert "must be given" in found[9][1]
    assert found[10][1] == "is wrong"
    material = {*cert.split(), *key.split(), *other.split(), "right-passphrase", "wrong-passphrase"} - {
        "PRIVATE",
        "KEY-----",
    }
    assert [text for _, text in found if any(each in text for each in material if len(each) > 20)] == []
    assert "passphrase" not in " ".join(text for _, text in found)


def test_encrypted_keys_are_read_with_their_passphrase_if_that_is_not_made_too_slow(
    authority: Authority, ann: Pair
) -> None:
    locked = authority.encrypted(ann, "sesame", "-iter", "100000")
    assert read(locked, passphrase="sesame").fingerprint != read(ann).fingerprint
    slow = authority.encrypted(ann, "sesame", "-iter", "1000001")
    assert refusal(slow, passphrase="sesame") == (
        "key",
        "has 1000001 iterations of PBKDF2, at most 1000000 are accepted",
    )
    for options in (("-scrypt",), ("-v1", "PBE-SHA1-3DES")):
        field, message = refusal(authority.encrypted(ann, "sesame", *options), passphrase="sesame")
        assert (field, "must be encrypted with PBKDF2" in message) == ("key", True)
    disguised = slow.key.read_text().replace("ENCRYPTED ", "")
    assert refusal(slow, key=disguised, passphrase="sesame")[0] == "key"


def test_a_key_whose_signatures_would_stop_the_loop_is_refused(tmp_path: Path) -> None:
    for bits, accepted in ((4096, True), (4608, False)):
        pair = Pair(tmp_path / "rsa.pem", tmp_path / "rsa.key")
        # of four primes, which are found forty times as fast as two of twice the length
        key = ("-newkey", f"rsa:{bits}", "-pkeyopt", "rsa_keygen_primes:4", "-nodes")
        made = ["openssl", "req", "-x509", *key, "-subj", "/CN=rsa"]
        subprocess.run([*made, "-keyout", pair.key, "-out", pair.cert], check=True, capture_output=True)
        if accepted:
            read(pair)
        else:
            assert refusal(pair) == ("cert", "has an RSA key of more than 4096 bits")


# -- the relay's own certificate ---------------------------------------------------------------------------------------


def test_each_browser_trusts_a_key_of_its_own_whose_hash_is_that_of_its_certificate(tmp_path: Path) -> None:
    one, other = RelayCertificate(), RelayCertificate()
    assert one.spki_hash != other.spki_hash
    assert len(b64decode(one.spki_hash)) == 32
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    lenient = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lenient.check_hostname, lenient.verify_mode = False, ssl.CERT_NONE
    client, server = lenient.wrap_bio(down, up), one.tls.wrap_bio(up, down, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    der = client.getpeercert(binary_form=True)
    assert der is not None
    (tmp_path / "shown.pem").write_text(ssl.DER_cert_to_PEM_cert(der))
    shown = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "shown.pem", "-pubkey", "-noout"], check=True, capture_output=True
    ).stdout
    spki = b64decode(b"".join(shown.splitlines()[1:-1]))
    assert b64encode(sha256(spki).digest()).decode() == one.spki_hash
    assert client.version() == "TLSv1.3"


# -- the relay ---------------------------------------------------------------------------------------------------------


def client_tls(
    pair: Pair, *ports: int, host: str = "127.0.0.1", **changed: Any
) -> dict[tuple[str, int], ssl.SSLContext]:
    return {(host, port): read(pair, f"https://{host}:{port}", **changed).tls for port in ports}


def says_who(*, body: bytes = b"", closes: bool = False) -> Talk:
    """Responds with the name in the client's certificate and `body`, until the client or it closes the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_head(reader)
            content = common_name(writer.get_extra_info("peercert")).encode() + body
            length = b"" if closes else b"Content-Length: %d\r\n" % len(content)
            writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + content)
            if closes:
                return

    return talk


async def secured(under_test: RunningProxy, port: int, host: str = "127.0.0.1") -> Client:
    """A tunnel, with TLS in it that accepts every certificate."""
    client = await under_test.tunnel(host, port)
    lenient = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lenient.check_hostname, lenient.verify_mode = False, ssl.CERT_NONE
    lenient.set_alpn_protocols(["h2", "http/1.1"])
    async with asyncio.timeout(PATIENCE_S):
        await client.writer.start_tls(lenient)
    assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    return client


async def test_one_connection_carries_many_requests_and_every_byte_is_counted(authority: Authority, ann: Pair) -> None:
    async with (
        origin(says_who(), tls=authority.server_tls()) as port,
        proxy(client_tls=client_tls(ann, port)) as under_test,
    ):
        client = await secured(under_test, port)
        for _ in range(3):
            client.request("https://shop.example/")
            await client.head()
            assert await client.body(3) == b"ann"
        await client.close()
        usage = under_test.port.usage
        assert (usage.connections, usage.hosts[0].host) == (1, "127.0.0.1")
        assert usage.bytes_down > 3 * len(OK) > 0


@pytest.mark.parametrize("closes", [True, False], ids=["ends with the connection", "has a length"])
async def test_a_large_response_arrives_whole(authority: Authority, ann: Pair, closes: bool) -> None:
    body = bytes(range(256)) * 8192
    async with (
        origin(says_who(body=body, closes=closes), tls=authority.server_tls()) as port,
        proxy(client_tls=client_tls(ann, port)) as under_test,
    ):
        client = await secured(under_test, port)
        client.request("https://shop.example/")
        await client.head()
        assert await (client.rest() if closes else client.body(len(body) + 3)) == b"ann" + body
        await client.close()


async def test_another_port_of_the_host_gets_a_tunnel_and_no_certificate(authority: Authority, ann: Pair) -> None:
    tls = authority.server_tls()
    async with (
        origin(says_who(), tls=tls) as port,
        origin(says_who(), tls=tls) as other,
        proxy(client_tls=client_tls(ann, port)) as under_test,
    ):
        client = await under_test.tunnel("127.0.0.1", other)
        direct = ssl.create_default_context(cafile=str(authority.own.cert))
        await client.writer.start_tls(direct, server_hostname="127.0.0.1")
        client.request("https://shop.example/")
        await client.head()
        assert await client.body(6) == b"nobody"
        await client.close()


async def test_an_origin_that_is_not_verified_is_shown_nothing_and_the_browser_a_certificate_it_refuses(
    authority: Authority, ann: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    handshakes: list[str] = []
    shown: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handshakes.append(common_name(writer.get_extra_info("peercert")))

    for host, trusts in (("127.0.0.2", True), ("127.0.0.1", False)):  # a name that the certificate does not have
        if not trusts:
            monkeypatch.delenv("SSL_CERT_FILE")
        async with (
            origin(talk, tls=authority.server_tls(), host=host) as port,
            proxy(client_tls=client_tls(ann, port, host=host)) as under_test,
        ):
            client = await secured(under_test, port, host)
            shown.append(client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            assert await client.rest() == b""
            await client.close()
    assert handshakes == []
    assert shown[0] == shown[1]  # each of these proxies has another certificate that its browser trusts


async def test_a_destination_that_is_denied_or_speaks_no_tls_is_refused(authority: Authority, ann: Pair) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"SSH-2.0-server\r\n")
        await reader.read()

    async with origin(plain) as port, origin(says_who(), tls=authority.server_tls()) as secure:
        contexts = client_tls(ann, port, secure)
        rules = EgressPolicy.of_server(Rules.parse([f"127.0.0.1:{port}"]))
        async with proxy(rules, client_tls=contexts) as under_test:
            for at, status in ((port, b"502"), (secure, b"403")):
                client = await under_test.connect()
                client.send(f"CONNECT 127.0.0.1:{at} HTTP/1.1\r\nHost: 127.0.0.1:{at}\r\n\r\n".encode())
                assert (await client.head()).startswith(b"HTTP/1.1 " + status)
                await client.close()


async def test_what_is_no_tls_in_the_tunnel_does_not_reach_the_origin(authority: Authority, ann: Pair) -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.read())

    async with origin(talk, tls=authority.server_tls()) as port, proxy(client_tls=client_tls(ann, port)) as under_test:
        client = await under_test.tunnel("127.0.0.1", port)
        client.request("http://127.0.0.1/")
        assert b"HTTP/1.1" not in await client.rest()
        await client.close()
    assert [head for head in heads if head] == []


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_through_an_upstream_proxy(authority: Authority, ann: Pair, scheme: str) -> None:
    async def hop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if scheme == "socks5":
            await reader.readexactly(3)
            writer.write(b"\5\0")
            await reader.readexactly(4 + 4 + 2)
            writer.write(bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 80]))
        else:
            assert (await request_head(reader)).startswith(b"CONNECT ")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        there, to = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_copy(reader, to), _copy(there, writer))
        finally:
            to.transport.abort()

    serving = authority.server_tls(asks=False) if scheme == "https" else None
    async with origin(says_who(), tls=authority.server_tls()) as port, origin(hop, tls=serving) as at:
        upstream = Upstream.parse(Proxy(f"{scheme}://127.0.0.1:{at}"))
        async with proxy(upstream=upstream, client_tls=client_tls(ann, port)) as under_test:
            client = await secured(under_test, port)
            client.request("https://shop.example/")
            await client.head()
            assert await client.body(3) == b"ann"
            await client.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()

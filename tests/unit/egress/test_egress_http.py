"""Heads and bodies of HTTP/1 as the proxy reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.egress.http.framing import Chunked, Counted, Malformed, UntilEnd
from browser_sessions.egress.http.heads import RequestHead, ResponseHead

TOKENS = st.text("abcXYZ-_!0", min_size=1, max_size=12)
VALUES = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30)
HEADERS = st.lists(st.tuples(TOKENS, VALUES), max_size=8)


def request(target: str, headers: str = "", method: str = "GET", version: str = "1.1") -> RequestHead:
    return RequestHead.parse(f"{method} {target} HTTP/{version}\r\n{headers}\r\n".encode("latin-1"))


def response(headers: str = "", status: str = "HTTP/1.1 200 OK") -> ResponseHead:
    return ResponseHead.parse(f"{status}\r\n{headers}\r\n".encode("latin-1"))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_malformed(data: bytes) -> None:
    for head in (data, b"GET http://" + data + b"\r\n\r\n", b"HTTP/1.1 " + data + b"\r\n\r\n"):
        for parse in (RequestHead.parse, ResponseHead.parse):
            try:
                parsed = parse(head)
                _ = parsed.framing() if isinstance(parsed, RequestHead) else parsed.framing(b"GET")
            except Malformed:
                continue


@given(HEADERS, st.text("abc/?=&%[]\\@:;", max_size=30))
def test_what_a_request_asks_for_is_kept(headers: list[tuple[str, str]], path: str) -> None:
    lines = "".join(f"{name}:{value}\r\n" for name, value in headers)
    head = request(f"http://shop.example:81/{path}", lines + "Host: other.example\r\n")
    assert (head.target.host, head.target.port) == ("shop.example", 81)
    sent = head.forwarded()
    first, host, _, *rest = sent.decode("latin-1").split("\r\n")
    assert first == f"GET /{path} HTTP/1.1"
    assert host == "Host: shop.example:81"
    assert rest[:-2] == [f"{name}:{value}" for name, value in headers]


@given(
    HEADERS, st.integers(0, 3), st.sampled_from(["\r\n", "\n"]), st.sampled_from(["HTTP/1.1", "HTTP/1.0", "http/1.1"])
)
def test_a_lenient_response_is_passed_on_in_a_form_that_is_read_the_same(
    headers: list[tuple[str, str]], lengths: int, end: str, version: str
) -> None:
    lines = [*(f"{name}:{value}" for name, value in headers), "X: y", " folded", *["content-length: 5"] * lengths]
    head = ResponseHead.parse(end.join([f"{version} 200 OK", *lines, "no colon", "", ""]).encode("latin-1"))
    again = ResponseHead.parse(head.raw)
    assert again.raw == head.raw
    assert (again.status, again.minor_version, again.headers.fields) == (
        head.status,
        head.minor_version,
        head.headers.fields,
    )
    assert type(again.framing(b"GET")) is type(head.framing(b"GET"))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=20), st.data())
def test_chunks_end_where_they_end_however_they_arrive(
    bodies: list[bytes], surplus: bytes, data: st.DataObject
) -> None:
    chunked = b"".join(b"%x;a=b\r\n%s\r\n" % (len(body), body) for body in bodies) + b"0\r\nTrailer: x\r\n\r\n"
    stream, framing, taken = chunked + surplus, Chunked(), 0
    while not framing.done:
        piece = stream[taken : taken + data.draw(st.integers(1, 50))]
        assert piece
        step = framing.take(piece)
        assert step == len(piece) or framing.done
        taken += step
    assert taken == len(chunked)


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"-1\r\n",
        b"5\r\nabcdefg\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"5 5\r\n",
        b"\r\n",
        b"1\r\nab\r\n",
        b"f" * 5000,
        b"0x1\r\na\r\n",
    ],
)
def test_chunks_that_are_none(body: bytes) -> None:
    with pytest.raises(Malformed):
        Chunked().take(body)


def test_trailers_without_end_are_cut() -> None:
    framing = Chunked()
    framing.take(b"0\r\n")
    with pytest.raises(Malformed):
        framing.take(b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 10_000)


@pytest.mark.parametrize(
    "target",
    [
        "/path",
        "*",
        "ftp://a.example/",
        "http://",
        "http://a:b@a.example/",
        "http://a.example%2f@127.0.0.1/",
        "http://127%2e0%2e0%2e1/",
        "http://a.example\\@b.example/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://\uff11\uff12\uff17.0.0.1/".encode().decode("latin-1"),
        "http://a.example/#b",
        "http://" + "a." * 200 + "example/",
    ],
)
def test_targets_that_are_refused_not_interpreted(target: str) -> None:
    with pytest.raises(Malformed):
        request(target)


@pytest.mark.parametrize("target", ["a.example", "a.example:", "http://a.example/", "a@b.example:443", ":443"])
def test_tunnels_to_nowhere(target: str) -> None:
    with pytest.raises(Malformed):
        request(target, method="CONNECT")


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://a.example/ HTTP/1.1\nHost: a\n\n",
        b"GET http://a.example/ HTTP/2.0\r\n\r\n",
        b"GET  http://a.example/ HTTP/1.1\r\n\r\n",
        b"GET http://a.example/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET http://a.example/ HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET http://a.example/ HTTP/1.1\r\nA: b\0\r\n\r\n",
        b"GET http://a.example/ HTTP/1.1\r\nA: b\rc\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ],
)
def test_requests_that_no_browser_sends(head: bytes) -> None:
    with pytest.raises(Malformed):
        RequestHead.parse(head)


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5x\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ],
)
def test_requests_whose_length_is_ambiguous(headers: str) -> None:
    with pytest.raises(Malformed):
        request("http://a.example/", headers, method="POST").framing()


def test_hop_by_hop_headers_stay_here() -> None:
    head = request(
        "http://a.example?q",
        "Connection: close, X-Mine\r\nKeep-Alive: 5\r\nX-Mine: 1\r\nProxy-Authorization: x\r\nUpgrade: h2c\r\nA: b\r\n",
    )
    assert head.forwarded() == b"GET /?q HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nA: b\r\n\r\n"
    assert not head.keep_alive


def test_a_connection_header_takes_no_length_away() -> None:
    head = request("http://a.example/", "Connection: content-length, X\r\nContent-Length: 3\r\nX: 1\r\n", method="POST")
    assert b"Content-Length: 3\r\n" in head.forwarded()
    assert b"X: 1" not in head.forwarded()


def test_an_upgrade_is_passed_on() -> None:
    head = request("http://a.example/s", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n")
    assert head.wants_upgrade
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n" in head.forwarded()


@pytest.mark.parametrize(
    ("headers", "status", "method", "kind"),
    [
        ("Content-Length: 5\r\n", 200, "GET", Counted),
        ("Content-Length: 5\r\n", 200, "HEAD", Counted),
        ("", 204, "GET", Counted),
        ("Content-Length: 5\r\n", 304, "GET", Counted),
        ("Transfer-Encoding: chunked\r\n", 200, "GET", Chunked),
        ("Transfer-Encoding: gzip, chunked\r\n", 200, "GET", Chunked),
        ("Transfer-Encoding: chunked, gzip\r\n", 200, "GET", UntilEnd),
        ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", 200, "GET", Counted),
        ("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", 200, "GET", Counted),
        ("Transfer-Encoding: identity, chunked\r\n", 200, "GET", Chunked),
        ("", 200, "GET", UntilEnd),
    ],
)
def test_how_long_a_response_is(headers: str, status: int, method: str, kind: type) -> None:
    framing = response(headers, f"HTTP/1.1 {status} Some").framing(method.encode())
    assert type(framing) is kind
    if method == "HEAD" or status in (204, 304):
        assert framing.done


def test_a_response_with_chunks_and_a_length_is_passed_on_with_one_of_them() -> None:
    head = response("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")
    assert type(head.framing(b"GET")) is Chunked
    assert b"Content-Length" not in head.raw
    assert not head.keep_alive
    head = response("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "HTTP/1.0 200 OK")
    assert head.raw.endswith(b"200 OK\r\nContent-Length: 5\r\n\r\n")
    assert type(head.framing(b"GET")) is Counted
    with pytest.raises(Malformed):
        response("Content-Length: 5\r\nContent-Length: 6\r\n")
    assert response("Content-Length: 5, 5\r\n").raw.endswith(b"Content-Length: 5\r\n\r\n")


@pytest.mark.parametrize("status", ["ICY 200 OK", "<html>", "HTTP/1.1 2000 OK", "HTTP/1.1 OK", "HTTP/1.1 99 x"])
def test_responses_that_are_none(status: str) -> None:
    with pytest.raises(Malformed):
        response(status=status)

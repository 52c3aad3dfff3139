"""Heads of requests and responses: what they ask for, and how long their bodies are.

Requests are read strictly, since the browser writes them. Responses are read as leniently as Chromium does; one that is
not in the strict form is passed on in the form in which it was understood, so that both agree where it ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from browser_sessions.egress.http.framing import Chunked, Counted, Framing, Malformed, UntilEnd

Fields: TypeAlias = list[tuple[bytes, bytes]]

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELDS: Final = rb"((?:" + _TOKEN + rb":[^\r\n\0]*\r\n)*)\r\n"
_FIELD: Final = re.compile(rb"([^:]+):([^\r]*)\r\n")
_REQUEST: Final = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.([01])\r\n" + _FIELDS)
_RESPONSE: Final = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: [^\r\n\0]*)?\r\n" + _FIELDS)
_LENIENT_STATUS: Final = re.compile(rb"HTTP/(\d)\.(\d) +([0-9]{3})(?:\D.*)?", re.IGNORECASE | re.DOTALL)
_NAME: Final = re.compile(_TOKEN)
_ABSOLUTE: Final = re.compile(rb"http://([^/?#]*)([/?][^#]*)?", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?", re.IGNORECASE | re.ASCII)
MOST_LINES: Final = 1000
"""Of a head: each takes time. Sites send some hundred at most."""
_LONGEST_HOST: Final = 255
"""More than any name in DNS; it is kept for the accounts."""
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"host", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"upgrade"}
)
_OF_THE_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})
_BODILESS: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Target:
    """`name` is the host as it was spelt, for the resolver; `host` is for the rules."""

    name: str
    port: int

    @property
    def host(self) -> str:
        return self.name.removesuffix(".").lower()

    @classmethod
    def parse(cls, authority: bytes, default_port: int | None) -> Self:
        """Raises `Malformed`. Escapes, characters outside ASCII and user names are refused, not interpreted."""
        parts = _AUTHORITY.fullmatch(authority.decode("latin-1"))
        port = int(parts[2]) if parts and parts[2] else default_port
        if parts is None or port is None or not 0 < port < 65536 or len(parts[1]) > _LONGEST_HOST:
            raise Malformed("the host or port is invalid")
        return cls(parts[1].strip("[]"), port)


class Headers:
    """In their order and spelling, and by lower-case name."""

    __slots__ = ("_by_name", "fields")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        by_name: dict[bytes, bytes] = {}
        for name, value in fields:
            lower = name.lower()
            by_name[lower] = by_name[lower] + b"," + value if lower in by_name else value
        self._by_name = by_name

    def values(self, name: bytes) -> list[bytes]:
        """The comma-separated values of all headers of that (lower-case) name, in lower case."""
        found = self._by_name.get(name)
        if found is None:
            return []
        if b"," not in found:
            return [value] if (value := found.strip(b" \t").lower()) else []
        return [part for item in found.lower().split(b",") if (part := item.strip(b" \t"))]

    def serialised(self, first: bytes) -> bytes:
        return b"\r\n".join([first, *[name + b":" + value for name, value in self.fields], b"", b""])


@dataclass(slots=True)
class RequestHead:
    method: bytes
    target: Target
    authority: bytes
    path: bytes
    """Empty for CONNECT."""
    minor_version: int
    headers: Headers
    wants_upgrade: bool
    keep_alive: bool

    @classmethod
    def parse(cls, head: bytes) -> Self:
        """`head` ends with its empty line. Raises `Malformed`."""
        _check_lines(head)
        parts = _REQUEST.fullmatch(head)
        if parts is None:
            raise Malformed("this is no HTTP request")
        method, target, minor, fields = parts.groups()
        if method == b"CONNECT":
            authority, path, port = target, b"", None
        elif absolute := _ABSOLUTE.fullmatch(target):
            authority, path, port = absolute[1], absolute[2] or b"/", 80
            path = b"/" + path if path.startswith(b"?") else path
        else:
            raise Malformed("this is a proxy: requests need a complete http:// address, or CONNECT")
        headers, minor_version = Headers(_FIELD.findall(fields)), int(minor)
        connection = headers.values(b"proxy-connection") + headers.values(b"connection")
        return cls(
            method,
            Target.parse(authority, port),
            authority,
            path,
            minor_version,
            headers,
            wants_upgrade=b"upgrade" in connection and minor_version == 1,
            keep_alive=b"close" not in connection if minor_version else b"keep-alive" in connection,
        )

    def framing(self) -> Framing:
        """Raises `Malformed` where two programs could disagree about the length."""
        codings = self.headers.values(b"transfer-encoding")
        lengths = self.headers.values(b"content-length")
        if codings:
            if codings != [b"chunked"] or lengths or not self.minor_version:
                raise Malformed("the body's length is ambiguous")
            return Chunked()
        return Counted(_length(lengths) if lengths else 0)

    def forwarded(self, *, proxy_authorization: bytes | None = None, to_proxy: bool = False) -> bytes:
        """The head for the origin, or with the complete address for another proxy."""
        dropped = _HOP_BY_HOP
        if named := self.headers.values(b"connection"):
            dropped = dropped.union(named) - _OF_THE_BODY
        address = b"http://" + self.authority + self.path if to_proxy else self.path
        connection = b"Upgrade" if self.wants_upgrade else b"keep-alive" if self.keep_alive else b"close"
        lines = [
            b"%s %s HTTP/1.%d" % (self.method, address, self.minor_version),
            b"Host: " + self.authority,
            b"Connection: " + connection,
        ]
        if proxy_authorization is not None:
            lines.append(b"Proxy-Authorization: " + proxy_authorization)
        for name, value in self.headers.fields:
            lower = name.lower()
            if lower not in dropped or (lower == b"upgrade" and self.wants_upgrade):
                lines.append(name + b":" + value)
        return b"\r\n".join(lines) + b"\r\n\r\n"


@dataclass(slots=True)
class ResponseHead:
    status: int
    minor_version: int
    headers: Headers
    raw: bytes
    """What the browser is sent."""
    keep_alive: bool

    @classmethod
    def parse(cls, head: bytes) -> Self:
        """Raises `Malformed`."""
        _check_lines(head)
        if parts := _RESPONSE.fullmatch(head):
            status, minor_version, headers, raw = int(parts[2]), int(parts[1]), Headers(_FIELD.findall(parts[3])), head
        else:
            status, minor_version, headers, raw = _lenient(head)
        lengths = headers.values(b"content-length")
        codings = _codings(headers)
        chunked = minor_version and b"chunked" in codings  # all others Chromium ignores, in HTTP/1.0 this one too
        if len(set(lengths)) > 1:
            raise Malformed("the response has several lengths")
        # Two programs could disagree about the length, so it is said once, and nothing follows on this connection.
        ambiguous = len(lengths) > 1 or bool(codings and (lengths or not minor_version))
        if ambiguous:
            dropped = {b"content-length"} if chunked else _OF_THE_BODY
            fields = [(name, value) for name, value in headers.fields if name.lower() not in dropped]
            if lengths and not chunked:
                fields.append((b"Content-Length", b" " + lengths[0]))
            headers = Headers(fields)
            raw = headers.serialised(raw[: raw.index(b"\r\n")])
        connection = headers.values(b"connection")
        keep_alive = b"close" not in connection if minor_version else b"keep-alive" in connection
        return cls(status, minor_version, headers, raw, keep_alive and not ambiguous)

    def framing(self, method: bytes) -> Framing:
        """Raises `Malformed`."""
        if method == b"HEAD" or self.status in _BODILESS or self.status < 200:
            return Counted(0)
        if codings := _codings(self.headers):
            return Chunked() if codings[-1] == b"chunked" and self.minor_version else UntilEnd()
        if lengths := self.headers.values(b"content-length"):
            return Counted(_length(lengths))
        return UntilEnd()


def _codings(headers: Headers) -> list[bytes]:
    """Of a response's body. `identity` is none."""
    return [coding for coding in headers.values(b"transfer-encoding") if coding != b"identity"]


def _check_lines(head: bytes) -> None:
    if head.count(b"\n") > MOST_LINES:
        raise Malformed(f"it has more than {MOST_LINES} headers")


def _length(lengths: list[bytes]) -> int:
    if len(set(lengths)) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise Malformed("the body's length is invalid")
    return int(lengths[0])


def _lenient(head: bytes) -> tuple[int, int, Headers, bytes]:
    if b"\0" in head:
        raise Malformed("the response's head has a NUL")
    first, *lines = head.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    parts = _LENIENT_STATUS.fullmatch(first)
    if parts is None:
        raise Malformed("the response is no HTTP/1")
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + b" " + line.strip(b" \t"))
        elif colon and _NAME.fullmatch(name):
            fields.append((name, value))
    minor_version = 1 if (parts[1], parts[2]) >= (b"1", b"1") else 0
    status_line = b"HTTP/1.%d %s" % (minor_version, first[parts.start(3) :])
    headers = Headers(fields)
    return int(parts[3]), minor_version, headers, headers.serialised(status_line)

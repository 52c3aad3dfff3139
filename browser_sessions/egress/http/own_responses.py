"""Responses of the proxy's own: a page for a plain request, a text for a refused tunnel."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from browser_sessions.egress.addresses import THIS_MACHINE
from browser_sessions.egress.rules import Refusal

ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

_TITLES: Final = {
    400: "Bad Request",
    403: "Forbidden",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    504: "Gateway Timeout",
}
_ERRORS: Final = {
    400: "http_request_error",
    403: "http_request_denied",
    408: "http_request_error",
    431: "http_request_error",
    502: "destination_unavailable",
    504: "connection_timeout",
}
PROXY_NAME: Final = "browser-sessions"
"""In the header `Proxy-Status` (RFC 9209). A site can send the same, but not an `id` that is known."""
_ID: Final = re.compile(rf"{re.escape(PROXY_NAME)};.* id=([0-9a-f]{{32}})")
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em}}</style>
<h1>{title}</h1>{paragraphs}</html>
"""


def response(status: int, title: str, lines: list[str], response_id: str, *, method: bytes, keep_alive: bool) -> bytes:
    """`lines` are plain text, one paragraph each. `response_id` is 32 hexadecimal digits."""
    if method == b"CONNECT":
        kind, body = "text/plain", "\n".join([title, *lines, ""]).encode()
    else:
        paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
        kind, body = "text/html", _PAGE.format(title=escape(title), paragraphs=paragraphs).encode()
    head = (
        f"HTTP/1.1 {status} {_TITLES[status]}\r\n"
        f"Proxy-Status: {_proxy_status(status, [title, *lines])}; id={response_id}\r\n"
        f"Content-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n"
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    ).encode()
    return head if method == b"HEAD" else head + body


def response_id_of(proxy_status: str) -> str | None:
    """What a response that may be a site's says in this header."""
    found = _ID.fullmatch(proxy_status)
    return None if found is None else found[1]


def _proxy_status(status: int, lines: list[str]) -> str:
    """The last line is the most specific."""
    details = "".join(each if " " <= each <= "~" and each not in '"\\' else "?" for each in lines[-1])
    return f'{PROXY_NAME}; error={_ERRORS[status]}; details="{details}"'


def explanation(refusal: Refusal) -> list[str]:
    """What was denied, by which rule, and where it can be allowed."""
    host = f"[{refusal.host}]" if ":" in refusal.host else refusal.host
    means = f" ({refusal.address})" if refusal.address not in (None, refusal.host) else ""
    if refusal.setting is None:
        remedy = "No setting allows it."
    elif "deny" in refusal.setting.lower():
        remedy = f"To allow it, remove this rule from {refusal.setting}."
    else:
        flag = " (serve --egress-allow)" if refusal.setting == "BROWSER_SESSIONS_EGRESS_ALLOW" else ""
        machine = f", or {THIS_MACHINE} for all of this machine" if "(loopback)" in refusal.rule else ""
        remedy = f"To allow it, add {host}:{refusal.port} to {refusal.setting}{flag}{machine}."
    return [
        f"The egress rules of this session deny {host}:{refusal.port}{means}.",
        f"Rule: {refusal.rule}.",
        remedy,
    ]

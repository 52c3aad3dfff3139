"""Odd messages and frames for every WebSocket of the service, listed and random."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.frames import Opcode

from tests.harness.clients.raw_websocket import CLOSED, RawWebSocket
from tests.harness.clients.ws_frames import BROKEN, masked
from tests.harness.service import Running

SESSION: Final = "/v1/browser/sessions/{session_id}"
ROUTES: Final = {
    f"{SESSION}/cdp": False,
    f"{SESSION}/cdp/devtools/browser/{{id}}": False,
    f"{SESSION}/cdp/devtools/page/{{page_id}}": False,
    f"{SESSION}/live": False,
    "/devtools/page/{page_id}": False,
    "/v1/browser/connect": True,
    "/": True,
    "/devtools/browser/{id}": True,
}
"""By address: whether each connection creates a session."""
NUMBERS: Final = ["1e999", "-1e999", "NaN", "Infinity", "9" * 400, "-9223372036854775809", "1e-400", "0.1", "-0"]
NAMES: Final = [
    *("id", "method", "params", "sessionId", "type", "action", "x", "y", "seq", "page_id", "text", "points", "url"),
    *("key", "code", "delta", "choice", "modifiers", "max_width", "max_fps", "button", "targetId", "flatten"),
]
WORDS: Final = [
    *("Target.getTargets", "Target.attachToTarget", "Browser.getVersion", "Page.enable", "Runtime.evaluate", "No.such"),
    *("ack", "view", "mouse", "wheel", "key", "text", "touch", "go", "choose", "dialog", "navigate", "ping", "copy"),
    *("move", "down", "up", "start", "end", "left", "", "\0", "\ud800", "x" * 10_000),
]
TEXTS: Final = [
    *("", " ", "null", "true", '"x"', "[]", "{}", "{", "\0", "[" * 100_000, '{"a":' * 50_000, '{"id":1,"method":5}'),
    *(f'{{"id":{number},"method":"Browser.getVersion"}}' for number in NUMBERS),
    *(f'{{"type":"ack","seq":{number}}}' for number in NUMBERS),
    *(f'{{"type":"mouse","action":"move","x":{number},"y":{number}}}' for number in NUMBERS),
    *(f'{{"type":"view","max_width":{number},"max_fps":{number}}}' for number in NUMBERS),
    '{"id":1,"method":"Target.getTargets","params":[]}',
    '{"id":1,"method":"Target.getTargets","sessionId":{}}',
    '{"id":1,"id":2,"method":"Browser.close","method":"Browser.getVersion"}',
    '{"id":1,"method":"Runtime.evaluate","params":{"expression":"\\ud800"}}',
    '{"id":1,"method":"Target.attachToTarget","params":' + '{"a":' * 500 + "1" + "}" * 500 + "}",
    '{"type":"touch","action":"start","points":[[],{},null,1]}',
    '{"type":["mouse"]}',
]
FRAMES: Final = {
    **{name: frame for name, (frame, _code) in BROKEN.items()},
    "long ping": BROKEN["long ping"][0] + bytes(126),  # some read it whole before they refuse it
    "binary": masked(2, b"\0\1\2"),
    "bad UTF-8": masked(1, b'{"id":1,"method":"\xff\xfe"}'),
    "half a character": masked(1, b"\xc3"),
    "a surrogate": masked(1, b"\xed\xa0\x80"),
    "empty fragments": b"".join(masked(0 if n else 1, b"", fin=False) for n in range(1000)),
    "close without code": masked(8, b""),
    "close of one byte": masked(8, b"\x03"),
    "close with an odd code": masked(8, b"\xff\xff"),
    "close with bad UTF-8": masked(8, b"\x03\xe8\xff"),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(10_000),
}
ODD_CODES: Final = {1002, 1003, 1005, 1007, 1009, CLOSED, 1000, 0xFFFF}
"""With which an odd frame may be answered; the last two are echoes of the client's own codes."""


@dataclass
class Odd:
    sent: int = 0
    closed: Counter[int] = field(default_factory=Counter)
    """Close codes."""


async def listed(service: Running, path: str, created: dict[str, Any], seen: Odd) -> None:
    """All texts on one connection, then each frame on its own; two frames if each connection creates a session."""
    texts = [masked(1, text.encode("utf-8", "surrogatepass")) for text in TEXTS]
    frames = list(FRAMES.values())[: 2 if ROUTES[path] else None]
    await _send(service, path, created, [*texts, *frames], seen)


async def randomly(service: Running, path: str, created: dict[str, Any], seed: int, count: int, seen: Odd) -> None:
    """Random messages and frames: mostly JSON that the service looks into."""
    chance = random.Random(seed)
    await _send(service, path, created, [_any(chance) for _ in range(count)], seen)


async def _send(service: Running, path: str, created: dict[str, Any], pieces: list[bytes], seen: Odd) -> None:
    ids = {"session_id": created["session_id"], "page_id": await service.first_page(created["session_id"]), "id": "any"}
    headers = {"X-API-Key": service.http.headers["X-API-Key"]}
    socket: RawWebSocket | None = None
    for piece in pieces:
        if socket is None:
            socket = await RawWebSocket.open(service.url + path.format(**ids), headers)
        try:
            code = await asyncio.wait_for(socket.send(piece), 30)
        except TimeoutError:
            raise AssertionError(f"no response to a ping after {piece[:100]!r} ({seen.sent})") from None
        seen.sent += 1
        if code is not None:
            seen.closed[code] += 1
            await socket.close()
            socket = None
    if socket is not None:
        await socket.close()


def _any(chance: random.Random) -> bytes:
    if chance.random() < 0.1:
        return chance.choice(list(FRAMES.values()))
    if chance.random() < 0.1:
        opcode = chance.choice([Opcode.TEXT, Opcode.BINARY, Opcode.PONG, Opcode.CONT])
        fin = opcode is Opcode.PONG or chance.random() < 0.7
        return masked(opcode, chance.randbytes(chance.choice([0, 1, 125])), fin=fin)
    text = _json(chance, 3)
    cut = chance.randrange(len(text)) if text and chance.random() < 0.1 else len(text)
    return masked(1, text[:cut].encode("utf-8", "surrogatepass"))


def _json(chance: random.Random, depth: int) -> str:
    kind = chance.random() if depth else 1.0
    if kind < 0.6 or depth == 3:
        names = chance.sample(NAMES, chance.randrange(1, 6))
        return "{" + ",".join(f"{json.dumps(name)}:{_json(chance, depth - 1)}" for name in names) + "}"
    if kind < 0.7:
        return "[" + ",".join(_json(chance, depth - 1) for _ in range(chance.randrange(4))) + "]"
    if chance.random() < 0.4:
        return chance.choice([*NUMBERS, "null", "true", str(chance.randrange(-5, 500))])
    return json.dumps(chance.choice(WORDS), ensure_ascii=chance.random() < 0.5)

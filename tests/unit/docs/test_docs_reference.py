"""The tables of docs/api.md have every problem and every close code of the code, and no other."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.api.errors import _ROUTER, TABLE
from browser_sessions.auth.credential_leases import REVOKED
from browser_sessions.cdp.websocket import TOO_SLOW
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.close_codes import PING_TIMEOUT, close_code
from browser_sessions.domain.session import EndReason
from tests.harness.documents import codes, rows
from tests.harness.fakes.fake_node import assemble
from tests.harness.paths import ROOT

NEVER_RAISED: Final = "unavailable"
"""Only its children are."""
CLOSES: Final = frozenset({"close", "_close", "FrameError", "Disconnected"})
NAMED: Final = {"TOO_SLOW": TOO_SLOW, "PING_TIMEOUT": PING_TIMEOUT}
WITHOUT_CLIENTS: Final = {EndReason.START_FAILED, EndReason.NODE_LOST}
OF_UVICORN: Final = (1011, "keepalive ping timeout")


@functools.cache
def calls_by_name() -> dict[str, list[ast.Call]]:
    """Except those to Playwright's driver, which is no client."""
    found: dict[str, list[ast.Call]] = {}
    for path in set((ROOT / "browser_sessions").rglob("*.py")) - set((ROOT / "browser_sessions").rglob("driver/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                found.setdefault(name, []).append(node)
    return found


def calls(*names: str) -> Iterator[ast.Call]:
    for name in names:
        yield from calls_by_name().get(name, ())


def test_every_problem_is_documented_with_its_status_and_title() -> None:
    known = {(kind.status, kind.slug, kind.title) for kind in TABLE.values() if kind.slug != NEVER_RAISED}
    known |= {(status, slug, title) for status, (slug, title, _) in _ROUTER.items()}
    for call in calls("Kind"):
        values = tuple(argument.value for argument in call.args if isinstance(argument, ast.Constant))
        if len(values) == 3 and values[1] != NEVER_RAISED:
            known.add(values)  # type: ignore[arg-type]
    shown = [
        (int(status), codes(slug)[0], title)
        for status, slug, title, _ in rows("docs/api.md", "status", "`type` ends in", "`title`", "when")
    ]
    assert len(shown) == len(set(shown))
    assert set(shown) == known


def reason(node: ast.expr) -> str | None:
    """A text with what is put into it left out, or None for what is no text."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def used_close_codes() -> Iterator[tuple[int, str]]:
    yield REVOKED
    yield OF_UVICORN
    for end in set(EndReason) - WITHOUT_CLIENTS:
        code, text = close_code(end)
        yield code, "the session ended: …" if text.endswith(f": {end.value}") else text
    for call in calls(*CLOSES):
        if len(call.args) == 2 and (given := reason(call.args[1])) is not None:
            first = call.args[0]
            number = first.value if isinstance(first, ast.Constant) else NAMED.get(getattr(first, "id", ""))
            if isinstance(number, int):
                yield number, given


def test_every_close_code_is_documented_with_its_reason() -> None:
    shown = {
        (int(code), codes(text)[0] if text else "")
        for code, text, _, _ in rows("docs/api.md", "code", "reason in the close frame", "of", "when")
    }
    used = {(code, "" if code == 1002 else text) for code, text in used_close_codes()}
    assert shown == used


def test_every_end_reason_is_documented_under_its_status() -> None:
    shown: list[tuple[str, str]] = []
    for status, end, _ in rows("docs/operations.md", "status", "`end_reason`", "what happened"):
        shown.append((codes(status)[0] if status else shown[-1][0], codes(end)[0]))
    assert sorted(shown) == sorted((end.status.value, end.value) for end in EndReason)


def test_every_operation_and_websocket_is_documented() -> None:
    document = assemble(Path("unused"), SystemClock(), ApiOptions(), 1).app.openapi()
    known = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    known |= {f"WS {path}" for path in document["x-websockets"]}
    shown = [codes(endpoint)[0] for endpoint, _ in rows("docs/api.md", "endpoint", "what it does")]
    full = [re.sub(" …", " /v1/browser/sessions/{session_id}", each) for each in shown]
    assert len(full) == len(set(full))
    assert set(full) == known


def test_every_span_is_documented_with_its_attributes() -> None:
    used = {
        reason(call.args[0]): {each.arg for each in call.keywords} for call in calls("span") if reason(call.args[0])
    }
    shown = {
        codes(span)[0]: set(codes(attributes.partition(":")[0]))
        for span, attributes in rows("docs/telemetry.md", "span", "attributes (each `browser_sessions.` before it)")
        if "every request" not in span
    }
    assert shown == used

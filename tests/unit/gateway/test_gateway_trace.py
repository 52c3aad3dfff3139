"""The command line is removed from a trace, whatever the chunks of its stream."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.gateway.scope.command_decision import Ask, Reading
from browser_sessions.gateway.scope.trace_stream import TraceReader
from tests.harness.fakes.gateway_scope import session_scope

LINE = 'chromium --user-data-dir="/srv/a\\b" --marker=M\u00fc'
METADATA = {"clock-domain": "X", "command_line": LINE, "cpu": "y"}
TRACE = json.dumps(
    {"traceEvents": [{"name": '"command_line":"', "args": {"ü": "ü"}}], "metadata": METADATA},
    separators=(",", ":"),
    ensure_ascii=False,
)
WANTED = TRACE.replace(json.dumps(LINE, ensure_ascii=False), '""')


def read(reader: TraceReader, data: str) -> str:
    return str(reader.read({"data": data, "eof": False})["data"])


@given(st.lists(st.integers(0, len(TRACE)), max_size=30))
def test_the_command_line_is_removed_in_any_chunks(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TRACE)]
    reader = TraceReader()
    whole = "".join(read(reader, TRACE[a:b]) for a, b in pairwise(edges))
    assert whole == WANTED
    assert json.loads(whole)["metadata"] == {**METADATA, "command_line": ""}


def test_the_command_line_is_removed_from_single_characters_and_from_base64() -> None:
    reader = TraceReader()
    assert "".join(read(reader, each) for each in TRACE) == WANTED
    raw, reader, found = TRACE.encode(), TraceReader(), b""
    for start in range(0, len(raw), 7):
        piece: dict[str, Any] = {"data": base64.b64encode(raw[start : start + 7]).decode(), "base64Encoded": True}
        found += base64.b64decode(reader.read(piece)["data"])
    assert found.decode() == WANTED


@pytest.mark.parametrize("level", [None, "S-PAGE"])
def test_a_scope_filters_the_stream_reported_by_tracing(level: str | None) -> None:
    scope = session_scope()
    assert scope.on_browser_event("Tracing.tracingComplete", {"stream": "9"}, level) is not None
    assert scope.is_trace(level, "9")
    assert not scope.is_trace(level, "1")
    half = len(TRACE) // 2
    request = Ask({"handle": "9"}, level, Reading.TRACE)
    parts = [scope.read(request, {"data": piece, "eof": False})["data"] for piece in (TRACE[:half], TRACE[half:])]
    assert "".join(parts) == WANTED

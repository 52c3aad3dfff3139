"""Messages are decoded exactly as Chromium reads them, or rejected."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from browser_sessions.cdp.messages import (
    FIRST_OWN_ID,
    MAX_DEPTH,
    MAX_TOKENS,
    SMALL_BYTES,
    Command,
    InvalidMessage,
    decode,
    encode,
    error_response,
    event,
    event_method,
    is_own_response,
    read,
    result,
    session_of,
    without_session,
)

VERSION = b'"method":"Browser.getVersion"'


@pytest.mark.parametrize(
    ("frame", "command"),
    [
        (b'{"id":1,%b}' % VERSION, Command(1, "Browser.getVersion", {})),
        (b' { "id" : 1 , %b } ' % VERSION, Command(1, "Browser.getVersion", {})),
        (b'{"id":1.0,%b}' % VERSION, Command(1, "Browser.getVersion", {})),
        (b'{"id":-9999,%b}' % VERSION, Command(-9999, "Browser.getVersion", {})),
        (b'{"id":1,"method":"\\u0042rowser.get\\u0056ersion"}', Command(1, "Browser.getVersion", {})),
        (b'{"id":1,%b,"params":null}' % VERSION, Command(1, "Browser.getVersion", {})),
        (b'{"id":1,%b,"params":[]}' % VERSION, Command(1, "Browser.getVersion", {})),
        (b'{"id":1,%b,"sessionId":""}' % VERSION, Command(1, "Browser.getVersion", {})),
        (b'{"id":1,%b,"sessionId":"S"}' % VERSION, Command(1, "Browser.getVersion", {}, "S")),
    ],
)
def test_reads_what_chromium_reads(frame: bytes, command: Command) -> None:
    assert decode(frame) == command


@pytest.mark.parametrize(
    ("frame", "code", "call_id"),
    [
        (b"", -32700, None),
        (b"xx", -32700, None),
        (b"\xef\xbb\xbf{}", -32700, None),
        (b"/*c*/{}", -32700, None),
        (b"{'id':1}", -32700, None),
        (b'{"id":1,%b,}' % VERSION, -32700, None),
        (b'{"id":1,%b,"params":{"x":NaN}}' % VERSION, -32700, None),
        (b'{"id":1,%b,"params":{"x":"\\u0041","y":NaN}}' % VERSION, -32700, None),
        (b'{"id":1,%b,"params":{"x":"\\u0041","y":1e400}}' % VERSION, -32700, None),
        (b'{"id":1,%b,"params":{"x":"\\u0041","y":%b}}' % (VERSION, b"9" * 400), -32700, None),
        (b'{"id":1,%b,"params":{"x":"\xff"}}' % VERSION, -32700, None),
        (b'{"id":1,%b,"params":{"x":"\xed\xa0\x80"}}' % VERSION, -32700, None),
        (b'{"id":1,%b,"params":{"x":%b}}' % (VERSION, b"[" * 5000 + b"]" * 5000), -32700, None),
        (b"[1]", -32600, None),
        (b"{%b}" % VERSION, -32600, None),
        (b'{"id":"1",%b}' % VERSION, -32600, None),
        (b'{"id":true,%b}' % VERSION, -32600, None),
        (b'{"id":1.5,%b}' % VERSION, -32600, None),
        (b'{"id":2147483648,%b}' % VERSION, -32600, None),
        (b'{"id":%d,%b}' % (FIRST_OWN_ID, VERSION), -32600, FIRST_OWN_ID),
        (b'{"id":1}', -32600, 1),
        (b'{"id":1,"method":""}', -32600, 1),
        (b'{"id":1,"method":5}', -32600, 1),
        (b'{"id":1,%b,"params":"x"}' % VERSION, -32600, 1),
        (b'{"id":1,%b,"sessionId":null}' % VERSION, -32600, 1),
        (b'{"id":1,%b,"sessionId":7}' % VERSION, -32600, 1),
        (b'{"id":1,%b,"extra":1}' % VERSION, -32600, 1),
    ],
)
def test_rejects_invalid_commands(frame: bytes, code: int, call_id: int | None) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(frame)
    assert (refused.value.code, refused.value.call_id) == (code, call_id)
    response = json.loads(refused.value.as_response())
    assert response["error"]["code"] == code
    assert response.get("id") == call_id


def test_of_duplicate_keys_the_last_counts_and_only_that_reaches_chromium() -> None:
    twice = decode(b'{"id":1,%b,"sessionId":"A","method":"Target.getTargets","sessionId":"B"}' % VERSION)
    assert twice == Command(1, "Target.getTargets", {}, "B")
    command = decode(b'{"id":1,"method":"A.b","params":{"targetId":"mine","targetId":"theirs"}}')
    assert encode(1, command.method, command.params, None).count(b"targetId") == 1
    assert command.params == {"targetId": "theirs"}


def test_lone_surrogates_pass_as_in_chromium() -> None:
    frame = b'{"id":1,"method":"Runtime.evaluate","params":{"expression":"\\ud800"},"sessionId":"S"}'
    command = decode(frame)
    sent = encode(command.call_id, command.method, command.params, command.session_id)
    assert b'"\\ud800"' in sent
    assert json.loads(sent) == json.loads(frame)


@pytest.mark.parametrize(("start", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_command_that_is_nested_more_deeply_than_chromium_reads_is_invalid(start: bytes, end: bytes) -> None:
    def nested(levels: int) -> bytes:
        """The message and its params are two."""
        value = start * (levels - 2) + b"1" + end * (levels - 2)
        return b'{"id":7,"method":"A.b","params":{"a":[%b{}],"x":%b},"sessionId":"S"}' % (b"[]," * 400, value)

    command = decode(nested(MAX_DEPTH))
    assert read(encode(command.call_id, command.method, command.params, "S"))["params"] == command.params
    for levels in (MAX_DEPTH + 1, 900):
        with pytest.raises(InvalidMessage) as refused:
            decode(nested(levels))
        assert json.loads(refused.value.as_response()) == {
            "id": 7,
            "error": {"code": -32700, "message": "JSON: nested more than 300 levels deep"},
            "sessionId": "S",
        }


def test_params_that_are_not_json_cannot_be_encoded() -> None:
    with pytest.raises(InvalidMessage):
        encode(1, "A.b", {"x": float("inf"), "y": "\ud800"}, None)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=50)
@given(
    call_id=st.integers(-(2**31), FIRST_OWN_ID - 1),
    method=st.text(min_size=1),
    params=st.dictionaries(st.text(), JSON, max_size=5),
    session_id=st.none() | st.text(min_size=1),
    ascii_only=st.booleans(),
)
def test_decoding_and_encoding_preserves_a_command(
    call_id: int, method: str, params: dict[str, object], session_id: str | None, ascii_only: bool
) -> None:
    frame: dict[str, object] = {"id": call_id, "method": method, "params": params}
    if session_id is not None:
        frame["sessionId"] = session_id
    command = decode(json.dumps(frame, ensure_ascii=ascii_only).encode())
    assert command == Command(call_id, method, params, session_id)
    assert json.loads(encode(command.call_id, command.method, command.params, command.session_id)) == frame


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_invalid(frame: bytes) -> None:
    try:
        response = json.loads(result(decode(frame).call_id, None, {}))
    except InvalidMessage as refused:
        response = json.loads(refused.as_response())
    assert "result" in response or response["error"]["code"] in (-32700, -32600)


def test_a_large_message_of_long_strings_passes() -> None:
    text = 'a,[{\\"' * 400_000  # commas, brackets and escaped quotes inside a string are not counted
    frame = b'{"id":1,"method":"Page.setDocumentContent","params":{"html":"%b"}}' % text.encode()
    assert len(frame) > SMALL_BYTES
    assert len(decode(frame).params["html"]) == len(text) - 400_000


@pytest.mark.parametrize("bomb", [b"{},", b"[],", b'"",', b"0,", b'"\\\\",', b'"\\"",'])
def test_a_large_message_of_many_values_is_rejected_before_decoding(bomb: bytes) -> None:
    frame = b'{"id":1,"method":"A.b","params":{"x":[%b0]}}' % (bomb * (2 * MAX_TOKENS))
    started = time.process_time()
    with pytest.raises(InvalidMessage, match="values"):
        decode(frame)
    assert time.process_time() - started < 0.5  # decoding takes longer; counting takes a twentieth of this


@pytest.mark.parametrize(("depth", "valid"), [(200, True), (280, False)])
def test_many_values_may_have_fewer_levels_than_few(depth: int, valid: bool) -> None:
    """Looking at each of them would take longer than to decode them all."""
    deep = b"[" * depth + b"]" * depth
    frame = b'{"id":1,"method":"A.b","params":{"x":[%b%b]}}' % (b"[]," * 80_000, deep)
    assert len(frame) < SMALL_BYTES
    if valid:
        decode(frame)
    else:
        with pytest.raises(InvalidMessage, match="nested"):
            decode(frame)
    decode(b'{"id":1,"method":"A.b","params":{"x":%b}}' % deep)


@pytest.mark.parametrize(
    ("message", "own"),
    [
        (b'{"id":1,"result":{}}', False),
        (b'{"id":-9999,"result":{}}', False),
        (b'{"id":-2147483648,"result":{}}', False),
        (b'{"id":1999999999,"result":{}}', False),
        (b'{"id":2000000000,"result":{}}', True),
        (b'{"id":2147483647,"error":{}}', True),
        (b'{"id":2000000000}', True),
        (b'{"id":1}', False),
        (b'{"method":"Page.frameNavigated","params":{"id":2000000000}}', False),
        (b'{"error":{"code":-32700}}', False),
        (b"", False),
    ],
)
def test_responses_to_our_calls_are_recognised_by_id(message: bytes, own: bool) -> None:
    assert is_own_response(message) is own


@given(st.integers(-(2**31), 2**31 - 1))
def test_each_id_is_either_a_clients_or_ours(call_id: int) -> None:
    assert is_own_response(result(call_id, None, {})) is (call_id >= FIRST_OWN_ID)


SESSION = "0123456789ABCDEF0123456789abcdef"
TAIL = f',"sessionId":"{SESSION}"}}'
NASTY = st.sampled_from(
    [TAIL, TAIL[:-1], TAIL[1:], '"', "\\", '\\"', "}", '","sessionId":"', "\u00fc", "\ud83d\ude00", ""]
)
TEXT = st.lists(NASTY | st.text(max_size=8), max_size=4).map("".join)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.just("sessionId"), inner, max_size=3),
    max_leaves=10,
)
SESSION_ID = st.none() | st.text("0123456789ABCDEF", min_size=32, max_size=32)


@st.composite
def chromium_messages(draw: st.DrawFn) -> tuple[bytes, str | None, str | None]:
    """(message, session, method) as Chromium builds it: members in this order, no spaces, `sessionId` last."""
    params = draw(st.dictionaries(TEXT | st.just("sessionId"), VALUE, max_size=4))
    kind, method = draw(st.sampled_from(["event", "bare event", "response", "error"])), None
    if kind.endswith("event"):
        method = draw(st.sampled_from(["Target.attachedToTarget", "Runtime.consoleAPICalled", "Page.loadEventFired"]))
        message: dict[str, object] = {"method": method}
        if kind == "event":
            message["params"] = params
    elif kind == "response":
        message = {"id": draw(st.integers(-(2**31), 2**31 - 1)), "result": params}
    else:
        message = {"id": 1, "error": {"code": -32000, "message": draw(TEXT), "data": draw(TEXT)}}
    session_id = draw(SESSION_ID)
    if session_id is not None:
        message["sessionId"] = session_id
    encoded = json.dumps(message, separators=(",", ":"), ensure_ascii=draw(st.booleans()))
    return encoded.encode(errors="surrogatepass"), session_id, method


@settings(max_examples=50)
@given(chromium_messages())
def test_a_message_is_routed_by_its_session_id_whatever_its_strings_contain(
    built: tuple[bytes, str | None, str | None],
) -> None:
    message, session_id, method = built
    assert session_of(message) == (None if session_id is None else session_id.encode())
    assert event_method(message) == (None if method is None else method.encode())
    if session_id is not None:
        bare = {key: value for key, value in json.loads(message).items() if key != "sessionId"}
        assert json.loads(without_session(message)) == bare
        assert session_of(without_session(message)) is None


@pytest.mark.parametrize(
    "message",
    [
        json.dumps({"id": 1, "result": {"value": f"x{TAIL}"}}).encode(),
        json.dumps({"id": 1, "result": {"sessionId": SESSION}}, separators=(",", ":")).encode(),
        json.dumps({"id": 1, "result": {"a": 1, "sessionId": SESSION}}, separators=(",", ":")).encode(),
        json.dumps({"method": "A.b", "params": {"a": {"b": 1, "sessionId": SESSION}}}, separators=(",", ":")).encode(),
        b'{"id":1,"result":{"a":1,"sessionId":"%b"}}' % SESSION[1:].encode(),  # same length as a session id at the end
        b'{"id":1,"result":{}}',
        b"",
        b"}",
        TAIL.encode()[:-1],
    ],
)
def test_a_message_of_the_root_session_has_no_session_id(message: bytes) -> None:
    assert session_of(message) is None


def test_responses_and_events_have_the_session_id() -> None:
    assert read(result(1, None, {"a": 1})) == {"id": 1, "result": {"a": 1}}
    assert read(result(1, "S", {})) == {"id": 1, "result": {}, "sessionId": "S"}
    assert read(error_response(1, "S", -32601, "no")) == {
        "id": 1,
        "error": {"code": -32601, "message": "no"},
        "sessionId": "S",
    }
    assert read(event("A.b", {"c": 1}, "S")) == {"method": "A.b", "params": {"c": 1}, "sessionId": "S"}

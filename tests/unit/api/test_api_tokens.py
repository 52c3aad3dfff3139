"""Access tokens and tickets: one algorithm, all claims required, not interchangeable."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from browser_sessions.auth.access_tokens import CACHE_SIZE, TOKEN_LIFETIME_S, Tokens
from browser_sessions.auth.tickets import Ticket, mint, verify
from browser_sessions.domain.errors import Unauthenticated
from browser_sessions.domain.principal import Principal, Role

SECRET = b"s" * 32
OTHER = b"o" * 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Principal("prn_ann", Role.CLIENT, "ann")


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": "browser-sessions",
        "aud": "browser-sessions/api",
        "sub": "prn_ann",
        "iat": now,
        "exp": now + 60,
        "scope": "client",
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def signed(secret: bytes = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    return jwt.encode(claims(**changed), secret, algorithm=algorithm)


def unsigned() -> str:
    def part(data: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims())}."


def test_a_signed_token_has_principal_role_and_expiry() -> None:
    tokens = Tokens(SECRET)
    known = tokens.verify(tokens.sign("prn_ann", Role.OPERATOR))
    assert (known.principal_id, known.role) == ("prn_ann", Role.OPERATOR)
    assert known.expires == pytest.approx(time.time() + TOKEN_LIFETIME_S, abs=5)


def test_the_valid_claims_of_this_test_are_accepted() -> None:
    assert Tokens(SECRET).verify(signed()).principal_id == "prn_ann"


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda: "", id="empty"),
        pytest.param(lambda: "a.b.c", id="no token"),
        pytest.param(lambda: signed(OTHER), id="another secret"),
        pytest.param(lambda: signed(algorithm="HS512", secret=b"s" * 64), id="another algorithm"),
        pytest.param(unsigned, id="alg none"),
        pytest.param(lambda: signed(exp=int(time.time()) - 1), id="expired"),
        pytest.param(lambda: signed(exp=None), id="without exp"),
        pytest.param(lambda: signed(iat=None), id="without iat"),
        pytest.param(lambda: signed(sub=None), id="without sub"),
        pytest.param(lambda: signed(aud=None), id="without aud"),
        pytest.param(lambda: signed(iss=None), id="without iss"),
        pytest.param(lambda: signed(aud="browser-sessions/ticket"), id="a ticket's audience"),
        pytest.param(lambda: signed(iss="somebody"), id="another issuer"),
        pytest.param(lambda: signed(scope="root"), id="unknown role"),
        pytest.param(lambda: signed(scope=None), id="without scope"),
        pytest.param(lambda: signed()[:-2] + "xx", id="tampered signature"),
        pytest.param(lambda: mint(SECRET, "ses_1", "cdp", ANN, datetime.now(UTC)), id="a ticket"),
    ],
)
def test_an_invalid_token_is_refused(made: Callable[[], str]) -> None:
    with pytest.raises(Unauthenticated):
        Tokens(SECRET).verify(made())


def test_a_cached_token_still_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(SECRET)
    token = tokens.sign("prn_ann", Role.CLIENT)
    assert tokens.verify(token) is tokens.verify(token), "the second result must be cached"
    later = time.time() + TOKEN_LIFETIME_S
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthenticated):
        tokens.verify(token)


def test_the_token_cache_is_bounded() -> None:
    tokens = Tokens(SECRET)
    for number in range(CACHE_SIZE + 10):
        tokens.verify(tokens.sign(f"prn_{number}", Role.CLIENT))
    assert len(tokens._verified) == CACHE_SIZE


# -- tickets -----------------------------------------------------------------------------------------------------------


def test_a_ticket_is_valid_for_its_session_and_use() -> None:
    ticket = mint(SECRET, "ses_1", "cdp", ANN, NOW)
    assert verify(SECRET, ticket, "ses_1", "cdp", NOW) == Ticket("ses_1", "cdp", ANN)


@pytest.mark.parametrize(
    ("seconds", "good"), [(0, True), (59, True), (60, False), (61, False)], ids=lambda value: str(value)
)
def test_a_ticket_expires_after_sixty_seconds(seconds: int, good: bool) -> None:
    ticket = mint(SECRET, "ses_1", "live", ANN, NOW)
    then = NOW + timedelta(seconds=seconds)
    if good:
        verify(SECRET, ticket, "ses_1", "live", then)
    else:
        with pytest.raises(Unauthenticated):
            verify(SECRET, ticket, "ses_1", "live", then)


@pytest.mark.parametrize(
    ("ticket", "session_id", "use"),
    [
        (mint(SECRET, "ses_1", "cdp", ANN, NOW), "ses_2", "cdp"),
        (mint(SECRET, "ses_1", "cdp", ANN, NOW), "ses_1", "live"),
        (mint(OTHER, "ses_1", "cdp", ANN, NOW), "ses_1", "cdp"),
        (Tokens(SECRET).sign("prn_ann", Role.ADMIN), "ses_1", "cdp"),
        ("", "ses_1", "cdp"),
        ("\ud800", "ses_1", "cdp"),
    ],
    ids=["another session", "another use", "another secret", "an access token", "none", "no text"],
)
def test_a_ticket_is_invalid_for_anything_else(ticket: str, session_id: str, use: Any) -> None:
    with pytest.raises(Unauthenticated):
        verify(SECRET, ticket, session_id, use, NOW)

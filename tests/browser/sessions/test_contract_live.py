"""The contract against the whole service, with a real Chromium and over a real socket."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.harness.paths import TESTS
from tests.harness.service import Running

CONTRACT = json.loads((TESTS / "contract" / "get_browser_session.json").read_text())


@pytest.mark.browser
async def test_the_status_of_a_session_with_a_real_browser_matches_the_contract(service: Running) -> None:
    made = await service.create(viewport_width=801, viewport_height=602, user_agent="Agent/1")
    response = await service.http.get(CONTRACT["path"].format(session_id=made["session_id"]))
    status = json.loads(response.text)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert list(status) == CONTRACT["responses"]["200"]["schema"]["required"]
    assert status["session_id"] == made["session_id"]
    assert (status["status"], status["viewport_width"], status["viewport_height"]) == ("active", 801, 602)
    assert status["user_agent"] == "Agent/1"
    for name in ("created_at", "last_activity", "expires_at"):
        assert datetime.fromisoformat(status[name]).utcoffset() is not None
    assert await service.evaluate(made["session_id"], "[innerWidth, innerHeight, navigator.userAgent]") == [
        801,
        602,
        "Agent/1",
    ]
    document = (await service.http.get("/openapi.json")).json()
    operation = document["paths"][CONTRACT["path"]]["get"]
    assert (operation["summary"], operation["description"]) == (CONTRACT["summary"], CONTRACT["description"])
    assert operation["parameters"] == CONTRACT["parameters"]

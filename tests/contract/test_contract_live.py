"""The contract against the whole service, as a client meets it: a real Chromium, a real socket."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from tests.harness.service import running

CONTRACT = json.loads((Path(__file__).parent / "get_browser_session.json").read_text())


@pytest.mark.browser
async def test_a_live_session_of_a_real_browser_is_told_to_the_letter(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        made = await service.create(viewport_width=801, viewport_height=602, user_agent="Agent/1")
        answer = await service.http.get(CONTRACT["path"].format(session_id=made["session_id"]))
        told = json.loads(answer.text)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert list(told) == CONTRACT["responses"]["200"]["schema"]["required"]
        assert told["session_id"] == made["session_id"]
        assert (told["status"], told["viewport_width"], told["viewport_height"]) == ("active", 801, 602)
        assert told["user_agent"] == "Agent/1"
        for name in ("created_at", "last_activity", "expires_at"):
            assert datetime.fromisoformat(told[name]).utcoffset() is not None
        assert await service.evaluate(made["session_id"], "[innerWidth, innerHeight, navigator.userAgent]") == [
            801,
            602,
            "Agent/1",
        ]
        document = (await service.http.get("/openapi.json")).json()
        operation = document["paths"][CONTRACT["path"]]["get"]
        assert (operation["summary"], operation["description"]) == (CONTRACT["summary"], CONTRACT["description"])
        assert operation["parameters"] == CONTRACT["parameters"]

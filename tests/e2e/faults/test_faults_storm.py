"""kill -9 of the server while it creates; scripts/faults.py does it two hundred times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.scenarios.storm import storm

pytestmark = pytest.mark.browser


@pytest.mark.slow
async def test_a_server_killed_in_a_storm_of_creates_forgets_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    seen = await storm(tmp_path, 4)
    assert seen.acknowledged, "the storm was one"
    assert seen.unknown == []
    assert seen.not_lost == []
    assert seen.duplicates == []
    assert seen.repeated >= len(seen.acknowledged)

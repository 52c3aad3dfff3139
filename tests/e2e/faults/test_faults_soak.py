"""A short soak test: sixty session lifecycles, with and without faults, leave nothing. `make soak` runs longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.scenarios.soak import soak

pytestmark = pytest.mark.browser


@pytest.mark.slow
async def test_sixty_mixed_lifecycles_leave_nothing_and_touch_no_foreign_browser(tmp_path: Path) -> None:
    report = await soak(tmp_path, cycles=60, seconds=None, warm_up=12, patient=False)
    assert report.broken == []
    assert report.left == {}
    assert report.foreign_alive
    assert len(report.lives) >= 6, "there were several kinds of lifecycle"

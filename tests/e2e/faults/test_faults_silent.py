"""Fifty viewers and twenty CDP clients that stop reading. scripts/faults.py does it in more rounds and prints the
figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.scenarios.silent import BOUND_BYTES, KEPT_BYTES, silence
from tests.harness.service import serving

UNNOTICED_S = 0.1
"""Of a round trip. scripts/faults.py holds the five milliseconds that are promised."""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.timeout(300)  # the silent ones are closed after half a minute
async def test_viewers_and_clients_that_stop_reading_cost_little_and_nobody_else_notices(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        seen = await silence(service, 1)
    assert seen.left == {}
    assert 0 < seen.held <= BOUND_BYTES, "they made the server hold something, within its bounds"
    assert seen.kept <= KEPT_BYTES
    assert seen.frames >= 0.7, f"{seen.frames_beside} frames/s beside, {seen.frames_alone} alone"
    assert seen.slower <= UNNOTICED_S, f"{seen.trip_beside} s beside, {seen.trip_alone} s alone"

"""Fifty viewers and twenty CDP clients that stop reading. scripts/faults.py does the same in more rounds and prints
the measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.scenarios.silent import BOUND_BYTES, KEPT_BYTES, silence
from tests.harness.service import serving

SLOWER_LIMIT_S = 0.1
"""Longer round trip. scripts/faults.py checks the promised five milliseconds."""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.timeout(300)  # the silent clients are closed after half a minute
async def test_viewers_and_clients_that_stop_reading_use_bounded_memory_and_do_not_slow_others(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        seen = await silence(service, 1)
    assert seen.left == {}
    assert 0 < seen.held <= BOUND_BYTES, "the server buffered data for them, within its bounds"
    assert seen.kept <= KEPT_BYTES
    assert seen.frames >= 0.7, f"{seen.frames_beside} frames/s beside, {seen.frames_alone} alone"
    assert seen.slower <= SLOWER_LIMIT_S, f"{seen.trip_beside} s beside, {seen.trip_alone} s alone"

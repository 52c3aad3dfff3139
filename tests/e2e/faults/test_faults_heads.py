"""Heads without end, silent and slow connections. scripts/faults.py sends 150 MB, and checks the latency too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.scenarios.heads import HELD_GOAL_BYTES, heads, promised
from tests.harness.scenarios.probe import PROBE_TIMEOUT_S
from tests.harness.service import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.timeout(300)  # heads are timed out after ten seconds
async def test_nobody_stops_the_service_with_heads(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", log_level="warning") as service:
        seen = await heads(service, tmp_path, 1, size=20 * 2**20, seconds=0.5, silent=200, slow=20)
    for name, ended in seen.ended.items():
        assert ended, name
        assert set(ended) <= promised(name), (name, ended)
        assert seen.held[name] <= HELD_GOAL_BYTES, (name, seen.held)
        assert max(seen.latencies[name]) < PROBE_TIMEOUT_S, "every probe had its response"

"""Floods of small messages do not stop the service. scripts/faults.py floods it for longer, and checks the latency."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.scenarios.floods import ATTACKS, flooded
from tests.harness.scenarios.probe import PROBE_TIMEOUT_S
from tests.harness.service import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PROBES = 20


@pytest.mark.timeout(300)
async def test_no_flood_of_small_messages_stops_the_service(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", log_level="warning") as service:
        for attack in ATTACKS:
            seen = await flooded(service, tmp_path, attack, probes=PROBES)
            assert seen.sent > 100_000, attack.__name__
            assert max(seen.latencies) < PROBE_TIMEOUT_S, (attack.__name__, "every probe had its response")

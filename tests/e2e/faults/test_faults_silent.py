"""Fifty viewers and twenty CDP clients that stop reading. scripts/faults.py does the same in more rounds, and checks
that the others are as fast as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.scenarios.silent import BOUND_BYTES, KEPT_BYTES, silence
from tests.harness.service import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.timeout(300)  # the silent clients are closed after half a minute
async def test_viewers_and_clients_that_stop_reading_use_bounded_memory_and_do_not_stop_others(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        seen = await silence(service, 1)
    assert seen.left == {}
    assert 0 < seen.held <= BOUND_BYTES, "the server buffered data for them, within its bounds"
    assert seen.kept <= KEPT_BYTES
    assert seen.frames > 0, "the healthy viewer went on, and the healthy client had its responses"

"""Signals to the server as a process: SIGTERM, Ctrl-C to the whole group, and impatience. scripts/faults.py has more
rounds."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.harness.scenarios.drain import DRAIN_S, drain_round

IMPATIENT_S = 60.0
"""A drain that nobody waits for."""

pytestmark = pytest.mark.browser


@pytest.mark.slow
async def test_sigterm_under_load_drains_and_leaves_nothing(tmp_path: Path) -> None:
    seen = await drain_round(tmp_path, number=signal.SIGTERM)
    assert seen.exit_code == 0
    assert seen.late_creates == 0
    assert seen.left == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
async def test_a_signal_to_the_whole_group_ends_no_session_before_the_drain_does(
    tmp_path: Path, number: signal.Signals
) -> None:
    """As a terminal sends Ctrl-C, and `timeout` and process managers their SIGTERM."""
    seen = await drain_round(tmp_path, number=number, to_group=True)
    assert seen.exit_code == 0
    assert seen.late_creates == 0
    assert seen.exit_after >= DRAIN_S, "a session lived until the end of the drain"
    assert seen.left == []


@pytest.mark.slow
async def test_a_second_signal_ends_it_now(tmp_path: Path) -> None:
    seen = await drain_round(tmp_path, number=signal.SIGTERM, drain_s=IMPATIENT_S, twice=True)
    assert seen.exit_code == 0
    assert seen.exit_after < IMPATIENT_S / 2, "it did not wait for its sessions"
    assert seen.left == []

"""Signals to the server process: SIGTERM, Ctrl-C to the process group, and a second signal. scripts/faults.py runs more
rounds."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.harness.scenarios.drain import DRAIN_S, drain_round

LONG_DRAIN_S = 60.0
"""A drain much longer than the test takes."""

pytestmark = pytest.mark.browser


@pytest.mark.slow
async def test_sigterm_under_load_drains_and_leaves_nothing(tmp_path: Path) -> None:
    seen = await drain_round(tmp_path, number=signal.SIGTERM)
    assert seen.exit_code == 0
    assert seen.late_creates == 0
    assert seen.left == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
async def test_a_signal_to_the_process_group_does_not_end_sessions_before_the_drain(
    tmp_path: Path, number: signal.Signals
) -> None:
    """As sent by terminals on Ctrl-C, and by `timeout` and process managers as SIGTERM."""
    seen = await drain_round(tmp_path, number=number, to_group=True)
    assert seen.exit_code == 0
    assert seen.late_creates == 0
    assert seen.exit_after >= DRAIN_S, "a session must stay until the end of the drain"
    assert seen.left == []


@pytest.mark.slow
async def test_a_second_signal_ends_the_drain_at_once(tmp_path: Path) -> None:
    seen = await drain_round(tmp_path, number=signal.SIGTERM, drain_s=LONG_DRAIN_S, twice=True)
    assert seen.exit_code == 0
    assert seen.exit_after < LONG_DRAIN_S / 2, "the server must not wait for its sessions"
    assert seen.left == []

"""kill -9 of the server while it creates sessions; scripts/faults.py does it two hundred times."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.harness.paths import ROOT
from tests.harness.scenarios.storm import storm
from tests.harness.waiting import PATIENCE_S, until

pytestmark = pytest.mark.browser


@pytest.mark.slow
async def test_a_server_killed_during_many_creates_loses_and_duplicates_no_session(tmp_path: Path) -> None:
    seen = await storm(tmp_path, 2)
    assert seen.acknowledged, "some creates were acknowledged"
    assert seen.unknown == []
    assert seen.not_lost == []
    assert seen.duplicates == []
    assert seen.repeated >= len(seen.acknowledged)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes whose command line or environment contains `folder`."""
    found = psutil.process_iter(["cmdline", "environ"])
    return [
        each
        for each in found
        if str(folder) in " ".join([*(each.info["cmdline"] or ()), *(each.info["environ"] or {}).values()])
    ]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
    ids=lambda number: number.name,
)
async def test_no_server_outlives_the_script_that_started_it(tmp_path: Path, number: signal.Signals) -> None:
    script = await asyncio.create_subprocess_exec(
        *("env", "--default-signal=INT"),  # a test run in the background ignores SIGINT, and its children inherit that
        *(sys.executable, ROOT / "scripts" / "faults.py", "storm", "--rounds", "1000"),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await until(lambda: list(tmp_path.glob("faults-*/run/data/service.json")), what="a server is ready")
        assert len(processes_of(tmp_path)) > 1
    finally:
        script.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            await script.wait()
    await until(lambda: not processes_of(tmp_path), what="its servers and their browsers have ended")

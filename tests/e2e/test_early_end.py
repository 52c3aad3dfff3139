"""`serve` that is ended before its start is complete."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.harness.service import ServerProcess
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

MOMENTS: dict[str, Callable[[str], bool]] = {
    "driver": lambda line: "run-driver" in line,
    "chromium": lambda line: "--remote-debugging-pipe" in line,
}


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("driver", signal.SIGINT),
        ("chromium", signal.SIGTERM),
        pytest.param("driver", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("chromium", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
async def test_a_signal_during_the_start_ends_it_cleanly(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    data_dir = tmp_path / "data"
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "browser_sessions", "serve"),
        env=ServerProcess(data_dir)._environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    started: list[psutil.Process] = []

    def runs() -> bool:
        with contextlib.suppress(psutil.Error):
            started[:] = psutil.Process(server.pid).children(recursive=True)
            return any(MOMENTS[moment](" ".join(each.cmdline())) for each in started)
        return False

    try:
        await until(runs, every=0.005, what=f"its {moment} runs")
        assert not (data_dir / "service.json").exists(), "the start is not complete"
        os.kill(server.pid, number)
        async with asyncio.timeout(20):
            output, _ = await server.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
    assert (server.returncode, b"Traceback" in output) == (0, False), output.decode()
    assert b"server.start_cancelled" in output
    assert [each for each in started if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
    assert not list(data_dir.glob("work/run-*"))

"""Requests for `/healthz` while something else happens, by the process in probe.py."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.harness.paths import ROOT
from tests.harness.service import Running
from tests.harness.waiting import until


@asynccontextmanager
async def probed(service: Running, file: Path) -> AsyncIterator[Callable[[], list[float]]]:
    """Yields a function that returns the latencies so far, in seconds."""
    command = (sys.executable, "-m", "tests.harness.scenarios.probe", service.url, str(file))
    probe = await asyncio.create_subprocess_exec(*command, cwd=ROOT)

    def latencies() -> list[float]:
        return [float(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]

    try:
        await until(lambda: file.exists() and latencies(), what="the probe has begun", every=0.05)
        yield latencies
    finally:
        probe.kill()
        await probe.wait()

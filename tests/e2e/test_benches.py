"""Some benches run to their end; the others share their parts. Their figures count on a quiet machine only."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.benches.sides import OTHER
from tests.harness.bare_chromium import bare_chromium
from tests.harness.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


async def figures(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    """Of a quick run of the script."""
    file = tmp_path / "figures.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "scripts/bench.py", *arguments, "--quick", "--json", str(file), cwd=ROOT
    )
    assert await process.wait() == 0
    found: list[dict[str, Any]] = json.loads(file.read_text())["figures"]
    assert all(math.isfinite(each["value"]) and each["value"] >= 0 for each in found)
    return found


@pytest.mark.parametrize("name", ["create", "parallel", "gateway"])
async def test_each_bench_runs_and_measures(tmp_path: Path, name: str) -> None:
    found = await figures(tmp_path, name)
    assert {each["bench"] for each in found} == {name}
    lost = [each["ours"] for each in found if each["unit"] == "frames"]
    assert not any(lost)
    assert all(each["ours"] > 0 for each in found if each["unit"] in {"ms", "/s", "MB"})


async def test_another_service_takes_part_by_the_http_address_that_names_its_websocket(tmp_path: Path) -> None:
    async with bare_chromium(tmp_path / "profile") as port:
        address = port.replace("ws://", "http://").partition("/devtools")[0]
        found = await figures(tmp_path, "connect", "--against", address)
    assert {each["bench"] for each in found if each["what"].endswith(OTHER)} == {"connect"}

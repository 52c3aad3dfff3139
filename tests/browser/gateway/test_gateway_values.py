"""No value of any parameter ends a process that others share: the known ones, and a slice of scripts/fuzz_values.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from rich.console import Console

from tests.harness.scenarios.nasty_values import arena, caller, fuzz
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SLICE_S: Final = 25.0
SAMPLE: Final = 0.04
"""Of the values of a sweep: about 2,500 commands, so that every method has its turn in the time."""

METRICS: Final[dict[str, Any]] = {"width": 1, "height": 1, "deviceScaleFactor": 1, "mobile": True}
FATAL: Final[list[tuple[str, dict[str, Any]]]] = [
    ("Page.printToPDF", {"paperWidth": 1e-308}),
    ("Page.printToPDF", {"paperHeight": 1e-9, "marginLeft": 0}),
    ("Emulation.setDeviceMetricsOverride", {**METRICS, "devicePosture": {"type": "x"}}),
    ("Emulation.setDisplayFeaturesOverride", {"features": []}),
    ("Storage.overrideQuotaForOrigin", {"origin": "http://a.test", "quotaSize": -1}),
    ("Input.synthesizeTapGesture", {"x": 1, "y": 1, "tapCount": 10**9}),
    (
        "Input.imeSetComposition",
        {"text": "a", "selectionStart": 0, "selectionEnd": 0, "replacementStart": -1, "replacementEnd": -1},
    ),
]
"""Each ends a bare headless shell 156, or stops it for long."""


async def test_values_that_end_a_bare_chromium_are_refused_with_the_field_s_name(tmp_path: Path) -> None:
    async with arena(tmp_path) as place, caller(place) as one:
        for method, params in FATAL:
            error = (await one.client.ask(method, params, one.at_page))["error"]
            assert error["code"] == -32602, method
            assert any(error["message"].startswith(name) for name in params), error
            assert ": must " in error["message"]
        assert await place.harm() is None


async def test_a_value_of_the_wrong_type_gets_chromium_s_own_error(tmp_path: Path) -> None:
    async with arena(tmp_path) as place, caller(place) as one:
        names: list[Any] = [{}, [], None, 1]
        for name in names:
            feature = {"name": name, "value": "x"}
            error = (await one.client.ask("Emulation.setEmulatedMedia", {"features": [feature]}, one.at_page))["error"]
            assert error["code"] == -32602, error


async def test_a_window_does_not_grow_side_by_side_until_the_gpu_process_ends(tmp_path: Path) -> None:
    async with arena(tmp_path) as place, caller(place) as one:
        window = {"windowId": one.known["windowId"]}
        for size in ({"width": 8192}, {"width": 65536}, {"height": 65536}, {"height": 8192}):
            answer = await one.client.ask("Browser.setContentsSize", {**window, **size}, one.at_page)
            assert ("error" in answer) is (65536 in size.values()), answer
        await one.client.call("Page.startScreencast", {"format": "png"}, one.at_page)
        await one.client.event("Page.screencastFrame")
        assert await place.harm() is None


@pytest.mark.slow
async def test_nasty_values_of_every_method_harm_nobody_else(tmp_path: Path) -> None:
    found = await fuzz(tmp_path, SLICE_S, 11, Console(stderr=True), sample=SAMPLE)
    assert found.faults == []
    assert found.sent > 800, "it has tried something"
    assert len(found.methods) > 150
    assert found.answered > 0.9 * found.sent


async def test_the_fuzzer_notices_a_process_that_ends(tmp_path: Path) -> None:
    async with arena(tmp_path) as place:
        pid, kind = next((pid, kind) for pid, kind in place.processes().items() if kind == "utility")
        place.settle()
        assert await place.harm() is None
        psutil.Process(pid).kill()
        await until(lambda: pid not in place.processes(), what="it has ended")
        assert await place.harm() == f"ended: {kind}"

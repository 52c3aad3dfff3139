"""No parameter value may end a shared process: known fatal values, and a short run of scripts/fuzz_values.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import pytest_asyncio
from rich.console import Console

from tests.harness.scenarios.nasty_values import Environment, caller, environment, fuzz
from tests.harness.service import Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SENT: Final = 1200
SAMPLE: Final = 0.02
"""Share of a sweep's values: about 1,250 commands, so that nearly every method is reached."""

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
"""Each of these crashes a bare headless shell 156 or blocks it for a long time."""


@pytest_asyncio.fixture(loop_scope="session")
async def env(service: Running) -> AsyncIterator[Environment]:
    async with environment(service) as env:
        yield env


async def test_values_that_crash_a_bare_chromium_are_refused_with_the_parameters_name(env: Environment) -> None:
    async with caller(env) as sender:
        for method, params in FATAL:
            error = (await sender.client.ask(method, params, sender.at_page))["error"]
            assert error["code"] == -32602, method
            assert any(error["message"].startswith(name) for name in params), error
            assert ": must " in error["message"]
        assert await env.harm() is None


async def test_a_value_of_the_wrong_type_gets_chromiums_error(env: Environment) -> None:
    async with caller(env) as sender:
        names: list[Any] = [{}, [], None, 1]
        for name in names:
            feature = {"name": name, "value": "x"}
            error = (await sender.client.ask("Emulation.setEmulatedMedia", {"features": [feature]}, sender.at_page))[
                "error"
            ]
            assert error["code"] == -32602, error


@pytest.mark.slow
async def test_window_sizes_that_crash_the_gpu_process_are_refused(env: Environment) -> None:
    async with caller(env) as sender:
        window = {"windowId": sender.known["windowId"]}
        for size in ({"width": 8192}, {"width": 65536}, {"height": 65536}, {"height": 8192}):
            response = await sender.client.ask("Browser.setContentsSize", {**window, **size}, sender.at_page)
            assert ("error" in response) is (65536 in size.values()), response
        await sender.client.call("Page.startScreencast", {"format": "png"}, sender.at_page)
        await sender.client.event("Page.screencastFrame")
        assert await env.harm() is None


@pytest.mark.slow
async def test_fuzzed_values_of_every_method_do_not_affect_other_sessions(tmp_path: Path) -> None:
    found = await fuzz(tmp_path, 11, Console(stderr=True), most=SENT, sample=SAMPLE)
    assert found.faults == []
    assert len(found.methods) > 150
    assert found.answered > 0.9 * found.sent


@pytest.mark.slow
async def test_the_fuzzer_notices_an_ended_process(own_service: Running) -> None:
    async with environment(own_service) as env:
        pid, kind = next((pid, kind) for pid, kind in env.processes().items() if kind == "utility")
        env.remember_processes()
        assert await env.harm() is None
        psutil.Process(pid).kill()
        await until(lambda: pid not in env.processes(), what="the process has ended")
        assert await env.harm() == f"ended: {kind}"

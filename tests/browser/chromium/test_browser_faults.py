"""Faults injected into a real Chromium and a real driver: what is reported, when, and what is left over."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from pathlib import Path
from typing import cast

import psutil
import pytest
import pytest_asyncio

from browser_sessions.chromium.context.context import Context
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.chromium.ports import ContextEvent
from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.chromium.renderers import BUSY_S
from browser_sessions.domain.errors import BrowserGone, BrowserTimeout
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.session_spec import SessionSpec
from tests.harness.shared import Death
from tests.harness.waiting import until

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(own_chromium: ChromiumProcess) -> ChromiumProcess:
    """A dedicated browser, because these tests end it."""
    return own_chromium


def group_of(browser: ChromiumProcess) -> list[int]:
    """Live processes of the browser's process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == browser.process_group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


async def test_the_end_of_a_context_does_not_wait_for_its_folder_and_that_of_its_browser_does(
    chromium: ChromiumProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, disk = tmp_path / "session", asyncio.Event()

    async def slowly(path: Path) -> None:
        await disk.wait()
        shutil.rmtree(path)

    monkeypatch.setattr("browser_sessions.chromium.context.context.remove", slowly)
    handle = await chromium.open_context(SessionSpec(), folder, lambda _: None, timeout=20)
    await handle.close(timeout=10)
    assert folder.exists()
    closing = asyncio.create_task(chromium.close(timeout=10))
    await until(lambda: chromium.cleaned, what="the browser is gone")
    assert not closing.done()
    disk.set()
    await closing
    assert not folder.exists()


async def test_a_killed_browser_is_reported_once(
    launcher: PlaywrightLauncher, chromium: ChromiumProcess, deaths: list[Death], tmp_path: Path
) -> None:
    events: list[ContextEvent] = []
    handle = await chromium.open_context(SessionSpec(), tmp_path / "session", events.append, timeout=20)
    page_id = handle.pages()[0].page_id
    waiting = asyncio.create_task(handle.evaluate(page_id, "new Promise(() => {})", timeout=30))
    await until(lambda: chromium.alive)

    os.kill(chromium.pid, signal.SIGKILL)
    await until(lambda: bool(deaths), what="the death is reported")

    assert not chromium.alive
    assert deaths == [(chromium.browser_id, EndReason.BROWSER_DIED)]
    with pytest.raises(BrowserGone):
        await waiting
    assert isinstance(handle, Context)
    handle._pages.remove(page_id)  # as the driver's event does, sooner or later
    with pytest.raises(BrowserGone):
        await handle.evaluate(page_id, "1", timeout=5)
    with pytest.raises(BrowserGone):
        await chromium.open_context(SessionSpec(), tmp_path / "other", events.append, timeout=5)
    with pytest.raises(BrowserGone):
        await chromium.probe(timeout=1)
    await handle.close(timeout=1)
    await chromium.close(timeout=1)
    assert group_of(chromium) == []
    assert not [path for path in launcher._work_dir.rglob("*") if path.name.startswith(("brw_", "playwright"))]
    assert not (tmp_path / "session").exists()
    assert not (tmp_path / "other").exists()
    assert len(deaths) == 1
    assert "context.died" not in {event.kind for event in events}


async def test_a_killed_driver_ends_its_browsers_and_is_replaced(
    launcher: PlaywrightLauncher, deaths: list[Death], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "asyncio")
    browsers = [
        await launcher.launch(lambda process, reason: deaths.append((process.browser_id, reason))) for _ in range(2)
    ]
    handle = await browsers[0].open_context(SessionSpec(), tmp_path / "session", lambda _: None, timeout=20)
    waiting = asyncio.create_task(handle.evaluate(handle.pages()[0].page_id, "new Promise(() => {})", timeout=30))
    driver = launcher._driver
    assert driver is not None

    os.kill(driver.pid, signal.SIGKILL)
    await until(lambda: len(deaths) == 2, what="both deaths are reported")

    assert set(deaths) == {(browser.browser_id, EndReason.DRIVER_DIED) for browser in browsers}
    with pytest.raises(BrowserGone):
        await waiting
    fresh = await launcher.launch(lambda *_: None)
    again = await fresh.open_context(SessionSpec(), tmp_path / "again", lambda _: None, timeout=20)
    assert await again.evaluate(again.pages()[0].page_id, "6 * 7", timeout=5) == 42
    for browser in browsers:
        assert isinstance(browser, ChromiumProcess)
        await browser.close(timeout=2)
        assert group_of(browser) == []
    await until(lambda: not driver.folder.exists(), what="the end of the dead driver's folder")
    await handle.close(timeout=1)
    assert caplog.records == []


async def test_a_launch_whose_driver_is_killed_continues_with_another_and_leaves_nothing(
    launcher: PlaywrightLauncher,
) -> None:
    driver = launcher._driver
    assert driver is not None
    launching = asyncio.gather(*(launcher.launch(lambda *_: None) for _ in range(2)))
    await until(lambda: bool(list(launcher._work_dir.rglob("brw_*/process.json"))), what="the first Chromium")
    driver.kill()
    browsers = [cast(ChromiumProcess, each) for each in await asyncio.wait_for(launching, 20)]

    assert all(browser.alive for browser in browsers if browser.driver is not driver)
    assert any(browser.driver is not driver for browser in browsers)
    for browser in browsers:
        await browser.close(timeout=2)
    await until(lambda: not list(launcher._work_dir.rglob("brw_*")), what="the end of their folders")
    assert (await launcher.launch(lambda *_: None)).alive


async def test_a_stopped_browser_fails_its_probe_in_time_and_can_be_killed(
    chromium: ChromiumProcess, deaths: list[Death], tmp_path: Path
) -> None:
    handle = await chromium.open_context(SessionSpec(), tmp_path / "session", lambda _: None, timeout=20)
    await chromium.probe(timeout=5)
    os.kill(chromium.pid, signal.SIGSTOP)
    began = asyncio.get_running_loop().time()

    with pytest.raises(BrowserTimeout):
        await chromium.probe(timeout=0.5)

    assert asyncio.get_running_loop().time() - began < 20
    assert chromium.alive
    with pytest.raises(BrowserTimeout):
        await handle.evaluate(handle.pages()[0].page_id, "1", timeout=0.2)
    chromium.kill()
    assert chromium.cleaned is False
    await chromium.close(timeout=1)
    assert group_of(chromium) == []
    await handle.close(timeout=1)
    assert deaths == []


async def test_a_stopped_browser_is_closed_within_its_timeout(chromium: ChromiumProcess) -> None:
    os.kill(chromium.pid, signal.SIGSTOP)
    began = asyncio.get_running_loop().time()

    await chromium.close(timeout=0.5)

    assert asyncio.get_running_loop().time() - began < 20
    assert group_of(chromium) == []


async def test_a_stopped_driver_fails_the_probe_and_is_replaced_at_the_next_launch(
    launcher: PlaywrightLauncher, chromium: ChromiumProcess, deaths: list[Death]
) -> None:
    driver = launcher._driver
    assert driver is not None
    os.kill(driver.pid, signal.SIGSTOP)

    with pytest.raises(BrowserTimeout, match="driver"):
        await chromium.probe(timeout=0.5)
    fresh = await launcher.launch(lambda *_: None)

    assert fresh.alive
    await fresh.probe(timeout=5)
    assert deaths == [(chromium.browser_id, EndReason.DRIVER_DIED)]
    assert not driver.alive


async def test_a_failing_listener_does_not_stop_the_cleanup(launcher: PlaywrightLauncher) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a bug of the listener")

    browser = await launcher.launch(fails)
    assert isinstance(browser, ChromiumProcess)
    os.kill(browser.pid, signal.SIGKILL)
    await until(lambda: not browser.alive)

    await browser.wait_cleaned()

    assert group_of(browser) == []


async def test_without_pidfd_an_exit_is_reported_too(
    launcher: PlaywrightLauncher, deaths: list[Death], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_pid: int) -> int:
        raise OSError("this kernel has none")

    monkeypatch.setattr(os, "pidfd_open", missing)
    browser = await launcher.launch(lambda process, reason: deaths.append((process.browser_id, reason)))

    os.kill(browser.pid, signal.SIGKILL)
    await until(lambda: bool(deaths), what="the death is reported")

    assert not browser.alive
    assert deaths == [(browser.browser_id, EndReason.BROWSER_DIED)]


@pytest.mark.slow
async def test_twelve_ended_browsers_leak_no_descriptor(launcher: PlaywrightLauncher) -> None:
    """Four are ended in each way, so that one descriptor of each is noticed."""
    me = psutil.Process()
    first = await launcher.launch(lambda *_: None)
    await first.close(timeout=5)
    before = me.num_fds()
    for number in range(12):
        browser = await launcher.launch(lambda *_: None)
        assert isinstance(browser, ChromiumProcess)
        if number % 3 == 0:
            os.kill(browser.pid, signal.SIGKILL)
            await until(lambda browser=browser: not browser.alive)  # type: ignore[misc]
            await browser.wait_cleaned()
        elif number % 3 == 1:
            browser.kill()
            await browser.wait_cleaned()
        else:
            await browser.close(timeout=5)

    assert me.num_fds() <= before + 2


async def test_of_three_pages_the_one_with_the_busiest_renderer_is_killed(
    chromium: ChromiumProcess, tmp_path: Path
) -> None:
    scripts = {"loud": "for (;;) console.log({a: [1, 2, 3]})", "busy": "for (;;);", "quiet": "1"}
    events: dict[str, list[ContextEvent]] = {name: [] for name in scripts}
    handles = {
        name: await chromium.open_context(SessionSpec(), tmp_path / name, events[name].append, timeout=20)
        for name in scripts
    }
    await chromium.sample_renderers()
    for name, script in scripts.items():
        page_id = handles[name].pages()[0].page_id
        await handles[name].evaluate(page_id, f"setTimeout(() => {{ {script} }}, 50) && 0", timeout=20)

    known = chromium._renderers

    def busy() -> bool:
        spent = (seconds - known._sampled.get(process, 0.0) for process, seconds in known._io_seconds().items())
        return max(spent) >= BUSY_S

    await until(busy, every=0.1, within=60, what="a renderer has been busy for a moment")
    ended = await chromium.kill_busiest_renderer()
    await until(lambda: ended not in group_of(chromium), what="the end of its process")
    await until(lambda: any(event.kind == "page.crashed" for event in events["loud"]), what="the crash is reported")
    assert not [event for name in ("busy", "quiet") for event in events[name] if event.kind == "page.crashed"]
    quiet = handles["quiet"]
    assert await quiet.evaluate(quiet.pages()[0].page_id, "1 + 1", timeout=20) == 2
    await chromium.probe(timeout=10)

"""The launcher with a real Chromium: what it starts, what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from browser_sessions.chromium import browser_start
from browser_sessions.chromium.launch import process_group
from browser_sessions.chromium.launch.executable import locate
from browser_sessions.chromium.launch.flags import MARKER
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.chromium.process import ChromiumProcess
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.errors import BrowserMissing, NoBrowser, SettingsError
from browser_sessions.domain.session import EndReason
from browser_sessions.domain.session_spec import SessionSpec
from tests.harness.shared import Death
from tests.harness.waiting import until

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(own_chromium: ChromiumProcess) -> ChromiumProcess:
    """A dedicated browser, because these tests check everything that a launcher has started."""
    return own_chromium


def ignore_death(_process: BrowserProcess, _reason: EndReason) -> None:
    pass


def ours() -> list[psutil.Process]:
    """Live browsers with our marker below this process."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if any(argument.startswith(MARKER) for argument in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def script(folder: Path, lines: str) -> Path:
    """A shell script in place of Chromium."""
    executable = folder / "chromium-headless-shell"
    executable.write_text(f"#!/bin/sh\n{lines}\n")
    executable.chmod(0o755)
    return executable


def folders_of_browsers(work_dir: Path) -> list[str]:
    """Browser folders; `os.walk` tolerates their concurrent removal."""
    return [name for _, names, _ in os.walk(work_dir) for name in names if name.startswith("brw_")]


async def test_a_browser_runs_with_its_own_pipe_group_and_marker(
    launcher: PlaywrightLauncher, chromium: ChromiumProcess
) -> None:
    arguments = psutil.Process(chromium.pid).cmdline()

    assert chromium.alive
    assert chromium.version.split(".")[0].isdecimal()
    assert chromium.process_group != os.getpgrp()
    assert "--remote-debugging-pipe" in arguments
    assert not any(argument.startswith("--remote-debugging-port") for argument in arguments)
    assert "--force-webrtc-ip-handling-policy=disable_non_proxied_udp" in arguments
    assert any(argument.startswith(MARKER) for argument in arguments)
    assert next(each for each in arguments if each.startswith("--user-data-dir=")).startswith(
        f"--user-data-dir={launcher._work_dir}/"
    )
    connections = []
    for pid in process_group.members(chromium.process_group):
        with contextlib.suppress(psutil.NoSuchProcess):  # a helper may have ended meanwhile
            connections += psutil.Process(pid).net_connections()
    assert not [connection for connection in connections if connection.status == psutil.CONN_LISTEN]


async def test_chromium_inherits_none_of_our_variables(
    launcher: PlaywrightLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_SESSIONS_ADMIN_API_KEY", "canary-0123456789")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-0123456789")
    browser = await launcher.launch(ignore_death)

    environment = psutil.Process(browser.pid).environ()

    assert not any("canary" in value for value in environment.values())
    assert not any(name.startswith("BROWSER_SESSIONS_") for name in environment)
    assert environment["HOME"].endswith("/home")
    assert Path(environment["TMPDIR"]).stat().st_uid == (launcher.user.uid if launcher.user else os.getuid())
    assert os.environ.get("TMPDIR") != environment["TMPDIR"]


async def test_memory_is_that_of_the_whole_group(chromium: ChromiumProcess, tmp_path: Path) -> None:
    handle = await chromium.open_context(SessionSpec(), tmp_path / "session", lambda _: None, timeout=30)
    before = await chromium.memory_bytes()

    await handle.evaluate(
        handle.pages()[0].page_id, "window.kept = new Uint8Array(100 * 2 ** 20).fill(1), 1", timeout=30
    )

    assert 80 * 2**20 < await chromium.memory_bytes() - before < 200 * 2**20


async def test_closing_leaves_no_process_and_no_folder(
    launcher: PlaywrightLauncher, chromium: ChromiumProcess, deaths: list[Death]
) -> None:
    await chromium.close(timeout=5)

    assert not chromium.alive
    assert ours() == []
    assert deaths == []
    assert not folders_in(launcher._work_dir, "brw_")
    await until(lambda: not folders_in(launcher._work_dir, "playwright"), what="the driver removes its folder")
    await chromium.close(timeout=5)


def folders_in(path: Path, prefix: str) -> list[str]:
    """With `os.walk`, which ignores those that are removed meanwhile."""
    return [name for _, names, _ in os.walk(path) for name in names if name.startswith(prefix)]


async def test_concurrent_launches_start_one_driver_without_our_variables(
    launcher: PlaywrightLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_SESSIONS_ADMIN_API_KEY", "canary-0123456789")
    assert launcher._driver is not None
    launcher._driver.kill()
    await asyncio.wait({launcher._driver.dead})
    before = drivers()

    browsers = await asyncio.gather(*(launcher.launch(ignore_death) for _ in range(2)))

    assert {browser.alive for browser in browsers} == {True}
    assert len({browser.pid for browser in browsers}) == 2
    assert len({browser.process_group for browser in browsers if isinstance(browser, ChromiumProcess)}) == 2
    (driver,) = drivers() - before
    environment = driver.environ()
    assert "PATH" in environment
    assert not any("canary" in value or "BROWSER_SESSIONS" in name for name, value in environment.items())


def drivers() -> set[psutil.Process]:
    """Drivers of this process, including those of shared services."""
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return {child for child in children if "run-driver" in child.cmdline()}


async def test_a_cancelled_launch_leaves_nothing(launcher: PlaywrightLauncher) -> None:
    for after in (0.0, 0.005, 0.02, 0.04, 0.06, 0.08, 0.1):
        launching = asyncio.create_task(launcher.launch(ignore_death))
        await asyncio.sleep(after)
        launching.cancel()
        done, _ = await asyncio.wait({launching}, timeout=10)

        assert done, after
        if not launching.cancelled():
            await launching.result().close(timeout=5)
        await until(lambda: ours() == [], what=f"the end of the browser half started after {after} s")
        await until(lambda: not folders_of_browsers(launcher._work_dir), what="the end of its folder")


async def test_a_failed_start_is_reported_and_leaves_nothing(
    work_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable = script(tmp_path, "exit 127")
    launcher = PlaywrightLauncher(work_dir, executable, False, SystemClock())
    await launcher.start()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    real = browser_start.start_browser
    monkeypatch.setattr("browser_sessions.chromium.launcher.start_browser", lambda *args: real(*args, timeout=1.0))

    for lines, word in (("exit 127", "start"), ("exec sleep 600", "did not respond")):
        script(tmp_path, lines)
        with pytest.raises(NoBrowser, match=word):
            await launcher.launch(ignore_death)
        await until(
            lambda: {child.pid for child in psutil.Process().children(recursive=True)} <= before,
            what="the end of the script",
        )
        assert not folders_of_browsers(work_dir)
    await launcher.stop()
    assert list(work_dir.iterdir()) == []


async def test_a_missing_executable_is_reported(work_dir: Path) -> None:
    with pytest.raises(BrowserMissing):
        await PlaywrightLauncher(work_dir, work_dir / "none", False, SystemClock()).start()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives Chromium another user")
async def test_as_root_chromium_runs_as_another_user_with_its_sandbox(launcher: PlaywrightLauncher) -> None:
    assert launcher.user is not None
    assert launcher.user.uid != 0
    assert launcher.sandbox, launcher.sandbox_reason


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives Chromium another user")
async def test_root_uses_no_sandbox_if_no_other_user_can_run_chromium_unless_it_is_required(
    work_dir: Path, tmp_path: Path
) -> None:
    assert tmp_path.parent.stat().st_mode & 0o077 == 0
    executable = script(tmp_path, f'exec {locate(None).executable} "$@"')
    launcher = PlaywrightLauncher(work_dir, executable, False, SystemClock())
    await launcher.start()
    assert launcher.user is None
    assert not launcher.sandbox
    assert f"cannot run {executable}" in launcher.sandbox_reason
    assert (await launcher.launch(ignore_death)).alive
    await launcher.stop()

    with pytest.raises(SettingsError, match="BROWSER_SESSIONS_REQUIRE_SANDBOX"):
        await PlaywrightLauncher(work_dir, executable, True, SystemClock()).start()


async def test_a_failing_sandbox_is_disabled_unless_it_is_required(work_dir: Path, open_folder: Path) -> None:
    """As under a seccomp profile that forbids the sandbox."""
    executable = script(
        open_folder,
        f"""case "$*" in *--no-sandbox*|--version) exec {locate(None).executable} "$@";; esac
        echo '[1:2:FATAL:content/browser/zygote_host/zygote_host_impl_linux.cc:128] No usable sandbox!' >&2
        kill -TRAP $$""",
    )
    launcher = PlaywrightLauncher(work_dir, executable, False, SystemClock())
    await launcher.start()
    assert (await launcher.launch(ignore_death)).alive
    assert not launcher.sandbox
    assert "could not set up its sandbox" in launcher.sandbox_reason
    await launcher.stop()

    strict = PlaywrightLauncher(work_dir, executable, True, SystemClock())
    await strict.start()
    with pytest.raises(SettingsError, match="BROWSER_SESSIONS_REQUIRE_SANDBOX"):
        await strict.launch(ignore_death)
    await strict.stop()
    assert list(work_dir.iterdir()) == []


async def test_devices_are_playwrights(launcher: PlaywrightLauncher) -> None:
    assert launcher.devices["iPhone 13"]["is_mobile"] is True


async def test_stopping_ends_every_browser(work_dir: Path, deaths: list[Death]) -> None:
    launcher = PlaywrightLauncher(work_dir, None, False, SystemClock())
    await launcher.start()
    browsers = [
        await launcher.launch(lambda process, reason: deaths.append((process.browser_id, reason))) for _ in range(2)
    ]

    await launcher.stop()

    assert {browser.alive for browser in browsers} == {False}
    assert ours() == []
    assert list(work_dir.iterdir()) == []
    assert deaths == []
    with pytest.raises(NoBrowser):
        await launcher.launch(ignore_death)

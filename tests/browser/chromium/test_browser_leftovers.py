"""Cleaning up after dead runs: only what is certainly ours is removed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from browser_sessions.chromium.launch import cleanup
from browser_sessions.chromium.launch.flags import MARKER
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.domain.clock import SystemClock
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

DEAD_SERVER = {"pid": 2**22, "birth": "some-boot/1", "marker": ""}
"""A pid above the maximum (proc_sys_kernel(5), pid_max)."""


@pytest.fixture
def stand_in() -> Iterator[subprocess.Popen[bytes]]:
    """A process with our marker in its own process group, like a leftover browser."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", f"{MARKER}0123456789abcdef/brw_1"],
        start_new_session=True,
    )
    while not psutil.Process(process.pid).cmdline():  # Popen returns shortly before the kernel shows the arguments
        time.sleep(0.001)
    yield process
    process.kill()
    process.wait()


def dead_run(work_dir: Path, record: dict[str, object] | None) -> Path:
    folder = work_dir / "run-0123456789abcdef"
    (folder / "brw_1" / "home").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(DEAD_SERVER))
    if record is not None:
        (folder / "brw_1" / "process.json").write_text(json.dumps(record))
    return folder


def true_record(process: subprocess.Popen[bytes]) -> dict[str, object]:
    identity = cleanup.Identity.of(process.pid, "0123456789abcdef/brw_1")
    assert identity is not None
    return {"pid": identity.pid, "birth": identity.birth, "marker": identity.marker}


async def test_a_browser_of_a_dead_run_is_ended_and_its_folder_removed(
    work_dir: Path, stand_in: subprocess.Popen[bytes]
) -> None:
    dead_run(work_dir, true_record(stand_in))

    reported = await asyncio.to_thread(cleanup.sweep, work_dir)

    assert reported == ["run-0123456789abcdef: 1 browsers killed, folder removed"]
    assert list(work_dir.iterdir()) == []
    assert stand_in.wait(5) in (-signal.SIGKILL, 0)  # 0: the sweep reaped it first


@pytest.mark.parametrize(
    "wrong",
    [
        {"birth": "some-boot/1"},
        {"marker": "0123456789abcdef/brw_2"},
        {"marker": ""},
        {"pid": os.getpid()},
    ],
    ids=["birth", "marker", "no marker", "pid"],
)
async def test_a_process_that_does_not_match_its_record_survives(
    work_dir: Path, stand_in: subprocess.Popen[bytes], wrong: dict[str, object]
) -> None:
    dead_run(work_dir, true_record(stand_in) | wrong)

    await asyncio.to_thread(cleanup.sweep, work_dir)

    assert stand_in.poll() is None
    assert list(work_dir.iterdir()) == []


async def test_a_living_run_and_foreign_folders_are_left_alone(work_dir: Path) -> None:
    mine = cleanup.RunFolder.create(work_dir)
    (work_dir / "run-unwritten").mkdir()
    (work_dir / "something-else").mkdir()
    (work_dir / "run-file").write_text("x")

    assert await asyncio.to_thread(cleanup.sweep, work_dir) == []

    assert {path.name for path in work_dir.iterdir()} == {
        mine.path.name,
        "run-unwritten",
        "something-else",
        "run-file",
    }


async def test_a_run_without_a_record_is_removed_once_it_is_old(work_dir: Path) -> None:
    folder = work_dir / "run-unwritten"
    folder.mkdir(parents=True)
    old = time.time() - cleanup.UNWRITTEN_SECONDS - 1
    os.utime(folder, (old, old))

    await asyncio.to_thread(cleanup.sweep, work_dir)

    assert not folder.exists()


async def test_leftovers_of_a_server_killed_with_its_driver_are_removed_by_the_next(work_dir: Path) -> None:
    """The browser is stopped first, so that it cannot exit by itself when its pipe closes."""
    script = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from browser_sessions.chromium.launcher import PlaywrightLauncher
        from browser_sessions.domain.clock import SystemClock

        async def main():
            launcher = PlaywrightLauncher(Path(sys.argv[1]), None, False, SystemClock())
            await launcher.start()
            browser = await launcher.launch(lambda *_: None)
            sys.stderr.write(f"READY {browser.pid} {launcher._driver.pid}\\n")
            sys.stderr.flush()
            await asyncio.sleep(600)

        asyncio.run(main())
    """)
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(work_dir), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert server.stderr is not None
    browser_pid = driver_pid = 0
    while line := await asyncio.wait_for(server.stderr.readline(), 60):
        if line.startswith(b"READY"):
            browser_pid, driver_pid = (int(part) for part in line.split()[1:])
            break
    assert browser_pid
    browser = psutil.Process(browser_pid)
    group = os.getpgid(browser_pid)
    os.killpg(group, signal.SIGSTOP)
    os.kill(driver_pid, signal.SIGKILL)
    server.kill()
    await server.wait()
    assert browser.is_running()

    launcher = PlaywrightLauncher(work_dir, None, False, SystemClock())
    await launcher.start()

    await until(
        lambda: not browser.is_running() or browser.status() == psutil.STATUS_ZOMBIE, what="the end of the leftover"
    )
    assert len(list(work_dir.iterdir())) == 1
    await launcher.stop()
    assert list(work_dir.iterdir()) == []


async def test_a_work_folder_too_deep_for_a_socket_has_a_short_temporary_folder(tmp_path: Path) -> None:
    run = cleanup.RunFolder.create(tmp_path / ("x" * 60))

    without = run.browser_folder("brw_1", with_socket=False)
    folder = run.browser_folder("brw_2", with_socket=True)

    assert without.tmp.parent == without.path
    assert len(str(folder.tmp)) + cleanup.SOCKET_CHARACTERS <= cleanup.SOCKET_PATH_CHARACTERS
    assert folder.tmp.stat().st_mode & 0o777 == 0o700
    (run.path / "run.json").write_text(json.dumps(DEAD_SERVER))
    await asyncio.to_thread(cleanup.sweep, run.path.parent)
    assert not folder.tmp.exists()
    assert list(run.path.parent.iterdir()) == []

"""Chromium's DevTools files are extracted once per version, by a temporary browser that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import connect

from browser_sessions.chromium.devtools import cache as cache_module
from browser_sessions.chromium.devtools import crawl
from browser_sessions.chromium.devtools.cache import DevToolsCache
from browser_sessions.chromium.launch.executable import locate
from browser_sessions.chromium.launch.executable import version as query_version
from browser_sessions.domain.errors import DevToolsUnavailable, NotFound
from tests.harness.service import devtools
from tests.harness.sites.plain_site import Site
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

PROFILES = "browser-sessions-devtools-*"


@pytest.fixture(scope="module")
def executable() -> Path:
    return locate(None).executable


@pytest.fixture(scope="module")
def version() -> str:
    """Such as "156.0.8078.79"."""
    return next(word for word in asyncio.run(query_version(locate(None))).split() if word[0].isdecimal())


@pytest.fixture(scope="module")
def nobody_user() -> tuple[int, int] | None:
    return (65534, 65534) if os.geteuid() == 0 else None


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder for this test, used as the system's, that Chromium's user can access."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "devtools"


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory, executable: Path, version: str, nobody_user: tuple[int, int] | None
) -> Path:
    """A folder with a finished archive."""
    folder = tmp_path_factory.mktemp("prepared")
    if devtools.folder is not None:  # that of the first service of this run
        for archive in devtools.folder.glob("*.zip"):
            shutil.copy(archive, folder)
    cache = DevToolsCache(folder)
    asyncio.run(cache.prepare(version, executable, nobody_user))
    cache.check(version)
    cache.close()
    return folder


def crawlers(temporary: Path) -> list[psutil.Process]:
    """Processes that extract the files for this test, and their browsers: all have its temporary folder in their
    arguments."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(temporary) in " ".join(each.cmdline()):
                found.append(each)
    return found


def browser_runs(temporary: Path) -> bool:
    for each in crawlers(temporary):
        with contextlib.suppress(psutil.Error):  # one that has just ended
            if "--remote-debugging-port=0" in each.cmdline():
                return True
    return False


def never(_job: crawl.Job, _output: Any) -> None:
    raise AssertionError("a browser was started")


async def test_the_first_start_extracts_the_files_and_the_next_starts_no_browser(
    folder: Path,
    temporary: Path,
    executable: Path,
    version: str,
    nobody_user: tuple[int, int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = DevToolsCache(folder)
    making = asyncio.create_task(cache.prepare(version, executable, nobody_user))
    await until(lambda: browser_runs(temporary), what="its browser runs")
    ours = Path("/proc/self/ns/net").stat().st_ino
    theirs = {Path(f"/proc/{each.pid}/ns/net").stat().st_ino for each in crawlers(temporary)[1:]}
    await making
    with zipfile.ZipFile(folder / f"{version}.zip") as archive:
        isolated = json.loads(archive.read(crawl.ABOUT))["isolated"]
    assert isolated == (ours not in theirs), "its port is in another network namespace where possible"
    assert (await cache.file(version, crawl.START)).lstrip().startswith(b"<!")
    assert b"import" in await cache.file(version, "entrypoints/inspector/inspector.js")
    assert json.loads(await cache.file(version, "core/i18n/locales/en-US.json"))
    domains = {each["domain"] for each in json.loads(await cache.protocol(version))["domains"]}
    assert {"Target", "Page", "Runtime"} <= domains
    assert [each.name for each in folder.iterdir()] == [f"{version}.zip"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"{version}.zip").stat().st_mode) == 0o600
    assert crawlers(temporary) == []
    assert list(temporary.iterdir()) == []
    cache.close()

    monkeypatch.setattr(cache_module, "_run", never)
    again = DevToolsCache(folder)
    await again.prepare(version, executable, nobody_user)
    assert await again.file(version, crawl.START)
    again.close()


async def test_missing_files_are_not_found(
    prepared: Path, executable: Path, version: str, nobody_user: tuple[int, int] | None
) -> None:
    cache = DevToolsCache(prepared)
    with pytest.raises(DevToolsUnavailable, match="not opened"):
        await cache.protocol(version)
    await cache.prepare(version, executable, nobody_user)
    for path in ("nothing.js", "../protocol.json", "", "entrypoints", "/etc/passwd"):
        with pytest.raises(NotFound):
            await cache.file(version, path)
    with pytest.raises(DevToolsUnavailable, match="restart the service"):
        await cache.file("1.2.3.4", crawl.START)
    cache.close()


async def test_files_can_be_read_concurrently(
    prepared: Path, executable: Path, version: str, nobody_user: tuple[int, int] | None
) -> None:
    cache = DevToolsCache(prepared)
    await cache.prepare(version, executable, nobody_user)
    paths = [crawl.START, "entrypoints/inspector/inspector.js", "core/i18n/locales/en-US.json"] * 20
    alone = [await cache.file(version, path) for path in paths[:3]]
    assert await asyncio.gather(*(cache.file(version, path) for path in paths)) == alone * 20
    cache.close()


def damaged(whole: bytes) -> dict[str, bytes]:
    middle = len(whole) // 2
    return {
        "one byte": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "cut off": whole[:middle],
        "empty": b"",
    }


@pytest.mark.parametrize(
    "damage",
    [pytest.param(each, marks=pytest.mark.slow) for each in ("cut off", "empty", "of another version")],
)
async def test_a_damaged_archive_is_rebuilt(
    damage: str, prepared: Path, folder: Path, executable: Path, version: str, nobody_user: tuple[int, int] | None
) -> None:
    folder.mkdir(mode=0o700)
    whole = (prepared / f"{version}.zip").read_bytes()
    (folder / "99.0.1.2.zip").write_bytes(whole)
    if damage != "of another version":
        (folder / f"{version}.zip").write_bytes(damaged(whole)[damage])
    again = DevToolsCache(folder)
    await again.prepare(version, executable, nobody_user)
    await check_rebuilt(again, folder, version)


async def check_rebuilt(cache: DevToolsCache, folder: Path, version: str) -> None:
    assert await cache.file(version, "entrypoints/inspector/inspector.js")
    assert len(await cache.protocol(version)) > 10**6
    assert [each.name for each in folder.iterdir()] == [f"{version}.zip"]
    cache.close()


def test_no_damaged_archive_and_none_of_another_version_is_opened(prepared: Path, folder: Path, version: str) -> None:
    whole = (prepared / f"{version}.zip").read_bytes()
    folder.mkdir()
    for content in damaged(whole).values():
        (folder / "a.zip").write_bytes(content)
        assert cache_module._open(folder / "a.zip", version) is None
    assert cache_module._open(prepared / f"{version}.zip", "99.0.1.2") is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no library >&2; exit 3", "did not start: no library"),
        ("exit 0", "it wrote no error message"),
        ("kill -9 $$", "it wrote no error message"),
        ('echo "DevTools listening on ws://127.0.0.1:9/x" >&2; sleep 60', "refused|unreachable"),
    ],
)
async def test_a_failed_extraction_has_a_reason_and_leaves_nothing(
    script: str, reason: str, folder: Path, temporary: Path, version: str
) -> None:
    broken = temporary / "chromium"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    cache = DevToolsCache(folder)
    await cache.prepare(version, broken, None)
    for call in (cache.protocol(version), cache.file(version, crawl.START)):
        with pytest.raises(DevToolsUnavailable, match=reason):
            await call
    assert list(folder.iterdir()) == []
    assert list(temporary.iterdir()) == [broken]
    assert crawlers(temporary) == []


async def test_a_hanging_browser_is_killed_with_all_its_children(
    folder: Path, temporary: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = temporary / "chromium"
    hanging.write_text("#!/bin/sh\ntrap '' TERM\nsleep 600 &\nwhile :; do sleep 600; done\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(cache_module, "MAKE_SECONDS", 1.0)
    cache = DevToolsCache(folder)
    await cache.prepare(version, hanging, None)
    with pytest.raises(DevToolsUnavailable, match="took more than 1 s"):
        cache.check(version)
    assert crawlers(temporary) == []
    assert list(temporary.iterdir()) == [hanging]


async def test_a_cancelled_extraction_leaves_nothing(
    folder: Path, temporary: Path, executable: Path, version: str, nobody_user: tuple[int, int] | None
) -> None:
    preparing = asyncio.create_task(DevToolsCache(folder).prepare(version, executable, nobody_user))
    await until(lambda: browser_runs(temporary), what="its browser runs")
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    assert crawlers(temporary) == []
    await until(lambda: not list(temporary.iterdir()), what="its profile is removed")
    assert list(folder.iterdir()) == []


async def test_its_browser_reaches_nothing(
    executable: Path, temporary: Path, nobody_user: tuple[int, int] | None, site: Site
) -> None:
    """By a page, which takes the way of the browser's own requests. It has none itself."""
    if nobody_user is not None:
        os.chown(temporary, *nobody_user)
    uid, gid = nobody_user or (None, None)
    process = await asyncio.create_subprocess_exec(
        *(executable, *crawl.SWITCHES, f"--user-data-dir={temporary}/profile"),
        env={"HOME": str(temporary), "PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.DEVNULL,
        user=uid,
        group=gid,
        extra_groups=None if uid is None else (),
        start_new_session=True,
    )
    try:
        listens = temporary / "profile" / "DevToolsActivePort"
        await until(lambda: listens.exists() and len(listens.read_text().split()) == 2, what="it listens")
        port, path = listens.read_text().split()
        async with connect(f"ws://127.0.0.1:{port}{path}") as client:

            async def call(method: str, params: dict[str, Any], session_id: str | None = None) -> Any:
                message = {"id": 1, "method": method, "params": params}
                await client.send(json.dumps(message if session_id is None else message | {"sessionId": session_id}))
                while (received := json.loads(await client.recv())).get("id") != 1:
                    pass
                return received["result"]

            target = await call("Target.createTarget", {"url": "about:blank"})
            attached = await call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
            for url in (site.url, "http://192.0.2.1/", "https://a.example/"):
                navigated = await call("Page.navigate", {"url": url}, attached["sessionId"])
                assert navigated["errorText"] == "net::ERR_PROXY_CONNECTION_FAILED"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the executable may be a script that starts the browser
        await process.wait()


@pytest.mark.slow
async def test_the_next_service_removes_the_profile_of_a_killed_one_and_rebuilds_a_damaged_archive(
    prepared: Path,
    folder: Path,
    temporary: Path,
    executable: Path,
    version: str,
    nobody_user: tuple[int, int] | None,
) -> None:
    preparing = asyncio.create_task(DevToolsCache(folder).prepare(version, executable, nobody_user))
    await until(lambda: list(temporary.glob(PROFILES)), what="the browser has a profile")
    left = next(temporary.glob(PROFILES))
    preparing.cancel()
    await asyncio.gather(preparing, return_exceptions=True)
    left.mkdir(exist_ok=True)
    (left / "Default").touch()
    other = temporary / "browser-sessions-devtools-of-another-service"
    other.mkdir()
    whole = (prepared / f"{version}.zip").read_bytes()
    (folder / f"{version}.zip").write_bytes(damaged(whole)["one byte"])
    cache = DevToolsCache(folder)
    await cache.prepare(version, executable, nobody_user)
    assert list(temporary.iterdir()) == [other]
    await check_rebuilt(cache, folder, version)


async def test_the_extraction_process_kills_itself_after_its_time_limit(tmp_path: Path, temporary: Path) -> None:
    hanging = temporary / "chromium"
    hanging.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 600; done\n")
    hanging.chmod(0o755)
    job = crawl.Job(executable=str(hanging), profile="/nonexistent", environment={}, user=None, seconds=1)
    process = await asyncio.create_subprocess_exec(
        "python3",
        "-I",
        "-S",
        crawl.__file__,
        json.dumps(job),
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert await process.wait() == -signal.SIGKILL
    await until(lambda: crawlers(temporary) == [], what="no process is left")


async def test_the_browser_ends_with_an_extraction_process_that_is_killed_alone(
    temporary: Path, executable: Path, nobody_user: tuple[int, int] | None
) -> None:
    """The process waits for the browser's port, which a wrapper hides from it."""
    profile = temporary / "browser-sessions-devtools-killed"
    profile.mkdir()
    if nobody_user is not None:
        os.chown(profile, *nobody_user)
    slow = temporary / "chromium"
    slow.write_text(f'#!/bin/sh\n"{executable}" "$@" 2>/dev/null\n')
    slow.chmod(0o755)
    environment = {"HOME": str(profile), "PATH": os.environ["PATH"]}
    job = crawl.Job(executable=str(slow), profile=str(profile), environment=environment, user=nobody_user, seconds=60)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", crawl.__file__, json.dumps(job)),
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await until(lambda: (profile / "DevToolsActivePort").exists(), what="its browser runs")
        assert browser_runs(temporary)
        process.kill()
        await process.wait()
        await until(lambda: not crawlers(temporary), what="the whole group has ended")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

"""Locating the browser, and the errors: on fake folder trees, without a browser."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from browser_sessions.chromium.launch import executable as executable_module
from browser_sessions.chromium.launch.executable import BrowserFound, SearchPaths, locate, sandbox_expected, version
from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.domain.errors import BrowserMissing


def program(path: Path, script: str = "echo Chromium 1.2.3.4") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def bundled(folder: Path, revision: int, name: str = "chrome-headless-shell", *, complete: bool = True) -> Path:
    top = folder / f"chromium_headless_shell-{revision}"
    executable = program(top / "chrome-headless-shell-linux64" / name)
    if complete:
        (top / "INSTALLATION_COMPLETE").touch()
    return executable


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "ms-playwright"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    return tmp_path / "bin"


@pytest.fixture
def search_paths(cache: Path, system: Path) -> SearchPaths:
    return SearchPaths(cache, "1255", str(system))


def test_the_setting_takes_precedence(tmp_path: Path, cache: Path, system: Path, search_paths: SearchPaths) -> None:
    bundled(cache, 1255)
    program(system / "chromium-headless-shell")
    mine = program(tmp_path / "my-chrome")
    assert locate(mine, search_paths) == BrowserFound(mine, "full", "BROWSER_SESSIONS_BROWSER_EXECUTABLE")


def test_a_link_to_a_headless_shell_is_recognised(tmp_path: Path) -> None:
    link = tmp_path / "browser"
    link.symlink_to(program(tmp_path / "headless_shell"))
    assert locate(link).kind == "headless_shell"


@pytest.mark.parametrize("fault", ["absent", "folder", "no x bit"])
def test_an_invalid_setting_is_an_error(tmp_path: Path, search_paths: SearchPaths, cache: Path, fault: str) -> None:
    bundled(cache, 1255)
    named = tmp_path / "chrome"
    if fault == "folder":
        named.mkdir()
    elif fault == "no x bit":
        named.touch(mode=0o644)
    with pytest.raises(BrowserMissing, match=f"BROWSER_SESSIONS_BROWSER_EXECUTABLE is {named}"):
        locate(named, search_paths)


def test_playwrights_browser_is_preferred_to_the_systems(cache: Path, system: Path, search_paths: SearchPaths) -> None:
    program(system / "chromium-headless-shell")
    executable = bundled(cache, 1255)
    assert locate(None, search_paths) == BrowserFound(executable, "headless_shell", "Playwright's own, revision 1255")


def test_the_librarys_revision_is_preferred_to_a_newer_one(cache: Path, search_paths: SearchPaths) -> None:
    bundled(cache, 1300)
    assert locate(None, search_paths).source.endswith("1300")
    bundled(cache, 1255)
    assert locate(None, search_paths).source.endswith("1255")


def test_revisions_are_compared_as_numbers(cache: Path, search_paths: SearchPaths) -> None:
    bundled(cache, 999)
    bundled(cache, 1010)
    assert locate(None, search_paths).source.endswith("1010")


def test_the_executable_name_of_older_archives_is_found(cache: Path, search_paths: SearchPaths) -> None:
    executable = bundled(cache, 1100, "headless_shell")
    assert locate(None, search_paths).executable == executable


def test_an_incomplete_download_is_skipped(cache: Path, system: Path, search_paths: SearchPaths) -> None:
    bundled(cache, 1255, complete=False)
    mine = program(system / "chromium-headless-shell")
    assert locate(None, search_paths).executable == mine


def test_a_folder_without_an_executable_is_skipped(cache: Path, search_paths: SearchPaths) -> None:
    bundled(cache, 1255).chmod(0o644)
    older = bundled(cache, 1200)
    assert locate(None, search_paths).executable == older


@pytest.mark.parametrize("name", executable_module.HEADLESS_SHELL_NAMES)
def test_a_headless_shell_of_the_system_is_preferred_to_a_full_browser(
    name: str, system: Path, search_paths: SearchPaths
) -> None:
    for full in executable_module.FULL_NAMES:
        program(system / full)
    mine = program(system / name)
    assert locate(None, search_paths) == BrowserFound(mine, "headless_shell", "the system's")


@pytest.mark.parametrize("name", executable_module.FULL_NAMES)
def test_a_full_browser_is_used_as_a_fallback(name: str, system: Path, search_paths: SearchPaths) -> None:
    mine = program(system / name)
    assert locate(None, search_paths) == BrowserFound(mine, "full", "the system's")


def test_a_missing_browser_is_an_error_with_install_instructions(search_paths: SearchPaths) -> None:
    with pytest.raises(BrowserMissing, match=r"playwright install --only-shell chromium.*apt-get install"):
        locate(None, search_paths)


@pytest.mark.parametrize(
    ("setting", "platform", "expected"),
    [
        (None, "linux", "/home/ann/.cache/ms-playwright"),
        ("", "linux", "/home/ann/.cache/ms-playwright"),
        (None, "darwin", "/home/ann/Library/Caches/ms-playwright"),
        ("/opt/browsers", "linux", "/opt/browsers"),
        ("0", "linux", "/lib/playwright/.local-browsers"),
    ],
)
def test_playwrights_folder_is_found_by_its_own_rules(setting: str | None, platform: str, expected: str) -> None:
    folder = executable_module._playwright_folder(setting, Path("/lib/playwright"), Path("/home/ann"), platform)
    assert folder == Path(expected)


def test_the_librarys_revision_is_read_from_the_installed_library() -> None:
    revision = executable_module._wanted_revision(executable_module._playwright_package())
    assert revision is not None
    assert revision.isdecimal()


@pytest.mark.parametrize("content", [None, "not json", "{}", '{"browsers": []}', '{"browsers": [1]}'])
def test_an_unreadable_list_of_revisions_is_ignored(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "browsers.json").write_text(content)
    assert executable_module._wanted_revision(tmp_path) is None


async def test_the_version_is_read_from_the_executable(tmp_path: Path) -> None:
    found = BrowserFound(program(tmp_path / "chrome"), "full", "test")
    assert await version(found) == "Chromium 1.2.3.4"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo libnss3.so is missing >&2; exit 127", "libnss3.so is missing"),
        ("exit 3", "exit status 3"),
        ("true", "exit status 0"),
    ],
)
async def test_a_browser_that_fails_has_a_reason(tmp_path: Path, script: str, reason: str) -> None:
    found = BrowserFound(program(tmp_path / "chrome", script), "full", "test")
    with pytest.raises(BrowserMissing, match=reason):
        await version(found)


async def test_an_invalid_executable_has_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "chrome"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    with pytest.raises(BrowserMissing, match="does not start"):
        await version(BrowserFound(broken, "full", "test"))


async def test_a_browser_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
    found = BrowserFound(program(tmp_path / "chrome", script), "full", "test")
    query = asyncio.create_task(version(found, deadline=1.0))
    with pytest.raises(BrowserMissing, match="--version did not finish within 1 s"):
        await query
    wrapper, child = (int(pid) for pid in pids.read_text().split())
    await until_gone(wrapper)
    await until_gone(child)


async def until_gone(pid: int) -> None:
    """Waits until the process is gone or a zombie; a killed orphan stays visible until its new parent reaps it."""
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"process {pid} is still alive")


@pytest.mark.parametrize(
    ("uid", "settings", "expected", "reason"),
    [
        (0, {}, False, "as root"),
        (1000, {}, True, "No kernel setting"),
        (1000, {"kernel/unprivileged_userns_clone": "1\n", "user/max_user_namespaces": "96000\n"}, True, "No kernel"),
        (1000, {"kernel/unprivileged_userns_clone": "0\n"}, False, "kernel.unprivileged_userns_clone is 0"),
        (1000, {"kernel/apparmor_restrict_unprivileged_userns": "0\n"}, True, "No kernel setting"),
        (1000, {"kernel/apparmor_restrict_unprivileged_userns": "1\n"}, False, "AppArmor profile"),
        (1000, {"user/max_user_namespaces": "0\n"}, False, "user.max_user_namespaces is 0"),
    ],
)
def test_the_sandbox_is_expected_unless_a_kernel_setting_forbids_it(
    tmp_path: Path, uid: int, settings: dict[str, str], expected: bool, reason: str
) -> None:
    for name, value in settings.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(value)
    possible, why = sandbox_expected(uid=uid, proc_sys=tmp_path)
    assert possible is expected
    assert reason in why


def test_the_sandbox_check_defaults_to_the_current_user(tmp_path: Path) -> None:
    possible, _ = sandbox_expected(proc_sys=tmp_path)
    assert possible is (os.getuid() != 0)


def test_root_has_the_sandbox_if_chromium_runs_as_another_user(tmp_path: Path) -> None:
    possible, _ = sandbox_expected(BrowserUser(65534, 65534, "nobody"), uid=0, proc_sys=tmp_path)
    assert possible

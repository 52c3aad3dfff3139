"""doctor: what this machine has for the service, what it lacks, and what to do about it."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import structlog
import typer
from rich.text import Text

from browser_sessions.cli.command_group import AsJson
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.node import doctor_findings
from browser_sessions.cli.node.doctor_findings import Finding, Folder
from browser_sessions.cli.node.setting_flags import values_of
from browser_sessions.cli.output import plain, show, show_json
from browser_sessions.cli.reports import reporting
from browser_sessions.cli.tables import facts
from browser_sessions.client import ApiError, Client, NotReachable
from browser_sessions.client.discovery import announced_pid
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.errors import BrowserSessionsError, SettingsError
from browser_sessions.domain.session_spec import SessionSpec
from browser_sessions.loop_priority import raise_priority
from browser_sessions.settings import Settings, load, memory_limit_bytes, raise_open_files_limit, unknown

TRY_SECONDS: Final = 60.0
"""For driver, browser and page together: they take one second here; a cold disk and a busy machine take more."""
CLOSE_SECONDS: Final = 5.0
FONTS_SECONDS: Final = 30.0
"""For one call of fc-list, which indexes all fonts the first time."""

_STYLES: Final[Mapping[str, str]] = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", metavar="FOLDER", help="As for serve (BROWSER_SESSIONS_DATA_DIR).")
    ] = None,
    port: Annotated[
        str | None, typer.Option("--port", metavar="INTEGER", help="As for serve (BROWSER_SESSIONS_PORT).")
    ] = None,
    browser_executable: Annotated[
        str | None,
        typer.Option(
            "--browser-executable", metavar="PATH", help="As for serve (BROWSER_SESSIONS_BROWSER_EXECUTABLE)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check whether the service can run here.

    Says what to do where it cannot; the exit code is 1 then.
    """
    with reporting(as_json=as_json):
        found = examine(
            values_of({"data_dir": data_dir, "port": port, "browser_executable": browser_executable}), dict(os.environ)
        )
    well = not any(each.state == "problem" for each in found)
    if as_json:
        show_json({"ok": well, "findings": [asdict(each) for each in found]})
    else:
        show(facts((each.check, _shown(each)) for each in found))
    if not well:
        raise typer.Exit(ExitCode.FAILED)


def examine(flags: Mapping[str, Any], environ: Mapping[str, str]) -> list[Finding]:
    """Everything, in the order in which a start would meet it."""
    raise_open_files_limit()
    found = [doctor_findings.on_python(sys.version_info[:3])]
    try:
        settings = load(**flags)
    except SettingsError as error:
        return [*found, Finding("settings", "problem", error.detail, "Set them right; docs/settings.md lists them.")]
    if strange := unknown(environ):
        found.append(Finding("settings", "warning", " ".join(strange), "docs/settings.md lists them all."))
    else:
        found.append(Finding("settings", "ok", f"All can be used ({_set_by(environ)})."))
    found.append(doctor_findings.on_egress(settings.egress, settings.egress_allow))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    found += asyncio.run(_live(settings))
    found.append(doctor_findings.on_folder(folder_at(settings.data_dir)))
    found.append(doctor_findings.on_memory(memory_limit_bytes(), settings.max_sessions))
    found.append(doctor_findings.on_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0], settings.max_sessions))
    found.append(doctor_findings.on_threads(*_threads(), settings.max_sessions))
    found.append(doctor_findings.on_shared_memory(_size(Path("/dev/shm"))))  # noqa: S108 - looked at, not written to
    found.append(doctor_findings.on_fonts(missing_fonts()))
    with ThreadPoolExecutor(1) as tried:  # it is the priority of one thread
        found.append(doctor_findings.on_priority(tried.submit(raise_priority).result()))
    return found


async def _live(settings: Settings) -> list[Finding]:
    """What only a try tells: the port, the driver, the browser and its sandbox."""
    host, port = settings.host, settings.port
    refused = _refused(host, port)
    holder = await _holder(settings) if refused else ""
    try:
        async with asyncio.timeout(TRY_SECONDS):
            browser = await try_browser(settings)
    except TimeoutError:
        browser = [
            Finding(
                "browser",
                "problem",
                f"Driver and browser did not open a page within {TRY_SECONDS:g} s.",
                "Look for what keeps this machine busy, and try again.",
            )
        ]
    return [*browser, doctor_findings.on_port(host, port, refused, holder)]


async def try_browser(settings: Settings) -> list[Finding]:
    """Starts the driver and a browser as the service would, and opens a page in it; nothing of it is left."""
    # Playwright takes most of a second to load: only this command needs it.
    from browser_sessions.chromium.launch import folders
    from browser_sessions.chromium.launch.executable import locate, version
    from browser_sessions.chromium.launch.user import browser_user
    from browser_sessions.chromium.launcher import PlaywrightLauncher

    found = []
    try:
        browser = locate(settings.browser_executable)
        shown = await version(browser)
    except BrowserSessionsError as error:
        do = "Install one, or set BROWSER_SESSIONS_BROWSER_EXECUTABLE to the path of one."
        return [Finding("browser", "problem", error.detail, do)]
    found.append(doctor_findings.on_browser(shown, browser.executable, browser.source, full=browser.kind == "full"))
    with tempfile.TemporaryDirectory(prefix="browser-sessions-doctor-") as folder:
        work = folders.work_folder(Path(folder, "work"), browser_user())
        launcher = PlaywrightLauncher(work, settings.browser_executable, settings.require_sandbox, SystemClock())
        began = time.monotonic()
        try:
            await launcher.start()
            found.append(doctor_findings.on_driver(launcher.driver_reason))
            found.append(doctor_findings.on_sandbox(launcher.sandbox, launcher.sandbox_reason))
            process = await launcher.launch(lambda _process, _reason: None)
            context = await process.open_context(
                SessionSpec(), work / "sessions" / "doctor", lambda _event: None, timeout=TRY_SECONDS
            )
            await context.close(timeout=CLOSE_SECONDS)
            seconds = time.monotonic() - began
            found.append(Finding("start", "ok", f"Driver, browser and a first page were there in {seconds:.1f} s."))
        except BrowserSessionsError as error:
            found.append(Finding("start", "problem", error.detail, "Put that right, and try again."))
        finally:
            await launcher.stop()
            folders.remove_if_empty(work)
    return found


def missing_fonts() -> list[str] | None:
    """The scripts of `doctor_findings.FONTS` without a font; None when fc-list is not there or does not work."""
    program = shutil.which("fc-list")
    if program is None:
        return None
    try:
        return [
            name
            for name, (pattern, _) in doctor_findings.FONTS.items()
            if subprocess.run([program, "--quiet", pattern], check=False, timeout=FONTS_SECONDS).returncode != 0
        ]
    except (OSError, subprocess.TimeoutExpired):
        return None


def folder_at(path: Path) -> Folder:
    """The folder, or where it would be made. An unreadable one above it counts as one that cannot be written."""
    nearest = path.absolute()
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        return Folder(
            path=path,
            exists=nearest == path.absolute(),
            is_folder=nearest.is_dir(),
            writable=os.access(nearest, os.W_OK | os.X_OK),
            mode=nearest.stat().st_mode & 0o777,
            free_bytes=shutil.disk_usage(nearest).free,
        )
    except OSError:
        return Folder(path=path, exists=False, is_folder=True, writable=False, mode=0, free_bytes=0)


def _refused(host: str, port: int) -> str:
    """What the system says to a server there; empty when it may be one."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
            tried.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return ""


async def _holder(settings: Settings) -> str:
    """Who answers there, when it is a service of ours."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - asked, not bound to
    shown = f"[{host}]" if ":" in host else host
    async with Client(f"http://{shown}:{settings.port}", "none", attempts=1) as client:
        try:
            answer = await client.call("GET", "/healthz", timeout=2.0)
            version = answer["version"]
        except (NotReachable, ApiError, KeyError, TypeError):
            return ""
    pid = announced_pid(settings.data_dir)
    return f"browser-sessions {plain(version)}" + (f", process {pid}" if pid is not None else " of another data folder")


def _threads() -> tuple[int | None, int]:
    """Limit and use of this process's control group, version 2 or 1; (None, 0) where there is none."""
    groups = [line.split(":", 2) for line in _text("/proc/self/cgroup").splitlines() if line.count(":") >= 2]
    for _, controllers, path in groups:
        root = (
            "/sys/fs/cgroup/pids" if "pids" in controllers.split(",") else "/sys/fs/cgroup" if not controllers else ""
        )
        if root:
            limit, used = _text(f"{root}{path}/pids.max"), _text(f"{root}{path}/pids.current")
            if not limit:  # inside a container its own group is the root
                limit, used = _text(f"{root}/pids.max"), _text(f"{root}/pids.current")
            if limit.isdecimal():
                return int(limit), int(used) if used.isdecimal() else 0
    return None, 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _size(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).total
    except OSError:
        return None


def _set_by(environ: Mapping[str, str]) -> str:
    names = sorted(name for name in environ if name.startswith("BROWSER_SESSIONS_"))
    return ", ".join(names) if names else "none is set in the environment"


def _shown(finding: Finding) -> Text:
    text = Text.assemble((f"{finding.state:8}", _STYLES[finding.state]), " ", plain(finding.says))
    if finding.do:
        text.append(f"\n{'':9}{plain(finding.do)}")
    return text

"""Finds the Chromium executable to start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.domain.errors import BrowserMissing

Kind = Literal["headless_shell", "full"]

EXECUTABLE_SETTING: Final = "BROWSER_SESSIONS_BROWSER_EXECUTABLE"
HEADLESS_SHELL_NAMES: Final = ("chromium-headless-shell", "headless_shell", "chrome-headless-shell")
"""Debian's name, the name in Chromium's own build, and the name in Chrome for Testing's archives."""
FULL_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
"""Debian's and Fedora's, older Ubuntu's, and Google's own name."""
COMPLETE_MARK: Final = "INSTALLATION_COMPLETE"
"""Playwright writes this file last. A folder without it is an interrupted download."""
VERSION_DEADLINE_S: Final = 10.0
"""`--version` takes 0.2 s; a cold disk on a busy machine can need seconds, a hung browser never returns."""
HOW_TO_INSTALL: Final = (
    "There is no Chromium on this machine: run 'playwright install --only-shell chromium', "
    "or on Debian 'apt-get install chromium-headless-shell' as root, "
    f"or set {EXECUTABLE_SETTING} to the path of one."
)


@dataclass(frozen=True, slots=True)
class BrowserFound:
    """An existing executable. `source` says where it was found, for `doctor` and the log."""

    executable: Path
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class SearchPaths:
    """Where to look: Playwright's browser folder, the revision that the installed Playwright expects, and a PATH."""

    playwright_folder: Path
    wanted_revision: str | None
    path: str

    @classmethod
    def of_this_machine(cls) -> SearchPaths:
        """Reads PATH and Playwright's PLAYWRIGHT_BROWSERS_PATH."""
        package = _playwright_package()
        folder = _playwright_folder(os.environ.get("PLAYWRIGHT_BROWSERS_PATH"), package, Path.home(), sys.platform)
        return cls(folder, _wanted_revision(package), os.environ.get("PATH", os.defpath))


def locate(explicit: Path | None, paths: SearchPaths | None = None) -> BrowserFound:
    """The executable to start. In this order: `explicit` (from the settings), Playwright's headless shell, a headless
    shell on the PATH, a full Chromium on the PATH.

    A headless shell is preferred because it opens pages three times as fast in a fifth of the memory.

    Raises:
        BrowserMissing: `explicit` is not an executable file, or nothing was found. The message says what to do.
    """
    if explicit is not None:
        return _from_setting(explicit)
    paths = paths or SearchPaths.of_this_machine()
    found = _from_playwright(paths) or _from_path(paths.path)
    if found is None:
        raise BrowserMissing(HOW_TO_INSTALL)
    return found


async def version(found: BrowserFound, deadline: float = VERSION_DEADLINE_S) -> str:
    """The output of `--version`, such as "Chromium 156.0.8078.79". `deadline` in seconds.

    Raises:
        BrowserMissing: it does not start (a missing shared library, for example), or was killed at the deadline.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            str(found.executable),
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that the child of a wrapper script is killed too
        )
    except OSError as error:
        raise BrowserMissing(f"{found.executable} does not start: {error.strerror}.") from error
    try:
        async with asyncio.timeout(deadline):
            out, err = await process.communicate()
    except TimeoutError:
        raise BrowserMissing(f"{found.executable} --version did not finish within {deadline:g} s.") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()
    output = out.decode(errors="replace").strip()
    if process.returncode != 0 or not output:
        errors = err.decode(errors="replace").strip().splitlines() or [f"exit status {process.returncode}"]
        raise BrowserMissing(f"{found.executable} does not run on this machine: {errors[-1]}")
    return output


def sandbox_expected(
    user: BrowserUser | None = None, *, uid: int | None = None, proc_sys: Path = Path("/proc/sys")
) -> tuple[bool, str]:
    """Whether Chromium's sandbox can be expected to start here, and why.

    `user` is the user that Chromium runs as, None for our own. Tests replace our own uid by `uid`.

    The sandbox needs unprivileged user namespaces. Of the settings, the first is Debian's, the second Ubuntu's (since
    23.10), the third the kernel's own (user_namespaces(7)). A container's seccomp profile can still forbid them, which
    only a start of Chromium shows.
    """
    if user is None and (os.getuid() if uid is None else uid) == 0:
        return False, "Chromium has no sandbox as root: run the service as another user."
    for setting, bad, remedy in (
        ("kernel.unprivileged_userns_clone", 0, "set it to 1"),
        ("kernel.apparmor_restrict_unprivileged_userns", 1, "set it to 0, or give the browser an AppArmor profile"),
        ("user.max_user_namespaces", 0, "set it to a few thousand"),
    ):
        if _number_in(proc_sys.joinpath(*setting.split("."))) == bad:
            return False, f"The kernel setting {setting} is {bad}, which forbids user namespaces: {remedy}."
    return True, "No kernel setting forbids the sandbox."


def _from_setting(executable: Path) -> BrowserFound:
    path = executable.expanduser()
    if not path.exists():
        raise BrowserMissing(f"{EXECUTABLE_SETTING} is {path}, which does not exist: give the path of a Chromium.")
    if not _is_executable(path):
        raise BrowserMissing(
            f"{EXECUTABLE_SETTING} is {path}, which is not an executable file: give the path of a Chromium."
        )
    names = {path.name, path.resolve().name}
    kind: Kind = "headless_shell" if names & set(HEADLESS_SHELL_NAMES) else "full"
    return BrowserFound(path.absolute(), kind, EXECUTABLE_SETTING)


def _from_playwright(paths: SearchPaths) -> BrowserFound | None:
    """The revision that the installed Playwright expects, else the newest complete one."""
    folders: dict[int, Path] = {}
    for folder in paths.playwright_folder.glob("chromium_headless_shell-*"):
        number = folder.name.rpartition("-")[2]
        if number.isdecimal() and (folder / COMPLETE_MARK).exists():
            folders[int(number)] = folder
    by_preference = sorted(folders, key=lambda each: (str(each) == paths.wanted_revision, each), reverse=True)
    for revision in by_preference:
        for name in HEADLESS_SHELL_NAMES:
            # the folder in between is named after the platform
            for executable in sorted(folders[revision].glob(f"*/{name}")):
                if _is_executable(executable):
                    return BrowserFound(executable, "headless_shell", f"Playwright's own, revision {revision}")
    return None


def _from_path(path: str) -> BrowserFound | None:
    kinds: tuple[tuple[Kind, tuple[str, ...]], ...] = (("headless_shell", HEADLESS_SHELL_NAMES), ("full", FULL_NAMES))
    for kind, names in kinds:
        for name in names:
            if executable := shutil.which(name, path=path):
                return BrowserFound(Path(executable).absolute(), kind, "the system's")
    return None


def _playwright_package() -> Path | None:
    """The package folder of Playwright's driver, found without importing Playwright."""
    spec = find_spec("playwright")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "driver" / "package"


def _playwright_folder(setting: str | None, package: Path | None, home: Path, platform: str) -> Path:
    """By the rules in Playwright's documentation (Browsers, "Managing browser binaries"): "0" means in the package."""
    if setting == "0" and package is not None:
        return package / ".local-browsers"
    if setting and setting != "0":
        return Path(setting).absolute()
    return home / ("Library/Caches" if platform == "darwin" else ".cache") / "ms-playwright"


def _wanted_revision(package: Path | None) -> str | None:
    if package is None:
        return None
    try:
        browsers = json.loads((package / "browsers.json").read_bytes())["browsers"]
        return next(str(each["revision"]) for each in browsers if each["name"] == "chromium-headless-shell")
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None  # only a preference: without it the newest revision is used


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _number_in(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None  # the kernel does not have this setting

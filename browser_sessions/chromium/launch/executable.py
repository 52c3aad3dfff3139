"""Which Chromium to start, and what to tell the user when there is none."""

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
"""Playwright writes this file last: a folder without it is a download that was cut off."""
VERSION_DEADLINE_S: Final = 10.0
"""`--version` takes 0.2 s here; ten seconds is a cold disk on a busy machine, and more is a browser that hangs."""
HOW_TO_INSTALL: Final = (
    "There is no Chromium on this machine: run 'playwright install --only-shell chromium', "
    "or on Debian 'apt-get install chromium-headless-shell' as root, "
    f"or set {EXECUTABLE_SETTING} to the path of one."
)


@dataclass(frozen=True, slots=True)
class BrowserFound:
    """An executable that is there. `source` says where it came from, in words for `doctor` and the log."""

    executable: Path
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look: Playwright's folder of browsers, the revision its library was made for, and a PATH."""

    playwright_folder: Path
    wanted_revision: str | None
    path: str

    @classmethod
    def of_this_machine(cls) -> Places:
        """Reads PATH and PLAYWRIGHT_BROWSERS_PATH, which are the system's and Playwright's names, not ours."""
        package = _playwright_package()
        folder = _playwright_folder(os.environ.get("PLAYWRIGHT_BROWSERS_PATH"), package, Path.home(), sys.platform)
        return cls(folder, _wanted_revision(package), os.environ.get("PATH", os.defpath))


def locate(explicit: Path | None, places: Places | None = None) -> BrowserFound:
    """The executable to start: the one the settings name, Playwright's headless shell, the system's, a full Chromium.

    A headless shell goes before a full browser because it opens pages three times as fast in a fifth of the memory.

    Raises:
        BrowserMissing: `explicit` is no executable file, or nothing was found; the sentence says what to do.
    """
    if explicit is not None:
        return _named(explicit)
    where = places or Places.of_this_machine()
    found = _from_playwright(where) or _from_path(where.path)
    if found is None:
        raise BrowserMissing(HOW_TO_INSTALL)
    return found


async def version(found: BrowserFound, deadline: float = VERSION_DEADLINE_S) -> str:
    """What the executable says to `--version`, such as "Chromium 156.0.8078.79". `deadline` in seconds.

    Raises:
        BrowserMissing: it does not start (a shared library is missing, say) or does not answer; it is killed then.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            str(found.executable),
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a wrapper script's child is in the group that is killed below
        )
    except OSError as error:
        raise BrowserMissing(f"{found.executable} does not start: {error.strerror}.") from error
    try:
        async with asyncio.timeout(deadline):
            out, err = await process.communicate()
    except TimeoutError:
        raise BrowserMissing(f"{found.executable} did not answer to --version within {deadline:g} s.") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()
    answer = out.decode(errors="replace").strip()
    if process.returncode != 0 or not answer:
        complaint = err.decode(errors="replace").strip().splitlines() or [f"exit status {process.returncode}"]
        raise BrowserMissing(f"{found.executable} does not run on this machine: {complaint[-1]}")
    return answer


def sandbox_expected(
    user: BrowserUser | None = None, *, uid: int | None = None, proc_sys: Path = Path("/proc/sys")
) -> tuple[bool, str]:
    """Whether Chromium's sandbox can be expected to start here, and why.

    `user` is who Chromium runs as, where it is not this process's own user. `uid` stands for the latter in tests.

    The sandbox needs user namespaces of an unprivileged user. The first setting is Debian's, the second Ubuntu's
    (since 23.10), the third the kernel's own (user_namespaces(7)). A container's seccomp profile can still forbid
    them, which no file shows: only a start tells.
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


def _named(executable: Path) -> BrowserFound:
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


def _from_playwright(where: Places) -> BrowserFound | None:
    """The revision that the library was made for, else the newest that is complete."""
    folders: dict[int, Path] = {}
    for folder in where.playwright_folder.glob("chromium_headless_shell-*"):
        number = folder.name.rpartition("-")[2]
        if number.isdecimal() and (folder / COMPLETE_MARK).exists():
            folders[int(number)] = folder
    by_preference = sorted(folders, key=lambda each: (str(each) == where.wanted_revision, each), reverse=True)
    for revision in by_preference:
        for name in HEADLESS_SHELL_NAMES:
            # The folder between is named after the platform.
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
    """The folder of Playwright's driver, found without importing Playwright."""
    spec = find_spec("playwright")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "driver" / "package"


def _playwright_folder(setting: str | None, package: Path | None, home: Path, platform: str) -> Path:
    """The rules of Playwright's docs (Browsers, "Managing browser binaries"): "0" means inside the package."""
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
        return None  # only a preference: without it the newest revision is taken


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _number_in(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None  # the kernel does not have this setting

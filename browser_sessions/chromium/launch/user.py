"""The users that Chromium and Playwright's driver run as when the service is root."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME: Final = "browser-sessions"
"""System user that Chromium runs as if it exists."""
NOBODY: Final = 65534
"""Unprivileged user and group otherwise: the kernel's overflow id, `nobody` in every distribution."""
DRIVER: Final = 65533
"""User and group of the driver: an id that distributions leave unused, so no other process can signal or trace it."""
RUN_SECONDS: Final = 10.0
"""For `--version`, which takes 0.2 s, and seconds with a cold disk on a busy machine."""


@dataclass(frozen=True, slots=True)
class BrowserUser:
    """An unprivileged user without supplementary groups."""

    uid: int
    gid: int
    name: str

    def may_enter(self, folder: Path) -> bool:
        """Whether this user can traverse `folder` and all its parents. False if one is missing."""
        try:
            return all(self._may_enter(each.stat()) for each in (folder.resolve(), *folder.resolve().parents))
        except OSError:
            return False

    def _may_enter(self, found: os.stat_result) -> bool:
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return bool(found.st_mode >> shift & 1)


def browser_user() -> BrowserUser | None:
    """The user that Chromium runs as; None if the service is not root, and Chromium runs as the same user."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        found = pwd.getpwnam(NAME)
        if found.pw_uid != 0 and found.pw_gid != 0:
            return BrowserUser(found.pw_uid, found.pw_gid, NAME)
    return BrowserUser(NOBODY, NOBODY, "nobody")


def driver_user() -> BrowserUser | None:
    """The user that the driver runs as, which is not Chromium's; None if the service is not root."""
    return BrowserUser(DRIVER, DRIVER, str(DRIVER)) if os.geteuid() == 0 else None


async def can_run(executable: Path, user: BrowserUser) -> bool:
    """Whether `user` can run the executable with all its files, tried with `--version`."""
    return await asyncio.to_thread(_can_run, executable, user)


def _can_run(executable: Path, user: BrowserUser) -> bool:
    try:
        tried = subprocess.Popen(
            [executable, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent"},
            cwd="/",
            start_new_session=True,  # so that the child of a wrapper script is killed too
            user=user.uid,
            group=user.gid,
            extra_groups=(),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    try:
        return tried.wait(RUN_SECONDS) == 0
    except subprocess.TimeoutExpired:
        os.killpg(tried.pid, signal.SIGKILL)
        tried.wait()
        return False

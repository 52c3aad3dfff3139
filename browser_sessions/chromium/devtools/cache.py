"""The front end's files and the protocol description, in one archive per version of Chromium.

```
<folder>/<version>.zip     0600, in a folder of mode 0700: see `crawl` for its members
<folder>/<version>.part    while it is being created
```
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

import structlog

from browser_sessions.chromium.devtools import crawl
from browser_sessions.domain.errors import DevToolsUnavailable, NotFound

MAKE_SECONDS: Final = 25.0
"""Timeout for a new archive, which takes 1.1 s on two idle cores, and longer with a cold disk on a busy machine."""
ORPHAN_SECONDS: Final = 10
"""How much later the program kills itself, in case this process is no longer there to kill it."""
END_SECONDS: Final = 5.0
"""Timeout for the kernel to end a killed group; usually 20 ms."""
LARGEST_BYTES: Final = 64 * 2**20
"""Limit of one unpacked file, against a Chromium that is not trustworthy. The largest has 3 MB."""
_POLL_SECONDS: Final = 0.005
_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+){1,5}")
_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "FONTCONFIG_PATH", "FONTCONFIG_FILE")
"""Environment variables for programs, libraries and fonts. No others, which could be secrets."""
_READ_ERRORS: Final = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""Exceptions of `zipfile` for damaged archives, and of `json` for `about.json`."""
NO_SUCH_FILE: Final = "Chromium's DevTools has no such file."

log = structlog.get_logger()


class DevToolsCache:
    """The cache for one version: that of the browsers that this service starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archive: zipfile.ZipFile | None = None
        self._version = ""
        self._unavailable_reason = "The service has not opened it yet."
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<DevToolsCache {self._version or 'empty'}>"

    async def prepare(self, version: str, executable: Path, user: tuple[int, int] | None) -> None:
        """Opens the archive of this version, or creates it if it is missing or damaged.

        Call it while the service has no session: without a network namespace, pages could reach the browser that is
        started here. `user`: (uid, gid) of that browser, None for our own.

        Never raises. After a failure, requests for DevTools get the reason, and the next start tries again.
        """
        self.close()
        try:
            if not _VERSION.fullmatch(version):
                raise crawl.CrawlError(f"{version[:40]!r} is not a version of Chromium")
            path = self._folder / f"{version}.zip"
            archive = await asyncio.to_thread(_open, path, version)
            if archive is None:
                archive = await self._make(path, version, executable, user)
            self._archive, self._version = archive, version
        except (crawl.CrawlError, *_READ_ERRORS) as error:
            reason = crawl.reason(error).rstrip(".")
            self._unavailable_reason = (
                f"Getting its files from Chromium {version[:40]} failed when the service started: {reason}. "
                "The next start tries again."
            )
            log.warning("devtools.not_available", version=version, reason=reason)

    def check(self, version: str) -> None:
        """Raises `DevToolsUnavailable` if this version is not available."""
        self._archive_of(version)

    def _archive_of(self, version: str) -> zipfile.ZipFile:
        if self._archive is None:
            raise DevToolsUnavailable(f"DevTools is not available. {self._unavailable_reason}")
        if version != self._version:
            raise DevToolsUnavailable(
                f"DevTools is available for Chromium {self._version}, but the session's is {version}: "
                "restart the service after an update of Chromium."
            )
        return self._archive

    async def file(self, version: str, path: str) -> bytes:
        """A file of the front end. Raises `NotFound`, `DevToolsUnavailable`."""
        return await self._read(version, crawl.FILES + path)

    async def protocol(self, version: str) -> bytes:
        """The body of Chromium's `/json/protocol`. Raises `DevToolsUnavailable`."""
        return await self._read(version, crawl.PROTOCOL)

    def close(self) -> None:
        """Closes the archive. Idempotent."""
        archive, self._archive, self._version = self._archive, None, ""
        if archive is not None:
            archive.close()

    async def _read(self, version: str, member: str) -> bytes:
        return await asyncio.to_thread(self._unpack, self._archive_of(version), member)

    def _unpack(self, archive: zipfile.ZipFile, member: str) -> bytes:
        with self._lock:  # threads share the file's position
            try:
                return _member(archive, member)
            except KeyError:
                raise NotFound(NO_SUCH_FILE) from None
            except _READ_ERRORS as error:
                raise DevToolsUnavailable("DevTools is not available: its archive is damaged or closed.") from error

    async def _make(self, path: Path, version: str, executable: Path, user: tuple[int, int] | None) -> zipfile.ZipFile:
        """Creates an archive. Raises `CrawlError`, `OSError`."""
        began = time.monotonic()
        part = path.with_suffix(".part")
        try:
            output = await asyncio.to_thread(self._create, part)
            with output:
                await self._crawl(output, executable, user)
            archive = await asyncio.to_thread(_open, part, version)
            if archive is None:
                raise crawl.CrawlError(f"Chromium's files are incomplete, or its version is not {version}")
            await asyncio.to_thread(part.replace, path)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        about: crawl.About = json.loads(_member(archive, crawl.ABOUT))
        log.info(
            "devtools.cached",
            version=version,
            files=len(archive.namelist()),
            isolated=about["isolated"],
            seconds=round(time.monotonic() - began, 3),
        )
        return archive

    def _create(self, part: Path) -> IO[bytes]:
        """Creates an empty file for a new archive and removes those of other versions. Raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in self._folder.iterdir():
            if each.suffix in {".zip", ".part"}:
                each.unlink(missing_ok=True)
        return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    async def _crawl(self, output: IO[bytes], executable: Path, user: tuple[int, int] | None) -> None:
        """Runs `crawl` with a temporary profile folder. Leaves no process and no folder behind.

        Raises `CrawlError`, `OSError`.
        """
        profile = await asyncio.to_thread(_profile, self._folder, user)
        try:
            job = crawl.Job(
                executable=str(executable),
                profile=str(profile),
                environment=_environment(os.environ, profile),
                user=user,
                seconds=int(MAKE_SECONDS) + ORPHAN_SECONDS,
            )
            await _run(job, output)
        finally:
            await asyncio.shield(asyncio.create_task(asyncio.to_thread(shutil.rmtree, profile, ignore_errors=True)))


async def _run(job: crawl.Job, output: IO[bytes]) -> None:
    """Raises `CrawlError`, `OSError`. Leaves no process of the program's group behind."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        crawl.__file__,
        json.dumps(job),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(os.environ, Path(job["profile"])),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(MAKE_SECONDS):
            _, errors = await process.communicate()
    except TimeoutError:
        raise crawl.CrawlError(f"it took more than {MAKE_SECONDS:g} s") from None
    finally:
        await asyncio.shield(asyncio.create_task(_end(process)))
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise crawl.CrawlError(lines[-1] if lines else f"the program exited with status {process.returncode}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills the program's group, which may have exited already, and waits until it is gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + END_SECONDS
    _kill(process.pid)
    await process.wait()
    while not _gone(process.pid):
        if loop.time() >= deadline:
            log.error("browser.survived_kill", process_group=process.pid)
            return
        await asyncio.sleep(_POLL_SECONDS)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _gone(group: int) -> bool:
    """Whether no process of the group is left. Reaps those that we adopted."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # a process of Chromium's user
    return False


def _open(path: Path, version: str) -> zipfile.ZipFile | None:
    """Opens the archive if it is from this version and all its members are intact, else returns None.

    The checksums take 60 ms.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _READ_ERRORS:
        return None
    try:
        about = json.loads(_member(archive, crawl.ABOUT))
        archive.getinfo(crawl.PROTOCOL)
        archive.getinfo(crawl.FILES + crawl.START)
        if about["version"] == version and archive.testzip() is None:
            return archive
    except _READ_ERRORS:
        pass
    archive.close()
    return None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Raises `KeyError` if there is no such member, and the others in `_READ_ERRORS`."""
    with archive.open(name) as member:
        body = member.read(LARGEST_BYTES + 1)
    if len(body) > LARGEST_BYTES:
        raise ValueError(name)
    return body


def _profile(folder: Path, user: tuple[int, int] | None) -> Path:
    """Creates a profile folder that `user` can reach: not in the data folder, whose mode is 0700.

    Removes those that this service left behind when it was killed, recognised by a hash of the cache's folder in their
    name. Raises `OSError`.
    """
    prefix = f"browser-sessions-devtools-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}-"
    for each in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        shutil.rmtree(each, ignore_errors=True)
    profile = Path(tempfile.mkdtemp(prefix=prefix))
    if user is not None:
        os.chown(profile, *user)
    return profile


def _environment(ours: Mapping[str, str], profile: Path) -> dict[str, str]:
    inherited = {name: ours[name] for name in _INHERITED if name in ours}
    return {**inherited, "HOME": str(profile), "TMPDIR": str(profile)}

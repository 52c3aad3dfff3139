"""The files of the front end and the protocol's description, read from one archive for each version of Chromium.

```
<folder>/<version>.zip     0600, in a folder of mode 0700: see `crawl` for its members
<folder>/<version>.part    while it is made
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
"""For a new archive. Takes 1.1 s on two idle cores; a cold disk on a busy machine takes longer."""
ORPHAN_SECONDS: Final = 10
"""How long after that the program ends by itself, when this process is no longer there to end it."""
END_SECONDS: Final = 5.0
"""For the kernel to end a killed group; takes 20 ms."""
LARGEST_BYTES: Final = 64 * 2**20
"""Of one file when unpacked; the largest has 3 MB. An archive is only as good as the Chromium that it comes from."""
_LOOK_SECONDS: Final = 0.005
_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+){1,5}")
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "FONTCONFIG_PATH", "FONTCONFIG_FILE")
"""Of the environment: where programs, libraries and fonts are. Nothing that could be a secret."""
_NOT_READABLE: Final = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""What `zipfile` raises for archives that are not what it expects, and `json` for `about.json`."""
NO_SUCH_FILE: Final = "Chromium's DevTools has no such file."

log = structlog.get_logger()


class DevToolsCache:
    """Holds one version: that of the browsers that this service starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archive: zipfile.ZipFile | None = None
        self._version = ""
        self._why_not = "The service has not looked for it yet."
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<DevToolsCache {self._version or 'empty'}>"

    async def prepare(self, version: str, executable: Path, user: tuple[int, int] | None) -> None:
        """Opens the archive of this version, making it when there is none or it is damaged.

        Call it while the service has no session: where the system has no network namespaces for us, a page could reach
        the browser that is started here. `user`: (uid, gid) of that browser, None for our own.

        Never raises: when it fails, DevTools answers with the reason, and the next start tries again.
        """
        self.close()
        try:
            if not _VERSION.fullmatch(version):
                raise crawl.CrawlError(f"{version[:40]!r} is no version of Chromium")
            path = self._folder / f"{version}.zip"
            archive = await asyncio.to_thread(_opened, path, version)
            if archive is None:
                archive = await self._make(path, version, executable, user)
            self._archive, self._version = archive, version
        except (crawl.CrawlError, *_NOT_READABLE) as error:
            why = crawl.reason(error).rstrip(".")
            self._why_not = (
                f"Taking its files from Chromium {version[:40]} failed when the service started: {why}. "
                "The next start tries again."
            )
            log.warning("devtools.not_available", version=version, reason=why)

    def check(self, version: str) -> None:
        """Raises `DevToolsUnavailable` when there is nothing of this version."""
        if self._archive is None:
            raise DevToolsUnavailable(f"DevTools is not available. {self._why_not}")
        if version != self._version:
            raise DevToolsUnavailable(
                f"DevTools is there for Chromium {self._version}, and the session's is {version}: "
                "restart the service after an update of Chromium."
            )

    async def file(self, version: str, path: str) -> bytes:
        """A file of the front end. Raises `NotFound`, `DevToolsUnavailable`."""
        return await self._read(version, crawl.FILES + path)

    async def protocol(self, version: str) -> bytes:
        """What Chromium's `/json/protocol` answers. Raises `DevToolsUnavailable`."""
        return await self._read(version, crawl.PROTOCOL)

    def close(self) -> None:
        """Closes the archive. Safe to call twice."""
        archive, self._archive, self._version = self._archive, None, ""
        if archive is not None:
            archive.close()

    async def _read(self, version: str, member: str) -> bytes:
        self.check(version)
        assert self._archive is not None
        return await asyncio.to_thread(self._unpack, self._archive, member)

    def _unpack(self, archive: zipfile.ZipFile, member: str) -> bytes:
        with self._lock:  # two threads share the file's position
            try:
                return _member(archive, member)
            except KeyError:
                raise NotFound(NO_SUCH_FILE) from None
            except _NOT_READABLE as error:
                raise DevToolsUnavailable("DevTools is not available: its archive was damaged or closed.") from error

    async def _make(self, path: Path, version: str, executable: Path, user: tuple[int, int] | None) -> zipfile.ZipFile:
        """A new archive. Raises `CrawlError`, `OSError`."""
        began = time.monotonic()
        part = path.with_suffix(".part")
        try:
            output = await asyncio.to_thread(self._begin, part)
            with output:
                await self._crawl(output, executable, user)
            archive = await asyncio.to_thread(_opened, part, version)
            if archive is None:
                raise crawl.CrawlError(f"Chromium gave no complete set of files, or is another version than {version}")
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

    def _begin(self, part: Path) -> IO[bytes]:
        """An empty file for a new archive. Those of other versions are removed. Raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in self._folder.iterdir():
            if each.suffix in {".zip", ".part"}:
                each.unlink(missing_ok=True)
        return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    async def _crawl(self, output: IO[bytes], executable: Path, user: tuple[int, int] | None) -> None:
        """Runs `crawl` with a profile folder of its own. No process and no folder is left of it.

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
    """Raises `CrawlError`, `OSError`. Nothing of the program's process group is left afterwards."""
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
            _, said = await process.communicate()
    except TimeoutError:
        raise crawl.CrawlError(f"it was not done after {MAKE_SECONDS:g} s") from None
    finally:
        await asyncio.shield(asyncio.create_task(_end(process)))
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()
        raise crawl.CrawlError(lines[-1] if lines else f"the program ended with status {process.returncode}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills the group of a program that may have ended already, and waits until it is gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + END_SECONDS
    _kill(process.pid)
    await process.wait()
    while not _gone(process.pid):
        if loop.time() >= deadline:
            log.error("browser.survived_kill", process_group=process.pid)
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _gone(group: int) -> bool:
    """Reaps members of the group that became our children."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's user: Chromium's, when it is not ours
    return False


def _opened(path: Path, version: str) -> zipfile.ZipFile | None:
    """An archive all of whose members are whole, made from this version; None when it is missing or damaged.

    Takes 60 ms for the checksums.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _NOT_READABLE:
        return None
    try:
        about = json.loads(_member(archive, crawl.ABOUT))
        archive.getinfo(crawl.PROTOCOL)
        archive.getinfo(crawl.FILES + crawl.START)
        if about["version"] == version and archive.testzip() is None:
            return archive
    except _NOT_READABLE:
        pass
    archive.close()
    return None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Raises `KeyError` when there is none, and what else is in `_NOT_READABLE`."""
    with archive.open(name) as member:
        body = member.read(LARGEST_BYTES + 1)
    if len(body) > LARGEST_BYTES:
        raise ValueError(name)
    return body


def _profile(folder: Path, user: tuple[int, int] | None) -> Path:
    """An empty folder for one browser, which `user` reaches: not in the data folder, whose mode is 0700.

    Removes those of a service that was killed: their names begin with a hash of the cache's folder, which belongs to
    one service. Raises `OSError`.
    """
    prefix = f"browser-sessions-devtools-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}-"
    for each in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        shutil.rmtree(each, ignore_errors=True)
    profile = Path(tempfile.mkdtemp(prefix=prefix))
    if user is not None:
        os.chown(profile, *user)
    return profile


def _environment(ours: Mapping[str, str], profile: Path) -> dict[str, str]:
    kept = {name: ours[name] for name in _PASSED_ON if name in ours}
    return {**kept, "HOME": str(profile), "TMPDIR": str(profile)}

"""Run as a program: starts a Chromium without sessions, writes what its debugging port gives to standard output, as a
ZIP archive, and ends it.

The only argument is a `Job` as JSON. Standard error is one line that says what went wrong, if something did. Imports
the standard library only: the program is started with `-I -S`, which takes half the time.

While this Chromium runs, whoever reaches its port can have it read files. So it gets a network namespace of its own
where the system allows one: nothing outside can connect to it then. Elsewhere, the caller runs this while it has no
session.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import posixpath
import re
import signal
import socket
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, Final, TypedDict

START: Final = "inspector.html"
"""The front end's page. All other files are found from it."""
_LOCALES: Final = ("core/i18n/locales/en-US.json", "core/i18n/locales/zh.json")
"""Named by a template in the front end, which the crawl cannot follow. Builds without the second exist."""
ABOUT: Final = "about.json"
PROTOCOL: Final = "protocol.json"
FILES: Final = "devtools/"
"""Members of the archive: `About`, what `/json/protocol` answers, and before every path of the front end."""
COMPRESSION: Final = 3
"""18 MB become 5.7 MB in 0.22 s; level 6 saves another 0.5 MB and takes 0.44 s."""
ANSWER_SECONDS: Final = 10.0
"""For one answer on loopback; takes a millisecond."""

_NAMED: Final = re.compile(
    rb"""["'`(]((?:\.{1,2}/|[A-Za-z0-9_])[A-Za-z0-9_./-]*\.(?:js|css|html|json|svg|png|avif|webp|gif|wasm|woff2))["'`)]"""
)
"""What looks like a file's name in quotes or parentheses: imports of both kinds, `new URL`, `url()`, `src`."""
_NAMES_OTHERS: Final = (".js", ".html", ".css")
_LISTENS: Final = re.compile(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/")
_LINES_KEPT: Final = 3
"""Of what Chromium says before it ends: the last words are the ones that count."""

_PR_SET_CHILD_SUBREAPER: Final = 36  # <linux/prctl.h>
_CLONE_NEWUSER: Final = 0x10000000  # <linux/sched.h>
_CLONE_NEWNET: Final = 0x40000000
_SIOCGIFFLAGS: Final = 0x8913  # <linux/sockios.h>
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1  # <net/if.h>
_IFREQ: Final = "16sh22x"
"""`struct ifreq` as far as its flags are concerned."""

SWITCHES: Final = (
    "--headless",
    "--remote-debugging-port=0",
    "--no-startup-window",  # no page, hence no renderer
    "--no-sandbox",  # which is about renderers; inside a user namespace it could not be set up either
    "--host-resolver-rules=MAP * ~NOTFOUND",  # asks nobody anything
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    "--password-store=basic",
    "--use-mock-keychain",
)


class Job(TypedDict):
    """`user` is (uid, gid) for Chromium, None for those of this process. `profile`: an empty folder of that user's.
    `environment` is Chromium's. `seconds`: after these this process kills its whole group, itself included; for the
    case that its parent has died."""

    executable: str
    profile: str
    environment: dict[str, str]
    user: tuple[int, int] | None
    seconds: int


class About(TypedDict):
    """`isolated`: whether Chromium had a network namespace of its own."""

    version: str
    isolated: bool


class CrawlError(Exception):
    """Says what went wrong, in one line."""


def main() -> int:
    job: Job = json.loads(sys.argv[1])
    if os.getpgrp() != os.getpid():
        os.setsid()  # the group is killed below: it must be ours
    signal.signal(signal.SIGALRM, lambda _number, _frame: os.killpg(0, signal.SIGKILL))
    signal.alarm(job["seconds"])
    try:
        run(job, sys.stdout.buffer)
    except (CrawlError, OSError, http.client.HTTPException, ValueError) as error:
        sys.stderr.write(f"{reason(error)}\n")
        return 1
    return 0


def reason(error: Exception) -> str:
    """What went wrong, in one line without paths of this machine. Pure."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__


def run(job: Job, output: BinaryIO) -> None:
    """Raises `CrawlError`, `OSError`, `HTTPException`, `ValueError`. No process is left afterwards."""
    _adopt_orphans()
    isolated = _tried(job) and _isolate(job)
    user = job["user"]
    chromium = subprocess.Popen(
        [job["executable"], *SWITCHES, f"--user-data-dir={job['profile']}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=job["environment"],
        cwd="/",
        user=None if user is None else user[0],
        group=None if user is None else user[1],
        extra_groups=None if user is None else (),
    )
    try:
        port = _port(chromium)
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
            with contextlib.closing(connection):
                product = str(json.loads(_get(connection, "/json/version"))["Browser"])
                about = About(version=product.rpartition("/")[2], isolated=isolated)
                archive.writestr(ABOUT, json.dumps(about))
                archive.writestr(PROTOCOL, _get(connection, "/json/protocol"))
                for path, body in _crawl(connection):
                    archive.writestr(FILES + path, body)
        output.flush()
    finally:
        _end_all()


def _crawl(connection: http.client.HTTPConnection) -> Iterator[tuple[str, bytes]]:
    """Every file that can be found from `START`, with its path. None when Chromium has no front end."""
    waiting = [*_LOCALES, START]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        body = _get(connection, f"/devtools/{path}")
        if not body:  # Chromium answers 200 and nothing for what it has not
            continue
        yield path, body
        if path.endswith(_NAMES_OTHERS):
            new = {each for each in named(path, body) if each not in seen}
            seen |= new
            waiting += sorted(new)


def named(path: str, body: bytes) -> set[str]:
    """Paths of files that `path` may refer to, and of some that do not exist. Pure."""
    folder = posixpath.dirname(path)
    found = set()
    for name in (each.decode() for each in _NAMED.findall(body)):
        found.add(posixpath.normpath(posixpath.join(folder, name)))
        if not name.startswith("."):
            found.add(posixpath.normpath(name))
    return {each for each in found if not each.startswith(("..", "/"))}


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    return body if answer.status == http.client.OK else b""


def _port(chromium: subprocess.Popen[bytes]) -> int:
    assert chromium.stderr is not None
    said = []
    for line in (each.decode(errors="replace").strip() for each in chromium.stderr):
        if found := _LISTENS.search(line):
            return int(found.group(1))
        if line:
            said.append(line)
    raise CrawlError("Chromium did not start: " + ("; ".join(said[-_LINES_KEPT:]) or "it says nothing about why"))


def _adopt_orphans() -> None:
    """Orphaned descendants become children of this process, which can wait for them then (Linux)."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_all() -> None:
    """Ends all processes of this group but this one, and returns when they are gone.

    Chromium ends itself within some 50 ms of SIGTERM. Where it does not, `Job.seconds` or the parent end it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _tried(job: Job) -> bool:
    """Whether `_isolate` works here, tried in a child: half of it cannot be undone."""
    child = os.fork()
    if child == 0:
        works = False
        try:
            works = _isolate(job)
        finally:
            os._exit(0 if works else 1)
    return os.waitpid(child, 0)[1] == 0


def _isolate(job: Job) -> bool:
    """Moves this process to a network namespace that has a loopback device and nothing else. False when it cannot:
    no Linux, a container's seccomp profile, a kernel setting.

    Root needs no user namespace for it, and could not start Chromium as another user in one.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET if job["user"] is not None else _CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            return False
        if job["user"] is None:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            request = struct.pack(_IFREQ, b"lo", 0)
            flags = struct.unpack(_IFREQ, fcntl.ioctl(asking, _SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack(_IFREQ, b"lo", flags | _IFF_UP))
    except (AttributeError, OSError):
        return False
    return True


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib takes 20 ms to import
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())

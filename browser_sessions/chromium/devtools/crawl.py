"""A program that starts a Chromium without sessions and writes the files of its debugging port to standard output, as a
ZIP archive.

The only argument is a `Job` as JSON. Standard error is one line with the error, if any. Imports the standard library
only, because it runs with `-I -S`, which halves the start time.

A client that reaches this Chromium's port can read local files. So it runs in a network namespace of its own if the
system allows it. Elsewhere, the caller must run this while the service has no session.
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
"""The front end's HTML page, from which all other files are found."""
_LOCALES: Final = ("core/i18n/locales/en-US.json", "core/i18n/locales/zh.json")
"""The front end builds these names from a template, which the crawl cannot follow. Some builds lack the second."""
ABOUT: Final = "about.json"
PROTOCOL: Final = "protocol.json"
FILES: Final = "devtools/"
"""Members of the archive: the `About`, the body of `/json/protocol`, and the prefix of the front end's files."""
COMPRESSION: Final = 3
"""18 MB become 5.7 MB in 0.22 s; level 6 saves another 0.5 MB and takes 0.44 s."""
ANSWER_SECONDS: Final = 10.0
"""Timeout of one response on loopback, which takes a millisecond."""

_NAMED: Final = re.compile(
    rb"""["'`(]((?:\.{1,2}/|[A-Za-z0-9_])[A-Za-z0-9_./-]*\.(?:js|css|html|json|svg|png|avif|webp|gif|wasm|woff2))["'`)]"""
)
"""File names in quotes or parentheses: static and dynamic imports, `new URL`, `url()`, `src`."""
_WITH_REFERENCES: Final = (".js", ".html", ".css")
_LISTENING: Final = re.compile(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/")
_ERROR_LINES: Final = 3
"""How many of Chromium's last lines to report: it logs the cause of a failed start last."""

_PR_SET_CHILD_SUBREAPER: Final = 36  # <linux/prctl.h>
_CLONE_NEWUSER: Final = 0x10000000  # <linux/sched.h>
_CLONE_NEWNET: Final = 0x40000000
_SIOCGIFFLAGS: Final = 0x8913  # <linux/sockios.h>
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1  # <net/if.h>
_IFREQ: Final = "16sh22x"
"""`struct ifreq` with its flags only."""

SWITCHES: Final = (
    "--headless",
    "--remote-debugging-port=0",
    "--no-startup-window",  # no page, hence no renderer
    "--no-sandbox",  # the sandbox is for renderers, and cannot be set up inside a user namespace
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name lookups
    "--proxy-server=http://none.invalid:1",  # no connections: the proxy's name has no address either
    "--proxy-bypass-list=<-loopback>",  # nor to this machine
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
    """`user`: (uid, gid) for Chromium, None for our own. `profile`: an empty folder owned by that user. `environment`
    is Chromium's. `seconds`: when this process kills its whole group including itself, in case its parent has died."""

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
    """The message is one line."""


def main() -> int:
    job: Job = json.loads(sys.argv[1])
    if os.getpgrp() != os.getpid():
        os.setsid()  # the group is killed below, so it must be our own
    signal.signal(signal.SIGALRM, lambda _number, _frame: os.killpg(0, signal.SIGKILL))
    signal.alarm(job["seconds"])
    try:
        run(job, sys.stdout.buffer)
    except (CrawlError, OSError, http.client.HTTPException, ValueError) as error:
        sys.stderr.write(f"{reason(error)}\n")
        return 1
    return 0


def reason(error: Exception) -> str:
    """The error as one line, without paths of this machine. Pure."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(message.split()) or type(error).__name__


def run(job: Job, output: BinaryIO) -> None:
    """Raises `CrawlError`, `OSError`, `HTTPException`, `ValueError`. Leaves no process behind."""
    _adopt_orphans()
    isolated = _can_isolate(job) and _isolate(job)
    _guard()
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
    """(path, body) of every file found from `START`. Empty if Chromium has no front end."""
    waiting = [*_LOCALES, START]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        body = _get(connection, f"/devtools/{path}")
        if not body:  # Chromium responds with 200 and an empty body for missing files
            continue
        yield path, body
        if path.endswith(_WITH_REFERENCES):
            new = {each for each in named(path, body) if each not in seen}
            seen |= new
            waiting += sorted(new)


def named(path: str, body: bytes) -> set[str]:
    """Paths that the file may refer to, some of which do not exist. Pure."""
    folder = posixpath.dirname(path)
    found = set()
    for name in (each.decode() for each in _NAMED.findall(body)):
        found.add(posixpath.normpath(posixpath.join(folder, name)))
        if not name.startswith("."):
            found.add(posixpath.normpath(name))
    return {each for each in found if not each.startswith(("..", "/"))}


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    return body if response.status == http.client.OK else b""


def _port(chromium: subprocess.Popen[bytes]) -> int:
    assert chromium.stderr is not None
    lines = []
    for line in (each.decode(errors="replace").strip() for each in chromium.stderr):
        if found := _LISTENING.search(line):
            return int(found.group(1))
        if line:
            lines.append(line)
    raise CrawlError("Chromium did not start: " + ("; ".join(lines[-_ERROR_LINES:]) or "it wrote no error message"))


def _adopt_orphans() -> None:
    """Makes this process a child subreaper (Linux), so that it can wait for all its descendants."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _guard() -> None:
    """Starts a process that kills the group when this process has died, even by SIGKILL: Chromium would live on. Linux
    can signal a child instead, but ours may be a shell that runs Chromium."""
    waits, held = os.pipe()
    if os.fork():
        os.close(waits)
        return  # `held` stays open as long as this process lives; no program inherits it
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(held)
        os.read(waits, 1)
        os.killpg(0, signal.SIGKILL)
    finally:
        os._exit(1)


def _end_all() -> None:
    """Terminates all other processes of this group and returns when they are gone.

    Chromium exits within some 50 ms of SIGTERM. If it does not, `Job.seconds` or the parent kills it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _can_isolate(job: Job) -> bool:
    """Whether `_isolate` works, tried in a child process because a partial success cannot be undone."""
    child = os.fork()
    if child == 0:
        works = False
        try:
            works = _isolate(job)
        finally:
            os._exit(0 if works else 1)
    return os.waitpid(child, 0)[1] == 0


def _isolate(job: Job) -> bool:
    """Moves this process to a network namespace with only a loopback device. Returns False if that is impossible: not
    Linux, a container's seccomp profile, a kernel setting.

    As root it uses no user namespace: root needs none, and could not start Chromium as another user in one.
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
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            request = struct.pack(_IFREQ, b"lo", 0)
            flags = struct.unpack(_IFREQ, fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack(_IFREQ, b"lo", flags | _IFF_UP))
    except (AttributeError, OSError):
        return False
    return True


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib takes 20 ms to import
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())

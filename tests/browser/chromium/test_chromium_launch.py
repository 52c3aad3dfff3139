"""Starting Chromium ourselves: what it can do, what it inherits, and how failures are reported."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from browser_sessions.chromium.driver import driver_process
from browser_sessions.chromium.launch import folders, process_group
from browser_sessions.chromium.launch.child import (
    PIPE_BYTES,
    SANDBOX_FAILED,
    TAIL_BYTES,
    Child,
    spawn,
    start_error,
)
from browser_sessions.chromium.launch.executable import locate, sandbox_expected
from browser_sessions.chromium.launch.flags import MARKER, environment, switches
from browser_sessions.chromium.launch.user import BrowserUser, browser_user, can_run
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.errors import NoBrowser, SettingsError
from tests.harness.paths import ROOT
from tests.harness.service import ADMIN_KEY, Running, ServerProcess, running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

USER = browser_user()
ROOT_ONLY = pytest.mark.skipif(USER is None, reason="only root gives Chromium another user")
CANARY = "canary-0123456789"


@dataclass
class PipeClient:
    """CDP over a child's pipes, one command at a time."""

    child: Child
    _number: int = 0
    _received: bytes = b""

    async def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """The result of a command. Fails if Chromium exits."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        os.write(
            self.child.commands, json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0"
        )
        while True:
            await until(self._read, within=30, what=f"the response to {method}")
            *messages, self._received = self._received.split(b"\0")
            for message in map(json.loads, messages):
                if message.get("id") == self._number:
                    result: dict[str, Any] = message["result"]
                    return result

    async def page(self) -> str:
        """A CDP session on a new page."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        session: str = attached["sessionId"]
        return session

    def _read(self) -> bool:
        try:
            piece = os.read(self.child.messages, 2**20)
        except BlockingIOError:
            return False
        assert piece, f"Chromium ended: {self.child.start_error()}"
        self._received += piece
        return True


@asynccontextmanager
async def chromium(folder: Path, *more: str, without: str = "") -> AsyncIterator[PipeClient]:
    """Runs Chromium with its files in `folder`; no process may remain afterwards."""
    for name in ("home", "tmp", "profile"):
        folders.make(folder / name, USER)
    sandbox, _ = sandbox_expected(USER)
    arguments = [each for each in switches(folder / "profile", "test/brw_1", sandbox=sandbox) if each != without]
    child = await spawn(
        locate(None).executable, [*arguments, *more], environment(folder / "home", folder / "tmp"), USER
    )
    try:
        yield PipeClient(child)
    finally:
        assert await child.end(timeout=5)
        child.close()
        await until(lambda: ours() == [], what="the end of all processes")


def ours() -> list[psutil.Process]:
    """All processes with the tests' marker, including zombies."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"{MARKER}test/brw_1" in process.cmdline():
                found.append(process)
    return found


def script(folder: Path, lines: str) -> Path:
    executable = folder / "chromium-headless-shell"
    executable.write_text(f"#!/bin/sh\n{lines}\n")
    executable.chmod(0o755)
    return executable


def status(process: psutil.Process) -> dict[str, str]:
    """proc_pid_status(5)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.fixture
def folder(open_folder: Path) -> Path:
    return open_folder


async def test_chromium_responds_on_its_pipe_and_listens_on_no_port(folder: Path) -> None:
    async with chromium(folder) as cdp:
        version = await cdp.call("Browser.getVersion")
        await cdp.page()

        assert "Chrome/" in version["product"]
        listening = [
            each
            for pid in process_group.members(cdp.child.pid)
            for each in psutil.Process(pid).net_connections()
            if each.status == psutil.CONN_LISTEN
        ]
        assert listening == []
        assert os.getsid(cdp.child.pid) == os.getpgid(cdp.child.pid) == cdp.child.pid
        for descriptor in (cdp.child.commands, cdp.child.messages):
            assert not os.get_blocking(descriptor)
            assert not os.get_inheritable(descriptor)
            if os.getuid() == 0:
                assert fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) == PIPE_BYTES


@pytest.mark.parametrize(
    "raised",
    [0, pytest.param(7, marks=pytest.mark.skipif(os.getuid() != 0, reason="root may raise its priority"))],
)
async def test_renderers_have_a_lower_priority_than_the_browser_process(folder: Path, raised: int) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, before - raised)
    try:
        async with chromium(folder) as cdp:
            await cdp.page()

            def niceness(kind: str) -> set[int]:
                found = [psutil.Process(pid) for pid in process_group.members(cdp.child.pid)]
                return {each.nice() for each in found if kind in each.cmdline()}

            await until(lambda: niceness("--type=renderer"), what="the forked renderer has its command line")
            browsers = max(0, before) if raised else before
            assert psutil.Process(cdp.child.pid).nice() == browsers
            assert niceness("--type=renderer") == {min(19, browsers + 7)}
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


async def test_chromium_inherits_descriptors_0_to_4_only(folder: Path) -> None:
    executable = script(folder, "exec ls -l /proc/self/fd >&4")
    with (folder / "ours").open("w") as ours_open:
        os.set_inheritable(ours_open.fileno(), True)
        child = await spawn(executable, [], {}, None)
        try:
            assert await child.wait(timeout=10)
            listing = os.read(child.messages, 2**16).decode().splitlines()
        finally:
            child.close()
    found = {int(number): target for number, target in (line.split()[-3::2] for line in listing if "->" in line)}
    found = {
        number: target for number, target in found.items() if not target.startswith("/proc/")
    }  # the listing's own descriptor
    assert found.keys() == {0, 1, 2, 3, 4}
    assert found[0] == "/dev/null"
    assert found[1] == found[4] != found[3], "the listing was written to descriptor 4"


@ROOT_ONLY
async def test_as_root_chromium_is_unprivileged_and_sandboxed(folder: Path) -> None:
    assert USER is not None
    async with chromium(folder) as cdp:
        session = await cdp.page()
        response = await cdp.call("Runtime.evaluate", session, expression="6 * 7")
        assert response["result"]["value"] == 42
        processes = [psutil.Process(pid) for pid in process_group.members(cdp.child.pid)]
        renderers = [status(each) for each in processes if "--type=renderer" in each.cmdline()]
        everybody = [status(each) for each in processes]

    assert renderers
    assert {each["Seccomp"] for each in renderers} == {"2"}
    assert {each["NoNewPrivs"] for each in everybody} == {"1"}
    assert {each["Uid"] for each in everybody} == {"\t".join([str(USER.uid)] * 4)}
    assert {each["Gid"] for each in everybody} == {"\t".join([str(USER.gid)] * 4)}
    assert {each["Groups"] for each in everybody} == {""}


@ROOT_ONLY
async def test_as_an_unprivileged_user_chromium_is_sandboxed(folder: Path) -> None:
    assert USER is not None
    sandbox, reason = sandbox_expected(USER)
    if not sandbox:
        pytest.skip(reason)
    program = textwrap.dedent("""
        import asyncio, concurrent.futures.thread, os, sys
        from pathlib import Path
        from browser_sessions.chromium.launch.executable import locate
        from browser_sessions.chromium.launch import folders
        from browser_sessions.chromium.launch.flags import environment, switches
        from browser_sessions.chromium.launch.user import browser_user
        from browser_sessions.chromium.launch.child import spawn
        from browser_sessions.cdp import Browser
        from datetime import UTC, datetime

        # Only after the imports: the other user may be unable to read the interpreter's files.
        os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[3]))
        folder = Path(sys.argv[1])
        assert browser_user() is None
        for name in ("home", "tmp", "profile"):
            folders.make(folder / name, None)
        arguments = switches(folder / "profile", "test/brw_1", sandbox=True)

        async def run():
            child = await spawn(locate(None).executable, arguments, environment(folder / "home", folder / "tmp"), None)
            browser = Browser(lambda: datetime.now(UTC))
            try:
                commands, messages = child.take()
                await browser.open(messages, commands, timeout=20)
                created = await browser.root.call("Target.createTarget", {"url": "about:blank"}, timeout=20)
                page = await browser.page(created["targetId"], timeout=20)
                await page.call("Runtime.evaluate", {"expression": "1"}, timeout=20)
                print("a page ran")
            finally:
                await child.end(timeout=5)
                browser.close()
                child.close()

        asyncio.run(run())
    """)
    theirs = folder / "theirs"
    folders.make(theirs, USER)
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, str(theirs), str(USER.gid), str(USER.uid)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(theirs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "a page ran\n", ran.stderr


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_chromium_starts_and_ends_under_asyncio_and_uvloop(
    folder: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def start_and_end() -> tuple[dict[str, Any], Child]:
        async with chromium(folder) as cdp:
            return await cdp.call("Browser.getVersion"), cdp.child

    with asyncio.Runner(loop_factory=new_loop) as runner:
        version, child = runner.run(start_and_end())
    assert version["protocolVersion"]
    assert child.returncode is not None


async def test_a_flood_of_standard_error_neither_blocks_chromium_nor_grows_our_memory(folder: Path) -> None:
    megabytes = 5
    async with chromium(folder, "--log-level=0", "--enable-logging=stderr", without="--log-level=1") as cdp:
        session = await cdp.page()
        await cdp.call(
            "Runtime.evaluate",
            session,
            expression=f"for (let n = 0; n < {megabytes * 256}; n++) console.error('flood '.repeat(680))",
        )
        await cdp.call("Browser.getVersion")
        kept = cdp.child._tail
        await until(lambda: kept.count(b"flood") > 1000, what="the flood arrives")
        assert len(kept) <= 2 * TAIL_BYTES
        assert len(cdp.child.start_error()) < 1000


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        pytest.param("exit 3", "it exited with status 3", id="ends at once"),
        pytest.param("kill -SEGV $$", "it was killed by SIGSEGV", id="crashes"),
        pytest.param(
            "echo 'x: error while loading shared libraries: libnss3.so: cannot open shared object file' >&2; exit 127",
            "the shared library libnss3.so is missing",
            id="lacks a library",
        ),
        pytest.param(
            "echo '[1:1:1129/144833.1:FATAL:a/b.cc(12)] Check failed: all is lost.' >&2; echo '#0 0x1' >&2; exit 1",
            "Check failed: all is lost",
            id="reports why",
        ),
    ],
)
async def test_a_failed_start_has_a_short_reason(folder: Path, lines: str, reason: str) -> None:
    child = await spawn(script(folder, lines), [], {"PATH": os.defpath}, USER)
    try:
        assert await child.wait(timeout=10)
        assert child.start_error() == reason
        assert os.read(child.messages, 1) == b""
    finally:
        child.close()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        pytest.param("echo secret >&2", None, id="none"),
        pytest.param(
            "echo '[1129/144833.1:FATAL:a/b.cc(12)] first' >&2; echo secret >&2;"
            "echo '[7:9:1129/144833.2:FATAL:a/b.cc(12)] Check failed: all is lost.' >&2",
            "Check failed: all is lost",
            id="the last",
        ),
    ],
)
async def test_the_last_fatal_error_of_chromium_is_reported(folder: Path, lines: str, reason: str | None) -> None:
    child = await spawn(script(folder, lines), [], {"PATH": os.defpath}, USER)
    try:
        assert await child.wait(timeout=10)
        assert child.last_fatal_error() == reason
    finally:
        child.close()


async def test_a_missing_executable_is_reported(folder: Path) -> None:
    child = await spawn(folder / "none", [], {"PATH": os.defpath}, USER)
    try:
        assert await child.wait(timeout=10)
        assert str(folder / "none") in child.start_error()
        assert "status 127" in child.start_error()
    finally:
        child.close()


@pytest.mark.skipif(os.getuid() == 0, reason="root may use any user")
async def test_a_user_that_we_may_not_use_is_reported(folder: Path) -> None:
    with pytest.raises(NoBrowser, match="could not be started"):
        await spawn(script(folder, "exit 0"), [], {}, BrowserUser(1, 1, "daemon"))


@pytest.mark.parametrize("after", [0.0, 0.001, 0.003, 0.01])
async def test_a_cancelled_start_leaves_no_process_and_no_descriptor(folder: Path, after: float) -> None:
    executable = script(folder, "exec sleep 600")
    before, others = len(list(Path("/proc/self/fd").iterdir())), set(psutil.Process().children())
    starting = asyncio.create_task(spawn(executable, [f"{MARKER}test/brw_1"], {"PATH": os.defpath}, USER))
    await asyncio.sleep(after)
    starting.cancel()
    await asyncio.wait({starting})
    if not starting.cancelled():
        starting.result().kill()
        assert await starting.result().wait(timeout=5)
        starting.result().close()
    assert set(psutil.Process().children()) <= others
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_a_killed_chromium_is_reaped(folder: Path) -> None:
    async with chromium(folder) as cdp:
        await cdp.call("Browser.getVersion")
        os.kill(cdp.child.pid, signal.SIGKILL)
        assert await cdp.child.wait(timeout=5)
        assert cdp.child.returncode == -signal.SIGKILL
        assert not psutil.pid_exists(cdp.child.pid)


@pytest.mark.slow
async def test_no_child_of_the_service_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    server = ServerProcess(tmp_path / "data")
    (tmp_path / "data").mkdir()
    try:
        service = await server.start()
        try:
            await service.create()
            own = Path(f"/proc/{server.pid}/environ").read_bytes()
            children = server.tree()[1:]
            names = {each.name() for each in children}
            environments = {}
            for each in children:
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # ended meanwhile
                    environments[each.pid] = Path(f"/proc/{each.pid}/environ").read_bytes()
        finally:
            await service.http.aclose()
    finally:
        await server.stop()
    assert b"BROWSER_SESSIONS_ADMIN_API_KEY=****" in own
    assert ADMIN_KEY.encode() not in own
    assert any("chrom" in each for each in names), names
    assert any("node" in each or "MainThread" in each for each in names), names
    assert len(environments) >= 4
    assert any(b"PATH=" in found for found in environments.values()), "no environment could be read"
    for found in environments.values():
        for secret in (CANARY, ADMIN_KEY, "BROWSER_SESSIONS_"):
            assert secret.encode() not in found


@pytest.mark.parametrize(
    ("stderr", "returncode", "reason"),
    [
        (
            "[1:1:FATAL:zygote_host_impl_linux.cc:128] No usable sandbox! If you are on Ubuntu …\n#0 x",
            -5,
            SANDBOX_FAILED,
        ),
        ("[0:ERROR:zygote_host_impl_linux.cc:103] Running as root without --no-sandbox is not …", 1, SANDBOX_FAILED),
        ("[0:FATAL:sandbox/linux/services/credentials.cc:131] Check failed: . : Permission denied", -5, SANDBOX_FAILED),
        (
            "[1:WARNING:sandbox/linux/x.cc] something\nlast",
            1,
            "[1:WARNING:sandbox/linux/x.cc] something; last; it exited with status 1",
        ),
        ("", None, "it wrote no error message"),
        ("", -9, "it was killed by SIGKILL"),
        ("a\nb\n\nc\nd\n", None, "b; c; d"),
    ],
)
def test_start_errors(stderr: str, returncode: int | None, reason: str) -> None:
    assert start_error(stderr, returncode) == reason


@ROOT_ONLY
async def test_whether_the_user_can_run_it_is_checked(tmp_path: Path) -> None:
    assert USER is not None
    assert await can_run(locate(None).executable, USER)
    assert not await can_run(script(tmp_path, "exit 0"), USER)  # inside a folder with mode 0700
    assert not await can_run(tmp_path / "none", USER)


def readable(data: Path, user: BrowserUser) -> list[Path]:
    """What a compromised renderer would find: all that a process of its uid can read of the data folder, below its path
    and through the service's own entries in /proc."""
    own = f"/proc/{os.getpid()}"
    found = subprocess.run(
        ["find", data, f"{own}/root{data}", f"{own}/environ", f"{own}/mem", f"{own}/fd", "-readable", "-print0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        user=user.uid,
        group=user.gid,
        extra_groups=(),
        check=False,
    )
    listed = [Path(os.fsdecode(path)) for path in found.stdout.split(b"\0") if path]
    return [path for path in listed if os.fspath(path) not in (f"{own}/mem", f"{own}/environ") or opens(path, user)]


def opens(path: Path, user: BrowserUser) -> bool:
    """Whether the user can open it: access(2) does not know all rules of /proc."""
    head = ["head", "-c", "0", os.fspath(path)]
    tried = subprocess.run(head, stderr=subprocess.DEVNULL, user=user.uid, group=user.gid, extra_groups=(), check=False)
    return tried.returncode == 0


def may_signal(pid: int, user: BrowserUser) -> bool:
    kill = ["sh", "-c", f"kill -0 {pid}"]
    tried = subprocess.run(kill, stderr=subprocess.DEVNULL, user=user.uid, extra_groups=(), check=False)
    return tried.returncode == 0


@ROOT_ONLY
async def test_chromiums_user_and_the_drivers_reach_only_what_is_theirs(open_folder: Path) -> None:
    data = open_folder / "data"
    async with running(data) as service:
        work, session_id = service.inside.work_dir, (await service.create())["session_id"]
        await check_driver(service, data)
        await check_browser_folders(work, data)
        assert (work / "sessions" / session_id).exists()
    assert not work.exists(), "a stopped service must remove its work folder"


async def check_browser_folders(work: Path, data: Path) -> None:
    assert USER is not None
    assert work == folders.work_folder(data / "work", USER), "the next start must use the same folder"
    assert not work.is_relative_to(data)
    reached = [path for path in (work / "sessions", *work.glob("run-*/brw_*/*")) if USER.may_enter(path)]
    assert work / "sessions" in reached
    assert {path.name for path in reached} == {"sessions", "home", "profile", "tmp"}
    assert {path.stat().st_mode & 0o777 for path in reached} == {0o711, 0o700}
    assert not USER.may_enter(data)
    assert not any(USER.may_enter(path) for path in work.glob("run-*/driver-*/tmp"))
    assert {path.stat().st_uid for path in (work, work / "sessions", *work.glob("run-*"))} == {0}
    for hidden in (work, work / "sessions", *work.glob("run-*")):
        assert hidden.stat().st_mode & 0o066 == 0, "others must not list or write it"
    assert await asyncio.to_thread(readable, data, USER) == []
    data.chmod(0o755)  # as one that was there before may be
    assert await asyncio.to_thread(readable, data, USER) in (
        [data],
        [data, data / "devtools"],
    )  # a copy of the tests'


async def check_driver(service: Running, data: Path) -> None:
    """It has a third user without rights: nothing of it is Chromium's user's to signal or to read, and the data folder
    is not its own to read."""
    assert USER is not None
    launcher = service.inside.launcher
    driver, user = launcher._driver, launcher.driver_user
    assert driver is not None
    assert user is not None
    assert user.uid not in (0, USER.uid)
    found = status(psutil.Process(driver.pid))
    assert {found["Uid"], found["Gid"]} == {"\t".join([str(user.uid)] * 4)}
    assert found["Groups"] == ""
    assert found["NoNewPrivs"] == "1"
    assert {int(found[each], 16) for each in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert await asyncio.to_thread(readable, data, user) == []
    assert list(driver.folder.parent.glob("driver-*")) == [driver.folder]
    assert [path for path in (driver.folder, *driver.folder.iterdir()) if path.stat().st_uid == user.uid] == [
        driver.folder / "tmp"
    ]
    for each in ("environ", "mem", "fd"):
        assert not opens(Path(f"/proc/{driver.pid}/{each}"), USER)
    assert may_signal(driver.pid, user)
    assert not may_signal(driver.pid, USER)


@ROOT_ONLY
@pytest.mark.parametrize(
    ("mode", "unprivileged"),
    [(0o644, True), pytest.param(0o600, False, marks=pytest.mark.slow)],
    ids=["readable", "not readable"],
)
async def test_the_drivers_files_need_not_be_reachable_but_readable(
    tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch, mode: int, unprivileged: bool
) -> None:
    assert tmp_path.parent.stat().st_mode & 0o077 == 0
    shutil.copytree(driver_process._FILES / "package", tmp_path / "package", symlinks=True)
    (tmp_path / "package" / "cli.js").chmod(mode)
    (tmp_path / "node").symlink_to(driver_process._FILES / "node")
    monkeypatch.setattr(driver_process, "_FILES", tmp_path)
    launcher = PlaywrightLauncher(open_folder / "work", None, False, SystemClock())
    await launcher.start()
    try:
        driver = launcher._driver
        assert driver is not None
        assert (launcher.driver_user is not None, launcher.driver_reason == "") == (unprivileged, unprivileged)
        assert (psutil.Process(driver.pid).uids().real != 0) is unprivileged
        assert await driver.responds(timeout=20)
    finally:
        await launcher.stop()


@ROOT_ONLY
def test_a_work_folder_of_another_owner_is_rejected(tmp_path: Path) -> None:
    assert USER is not None
    foreign, writable, link = tmp_path / "foreign", tmp_path / "writable", tmp_path / "link"
    foreign.mkdir()
    os.chown(foreign, USER.uid, USER.gid)
    writable.mkdir()
    writable.chmod(0o777)
    link.symlink_to(tmp_path)
    for each in (foreign, writable, link):
        with pytest.raises(SettingsError, match="cannot be used"):
            folders.prepare(each, USER)


def test_an_unprivileged_users_work_folder_is_not_moved(tmp_path: Path) -> None:
    assert folders.work_folder(tmp_path / "work", None) == tmp_path / "work"
    folders.prepare(tmp_path / "work", None)
    assert (tmp_path / "work").stat().st_mode & 0o777 == 0o700

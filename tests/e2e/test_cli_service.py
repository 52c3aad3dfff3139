"""The command line end to end: a service started by `serve`, a real browser, and commands as processes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from browser_sessions import Client, Session
from browser_sessions.client import NotFound
from browser_sessions.client.discovery import announced_url
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

COMMAND = (sys.executable, "-m", "browser_sessions")
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Output:
    """Output and exit code of a command."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def environment(data_dir: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BROWSER_SESSIONS_")}
    return {**inherited, "BROWSER_SESSIONS_DATA_DIR": str(data_dir), **(more or {})}


async def bs(data_dir: Path, *args: str, typed: str = "", env: Mapping[str, str] | None = None) -> Output:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(data_dir, env),
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate(typed.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Output(process.returncode, out.decode(), err.decode())


@dataclass(frozen=True)
class Serving:
    """A `browser-sessions serve` that is ready."""

    data_dir: Path
    process: asyncio.subprocess.Process
    url: str

    @property
    def out(self) -> str:
        return (self.data_dir.parent / f"{self.data_dir.name}.out").read_text()

    @property
    def log(self) -> str:
        return (self.data_dir.parent / f"{self.data_dir.name}.err").read_text()

    async def bs(self, *args: str, typed: str = "", env: Mapping[str, str] | None = None) -> Output:
        return await bs(self.data_dir, *args, typed=typed, env=env)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def serving(data_dir: Path, *args: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Serving]:
    folder, name = data_dir.parent, data_dir.name
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *("serve", "--port", "0", *args),
            stdout=out,
            stderr=err,
            env=environment(data_dir, env),
            start_new_session=True,
        )
    try:
        await until(
            lambda: announced_url(data_dir) or process.returncode is not None, within=PATIENCE_S, what="serve is ready"
        )
        url = announced_url(data_dir)
        assert url is not None, (folder / f"{name}.err").read_text()
        yield Serving(data_dir, process, url)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    async with serving(tmp_path_factory.mktemp("shared") / "data") as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def client(shared_server: Serving) -> AsyncIterator[Client]:
    """Of the shared server, whose sessions end with the test."""
    async with Client(data_dir=shared_server.data_dir) as client:
        yield client
        for listed in [each async for each in client.iter_sessions(status=["active"])]:
            await client.end(listed.session_id)


@pytest.fixture
def service(shared_server: Serving, client: Client) -> Serving:
    """A server shared by the tests that neither end it nor need an empty one."""
    return shared_server


async def test_the_first_start_prints_the_url_and_the_key_once(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with serving(folder) as first:
        key_file = folder / "secrets" / "admin_api_key"
        key = key_file.read_text().strip()
        await until(lambda: first.url in first.out, what="serve prints its URL")
        assert f"ready at {first.url}" in first.out
        assert str(folder) in first.out
        assert first.out.count(key) == 1
        assert key_file.stat().st_mode & 0o777 == 0o600
        assert (await first.bs("ls")).out == "No sessions.\n"

        made = await first.bs("create", "--json")
        tree = [psutil.Process(first.process.pid), *psutil.Process(first.process.pid).children(recursive=True)]
        assert len(tree) > 2
        assert not [process for process in tree if key in " ".join(process.cmdline())]
        assert made.code == 0

        second = await bs(folder, "serve", "--port", "0")
        assert second.code == 2
        assert f"another server (process {first.process.pid}) uses {folder}" in second.err
        assert await first.stop() == 0
        assert key not in first.log
        assert not (folder / "service.json").exists()
    async with serving(folder) as again:
        await until(lambda: again.url in again.out, what="serve prints its URL")
        assert key not in again.out + again.log
        listed = (await again.bs("ls", "--json")).data
        assert [each["session_id"] for each in listed["sessions"]] == [made.data["session_id"]]
        assert await again.stop() == 0
    gone = await bs(folder, "ls")
    assert gone.code == 1
    assert "Start one with 'browser-sessions serve'" in gone.err


async def test_a_session_is_created_listed_shown_and_ended(service: Serving, client: Client) -> None:
    page = "data:text/html,<title>Hello</title>"
    made = (await service.bs("create", page, "--viewport", "640x480", "-m", "job=7", "--json")).data
    session_id = made["session_id"]
    assert (made["viewport_width"], made["viewport_height"], made["status"]) == (640, 480, "active")
    assert (await client.get(session_id)).model_dump(mode="json") == (
        await client.call("GET", f"/v1/browser/sessions/{session_id}")
    )

    listed = await service.bs("ls", "--metadata", "job=7", "--json")
    assert listed.data == await client.call("GET", "/v1/browser/sessions", query={"metadata.job": "7"})
    assert (await service.bs("ls", "--metadata", "job=8")).out == "No sessions.\n"
    assert session_id in (await service.bs("ls", "--status", "active")).out

    shown = await service.bs("show", session_id[:14])
    assert re.search(r"(?m)^viewport +640x480$", shown.out)
    assert re.search(r"(?m)^health +healthy, responded in \d+ ms", shown.out)
    details = (await service.bs("show", session_id, "--json")).data
    assert details["metadata"] == {"job": "7"}
    assert set(details) >= {"end_reason", "owner", "connect_url", "options"}

    ended = await service.bs("end", session_id[4:14])
    assert ended.out == f"{session_id} closed\n"
    assert re.search(r"(?m)^status +closed \(deleted\)$", (await service.bs("show", session_id)).out)
    missing = await service.bs("show", "ses_" + "0" * 32)
    assert (missing.code, missing.out) == (1, "")
    assert missing.err == "There is no such session. List yours with GET /v1/browser/sessions.\n"


async def test_several_sessions_are_ended_by_one_command(service: Serving, client: Client) -> None:
    ids = [(await client.create()).session_id for _ in range(3)]
    ended = await service.bs("end", *ids, "--yes", "--json")
    assert ended.code == 0
    assert [json.loads(line)["status"] for line in ended.out.splitlines()] == ["closed"] * 3


async def test_keys_and_users_have_their_own_rights(service: Serving) -> None:
    made = (await service.bs("keys", "create", "ci", "--json")).data
    as_client = {"BROWSER_SESSIONS_API_KEY": made["key"]}
    assert (await service.bs("ls", env=as_client)).out == "No sessions.\n"
    refused = await service.bs("keys", "ls", env=as_client)
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert made["key_id"] in (await service.bs("keys", "ls")).out
    assert (await service.bs("keys", "revoke", made["key_id"])).code == 0
    revoked = await service.bs("ls", env=as_client)
    assert revoked.code == 1
    assert made["key"] not in revoked.err + service.log

    password = "correct horse battery"
    added = await service.bs("users", "create", "ann", "--role", "operator", typed=password + "\n")
    assert added.code == 0, added.err
    assert "ann" in (await service.bs("users", "ls")).out
    again = await service.bs("users", "create", "ann", typed=password + "\n")
    assert again.code == 1
    assert "'ann' already" in again.err
    assert (await service.bs("users", "rm", "ann")).code == 0
    assert (await service.bs("users", "ls", "--json")).data == {"users": []}
    assert password not in service.log


async def test_watch_ends_with_ctrl_c_and_prints_no_error(service: Serving) -> None:
    made = (await service.bs("create", "--json")).data
    watching = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("ls", "--watch", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(service.data_dir),
        # A test run in the background of a script ignores SIGINT, and the command would inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert watching.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            first = json.loads(await watching.stdout.readline())
            second = json.loads(await watching.stdout.readline())
            watching.send_signal(signal.SIGINT)
            _, err = await watching.communicate()
    finally:
        if watching.returncode is None:
            watching.kill()
            await watching.wait()
    assert first == second
    assert first["sessions"][0]["session_id"] == made["session_id"]
    assert (watching.returncode, err) == (0, b"")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--browser-executable", "/nonexistent"), "BROWSER_SESSIONS_BROWSER_EXECUTABLE is /nonexistent"),
        (("--data-dir", "/proc/nowhere"), "Name a folder that this user can write to."),
        (("--admin-api-key-file", "/nonexistent"), "--admin-api-key-file: /nonexistent cannot be read"),
    ],
)
async def test_a_start_that_fails_prints_one_line(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    stopped = await bs(tmp_path / "data", "serve", "--port", "0", "--log-level", "error", *args)
    assert (stopped.code, stopped.out) == (2, "")
    assert message in stopped.err
    assert stopped.err.count("\n") == 1


async def test_a_port_in_use_prints_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stopped = await bs(tmp_path / "data", "serve", "--port", str(port))
        assert stopped.code == 2
        assert stopped.err == (
            f"BROWSER_SESSIONS_PORT: 127.0.0.1:{port} is in use. Name another with --port, or 0 for any that is free.\n"
        )
        found = await bs(tmp_path / "data", "doctor", "--port", str(port), "--json")
        assert found.code == 1
        assert [each["check"] for each in found.data["findings"] if each["state"] == "problem"] == ["port"]


async def test_the_doctor_starts_a_browser_and_leaves_nothing(service: Serving, tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    found = await service.bs("doctor", "--port", port, "--json", env={"TMPDIR": str(tmp_path)})
    assert found.code == 0, found.out
    states = {each["check"]: each for each in found.data["findings"]}
    assert found.data["ok"] is True
    assert {"python", "settings", "browser", "driver", "sandbox", "start", "port", "data folder", "fonts"} <= set(
        states
    )
    assert f"process {service.process.pid}" in states["port"]["says"]
    assert "first page" in states["start"]["says"]
    assert [path for path in tmp_path.iterdir() if "doctor" in path.name or "playwright" in path.name] == []
    assert "start" in (await service.bs("doctor", "--port", port)).out


async def test_the_doctor_without_a_browser_reports_it_and_exits_with_1(tmp_path: Path) -> None:
    found = await bs(tmp_path / "data", "doctor", "--browser-executable", "/nonexistent", "--port", "0")
    assert found.code == 1
    assert re.search(r"(?m)^browser +problem  BROWSER_SESSIONS_BROWSER_EXECUTABLE is /nonexistent", found.out)


async def test_sigterm_lets_a_session_finish_and_a_second_one_does_not(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "one", "--drain-seconds", "60") as service,
        Client(data_dir=tmp_path / "one") as client,
    ):
        session = await client.create()
        service.process.send_signal(signal.SIGTERM)
        await until(lambda: "server.draining" in service.log, what="the server drains")
        assert (await client.get(session.session_id)).status == "active"
        await client.end(session.session_id)
        async with asyncio.timeout(PATIENCE_S):
            assert await service.process.wait() == 0
    async with (
        serving(tmp_path / "two", "--drain-seconds", "60") as service,
        Client(data_dir=tmp_path / "two") as client,
    ):
        await client.create()
        service.process.send_signal(signal.SIGTERM)
        await until(lambda: "server.draining" in service.log, what="the server drains")
        service.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await service.process.wait()


async def titled(session: Session, titles: list[str]) -> bool:
    return [page.title for page in await session.pages()] == titles


async def test_the_sdk_drives_a_page_and_ends_its_session(tmp_path: Path) -> None:
    async with serving(tmp_path / "data"), Client(data_dir=tmp_path / "data") as client:
        async with client.session(viewport_width=500, viewport_height=400) as session:
            assert (await session.goto("data:text/html,<title>One</title><h1>1</h1>")).title == "One"
            assert await session.evaluate("[innerWidth, innerHeight]") == [500, 400]
            assert await session.evaluate("Promise.resolve({a: [1, null, 'x']})") == {"a": [1, None, "x"]}
            assert "<h1>1</h1>" in (await session.content()).content
            assert (await session.screenshot()).startswith(b"\x89PNG")
            assert (await session.screenshot(image_format="jpeg", quality=40)).startswith(b"\xff\xd8")
            assert (await session.pdf()).startswith(b"%PDF")
            second = await session.open_page("data:text/html,<title>Two</title>")
            assert await session.evaluate("document.title") == "Two"
            await until(lambda: titled(session, ["One", "Two"]), what="both titles are known")
            await session.close_page()
            assert second.page_id not in {page.page_id for page in await session.pages()}
            assert await session.evaluate("document.title") == "One"
            assert (await session.health()).healthy
            before = await session.state()
            after = await session.keepalive(extend_seconds=60)
            assert after.last_activity > before.last_activity
            assert (await session.details()).pages == 1
        assert (await client.get(session.id)).status == "closed"
        assert [each.session_id async for each in client.iter_sessions(status=["closed"])] == [session.id]
        assert (await client.pool()).capacity >= 1
        with pytest.raises(NotFound):
            await client.get("ses_" + "0" * 32)


async def on_a_terminal(
    data_dir: Path, *args: str, answers: Sequence[tuple[bytes, bytes]] = (), columns: int = 80
) -> tuple[int, str]:
    """Runs a command on a terminal and types the answers to its questions. Exit code and output."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *args,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment(data_dir),
        preexec_fn=_take_terminal,
    )
    os.close(terminal)
    os.set_blocking(controller, False)
    seen = b""

    def printed(what: bytes) -> bool:
        nonlocal seen
        with suppress(OSError):  # nothing new, or the command has ended
            seen += os.read(controller, 65_536)
        return what in seen

    def hidden() -> bool:
        return not termios.tcgetattr(controller)[3] & termios.ECHO

    def prompted(question: bytes) -> bool:
        """True once the command reads: input typed before a password prompt turns echo off is discarded."""
        return printed(question) and hidden() == (b"assword" in question or b"Repeat" in question)

    try:
        for question, answer in answers:
            await until(lambda: prompted(question), within=PATIENCE_S, what=f"{question!r} is printed")  # noqa: B023 - at once
            os.write(controller, answer)
        await until(lambda: printed(b"") and process.returncode is not None, within=PATIENCE_S, what="the command ends")
        printed(b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(controller)
    assert process.returncode is not None
    return process.returncode, seen.decode()


def _take_terminal() -> None:
    """In the child: standard input becomes its controlling terminal, so that Ctrl-C typed there is a signal."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def test_questions_on_a_terminal_can_be_answered_with_no_or_ctrl_c(service: Serving, client: Client) -> None:
    ids = [(await client.create()).session_id for _ in range(2)]
    for typed, code in ((b"n\n", 1), (b"\x03", 130)):
        ended, _ = await on_a_terminal(service.data_dir, "end", *ids, answers=[(b"End 2 sessions?", typed)])
        assert ended == code
        assert {(await client.get(session_id)).status for session_id in ids} == {"active"}
    ended, seen = await on_a_terminal(service.data_dir, "end", *ids, answers=[(b"End 2 sessions?", b"y\n")])
    assert ended == 0
    assert seen.count("closed") == 2

    password = b"correct horse battery\n"
    made, seen = await on_a_terminal(
        service.data_dir, "users", "create", "ann", answers=[(b"Password:", password), (b"Repeat", password)]
    )
    assert made == 0
    assert "ann" in seen
    assert "correct horse" not in seen
    assert (await service.bs("users", "rm", "ann")).code == 0


async def test_ls_shows_whole_ids_on_80_columns_and_truncates_nothing_in_a_pipe(
    service: Serving, client: Client
) -> None:
    title = "A title that is longer than what eighty columns have left beside an id, a status, a host and an owner"
    page = f"data:text/html,<title>{title}</title>"
    ids = [(await client.create(start_url=page)).session_id for _ in range(2)]

    async def piped() -> bool:
        return (await service.bs("ls")).out.count(title) == 2

    await until(piped, within=PATIENCE_S, what="both titles are listed whole")
    code, seen = await on_a_terminal(service.data_dir, "ls")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", seen).replace("\r", "").splitlines()
    assert code == 0
    assert lines[0].split() == ["SESSION", "STATUS", "OWNER", "HOST", "PAGE"]
    assert sorted(line.split()[0] for line in lines[1:3]) == sorted(ids)
    assert [line.split()[1:5] for line in lines[1:3]] == [["active", "admin", "data:", "A"]] * 2
    assert max(map(len, lines)) <= 80


async def test_the_shell_completes_session_ids(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("browser-sessions")

    async def completed(line: str) -> list[str]:
        """Completions for the last word of a command line."""
        variables = {
            "_BROWSER_SESSIONS_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }
        process = await asyncio.create_subprocess_exec(
            script,
            env=environment(tmp_path / "data", variables),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
        assert err == b""
        return out.decode().split()

    async with serving(tmp_path / "data"), Client(data_dir=tmp_path / "data") as client:
        live, ended = [(await client.create()).session_id for _ in range(2)]
        await client.end(ended)
        assert sorted(await completed("browser-sessions show ses_")) == sorted([live, ended])
        assert await completed(f"browser-sessions open {ended[:20]}") == [ended]
        assert await completed("browser-sessions end ses_") == [live]
        assert await completed("browser-sessions end xyz") == []
    assert await completed("browser-sessions show ses_") == []

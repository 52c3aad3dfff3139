"""The command line end to end: a service started by `serve`, a real browser, and commands."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from browser_sessions import Client, Session
from browser_sessions.cli import app
from browser_sessions.client import NotFound
from tests.harness.command_line import COMMAND, PATIENCE_S, Serving, bs, environment, on_a_terminal, serving
from tests.harness.waiting import until

pytestmark = pytest.mark.browser


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


async def test_the_first_start_prints_the_url_and_where_the_key_is(service: Serving) -> None:
    """The first test, so that there is no session yet."""
    folder = service.data_dir
    key_file = folder / "secrets" / "admin_api_key"
    key = key_file.read_text().strip()
    await until(lambda: service.url in service.out, what="serve prints its URL")
    assert f"ready at {service.url}" in service.out
    assert str(folder) in service.out
    assert str(key_file) in service.out
    assert key not in service.out, "not on a terminal, it would be kept in a journal"
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert (await service.bs("ls")).out == "No sessions.\n"

    made = await service.bs("create", "--json")
    tree = [psutil.Process(service.process.pid), *psutil.Process(service.process.pid).children(recursive=True)]
    assert len(tree) > 2
    assert not [process for process in tree if key in " ".join(process.cmdline())]
    assert made.code == 0

    second = await bs(folder, "serve", "--port", "0")
    assert second.code == 2
    assert f"another server (process {service.process.pid}) uses {folder}" in second.err
    assert key not in service.log


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
    assert (missing.code, missing.out) == (3, "")
    assert missing.err == "There is no such session. List yours with GET /v1/browser/sessions.\n"


async def test_a_page_is_driven_by_commands(service: Serving, client: Client, tmp_path: Path) -> None:
    session = (await client.create()).session_id
    page = "data:text/html,<title>One</title><a download=r.txt href='data:,report'>x</a>"
    went = (await service.bs("goto", session, page, "--json")).data
    assert went["title"] == "One"
    assert (await service.bs("evaluate", session, "document.title")).out == "One\n"
    assert (await service.bs("evaluate", session, "throw new Error('no')")).code == 1
    assert "<title>One</title>" in (await service.bs("content", session)).out
    picture, document = tmp_path / "a.png", tmp_path / "a.pdf"
    assert (await service.bs("screenshot", session, "-o", str(picture))).code == 0
    assert (await service.bs("pdf", session, "-o", str(document))).code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert document.read_bytes().startswith(b"%PDF")

    second = (await service.bs("pages", "open", session, "about:blank", "--json")).data["page_id"]
    assert second in (await service.bs("pages", "ls", session)).out
    assert (await service.bs("pages", "close", session, second[:20])).code == 0
    assert second not in (await service.bs("pages", "ls", session)).out

    assert (await service.bs("evaluate", session, "document.querySelector('a').click()")).out == "null\n"

    async def complete() -> bool:
        listed = (await service.bs("downloads", "ls", session, "--json")).data["downloads"]
        return [each["state"] for each in listed] == ["completed"]

    await until(complete, within=PATIENCE_S, what="the download is complete")
    download = (await service.bs("downloads", "ls", session, "--json")).data["downloads"][0]["download_id"]
    assert (await service.bs("downloads", "get", session, download, "-o", str(tmp_path))).code == 0
    assert (tmp_path / "r.txt").read_text() == "report"
    assert (await service.bs("downloads", "rm", session, download)).code == 0

    await service.bs("evaluate", session, "console.warn('two words')")

    async def logged() -> bool:
        return 'level=warning text="two words"' in (await service.bs("logs", session)).out

    await until(logged, within=PATIENCE_S, what="the console line is logged")
    for refused in (
        await service.bs("goto", session, "https://10.1.2.3/"),
        await service.bs("pages", "open", session, "http://10.1.2.3/"),
        await service.bs("create", "http://10.1.2.3/"),
    ):
        assert refused.code == 1
        assert "The egress rules of this session deny 10.1.2.3:" in " ".join(refused.err.split())
    assert "egress.refused host=10.1.2.3 port=443" in (await service.bs("logs", session)).out
    assert (await service.bs("health", session)).code == 0
    before = await client.get(session)
    assert (await service.bs("keepalive", session, "--extend", "60")).code == 0
    assert (await client.get(session)).last_activity > before.last_activity
    assert (await service.bs("control", session, "take", "--json")).data["controlled_by"]
    assert (await service.bs("control", session, "release", "--json")).data["controlled_by"] is None
    assert json.loads((await service.bs("storage-state", session)).out) == {"cookies": [], "origins": []}
    assert (await service.bs("pool", "--json")).data["taken"] == 1

    following = await asyncio.create_subprocess_exec(
        *(*COMMAND, "events", session, "--follow", "--json"),
        stdout=asyncio.subprocess.PIPE,
        env=environment(service.data_dir),
    )
    assert following.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        lines = [await following.stdout.readline()]
        assert (await service.bs("end", session)).code == 0
        lines += [line async for line in following.stdout]
        assert await following.wait() == 0
    seen = [json.loads(line)["type"] for line in lines]
    assert seen[-1] == "session.ended"
    assert {"session.active", "page.navigated", "download.finished", "console", "control.taken"} <= set(seen)
    after = await service.bs("goto", session, "about:blank")
    assert (after.code, "closed" in after.err) == (1, True)


async def test_a_backup_of_a_running_service_becomes_another_service(
    service: Serving, client: Client, tmp_path: Path
) -> None:
    ended, live = [(await client.create(metadata={"job": "backup"})).session_id for _ in range(2)]
    await client.end(ended)
    made = (await service.bs("keys", "create", "ci", "--json")).data
    folder, data = tmp_path / "backup", tmp_path / "data"
    for _ in range(2):
        saved = await service.bs("backup", str(folder), "--json")
        assert saved.code == 0
    names = {str(each.relative_to(folder)) for each in folder.rglob("*")}
    assert {"sessions.db", "node", "secrets/admin_api_key", f"archive/{ended}.json.gz"} <= names
    assert not names & {"lock", "service.json", "work", "devtools"}

    refused = await service.bs("restore", str(folder), "--force")
    assert (refused.code, f"another server (process {service.process.pid})" in refused.err) == (4, True)
    assert (await bs(data, "restore", str(folder))).code == 0
    async with serving(data) as again:
        await until(lambda: again.url in again.out, what="serve prints its URL")
        assert (again.data_dir / "secrets").stat().st_mode & 0o777 == 0o700
        as_client = {"BROWSER_SESSIONS_API_KEY": made["key"]}
        assert (await again.bs("ls", env=as_client)).out == "No sessions.\n"
        listed = (await again.bs("ls", "--metadata", "job=backup", "--json")).data["sessions"]
        assert {each["session_id"]: each["status"] for each in listed} == {ended: "closed", live: "lost"}
        assert "session.ended" in (await again.bs("events", ended)).out
        key = (service.data_dir / "secrets" / "admin_api_key").read_text().strip()
        assert (await again.bs("keys", "ls", env={"BROWSER_SESSIONS_API_KEY": key})).code == 0
        assert (await again.bs("restore", str(folder))).code == 4
        assert await again.stop() == 0
        assert key not in again.out + again.log
    assert not (data / "service.json").exists()
    gone = await bs(data, "ls")
    assert gone.code == 5
    assert "Start one with 'browser-sessions serve'" in gone.err
    assert (await bs(data, "restore", str(folder))).code == 4
    assert (await bs(data, "restore", str(folder), "--force")).code == 0


async def test_several_sessions_are_ended_by_one_command(service: Serving, client: Client) -> None:
    ids = [(await client.create()).session_id for _ in range(3)]
    listed = (await service.bs("ls", "--quiet", "--status", "active")).out
    assert sorted(listed.split()) == sorted(ids)
    ended = await service.bs("end", "-", "--yes", "--json", typed=listed)
    assert ended.code == 0
    assert [json.loads(line)["status"] for line in ended.out.splitlines()] == ["closed"] * 3


async def test_keys_and_users_have_their_own_rights(service: Serving) -> None:
    made = (await service.bs("keys", "create", "ci", "--json")).data
    as_client = {"BROWSER_SESSIONS_API_KEY": made["key"]}
    assert (await service.bs("ls", env=as_client)).out == "No sessions.\n"
    refused = await service.bs("keys", "ls", env=as_client)
    assert refused.code == 4
    assert refused.err.count("\n") == 1
    assert made["key_id"] in (await service.bs("keys", "ls")).out
    assert (await service.bs("keys", "revoke", made["key_id"])).code == 0
    revoked = await service.bs("ls", env=as_client)
    assert revoked.code == 4
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
        pytest.param(
            ("--data-dir", "/proc/nowhere"), "Name a folder that this user can write to.", marks=pytest.mark.slow
        ),
        (("--admin-api-key-file", "/nonexistent"), "--admin-api-key-file: /nonexistent cannot be read"),
    ],
)
async def test_a_start_that_fails_prints_one_line(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    stopped = await bs(tmp_path / "data", "serve", "--port", "0", "--log-level", "error", *args)
    assert (stopped.code, stopped.out) == (2, "")
    assert message in stopped.err
    assert stopped.err.count("\n") == 1


async def test_serve_and_the_doctor_report_a_port_in_use_and_the_doctor_a_missing_browser(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stopped = await bs(tmp_path / "data", "serve", "--port", str(port))
        assert stopped.code == 2
        assert stopped.err == (
            f"BROWSER_SESSIONS_PORT: 127.0.0.1:{port} is in use. Name another with --port, or 0 for any that is free.\n"
        )
        found = await bs(tmp_path / "data", "doctor", "--browser-executable", "/nonexistent", "--port", str(port))
        assert found.code == 1
        assert re.findall(r"(?m)^(\w[\w ]*?) +problem  ", found.out) == ["browser", "port"]
        assert re.search(r"(?m)^browser +problem  BROWSER_SESSIONS_BROWSER_EXECUTABLE is /nonexistent", found.out)
        shown = re.findall(r"(?m)^(\w[\w ]*?) +(?:ok|warning|problem)  ", found.out)
        assert {"python", "settings", "browser", "port", "data folder", "fonts"} <= set(shown)


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


@pytest.mark.slow
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


async def test_the_sdk_drives_a_page_and_ends_its_session(client: Client) -> None:
    async with client.session(viewport_width=500, viewport_height=400) as session:
        assert (await session.goto("data:text/html,<title>One</title><h1>1</h1>")).title == "One"
        assert await session.evaluate("[innerWidth, innerHeight]") == [500, 400]
        assert await session.evaluate("Promise.resolve({a: [1, null, 'x']})") == {"a": [1, None, "x"]}
        assert "<h1>1</h1>" in (await session.content()).content
        assert (await session.screenshot()).startswith(b"\x89PNG")
        assert (await session.screenshot(format="jpeg", quality=40)).startswith(b"\xff\xd8")
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
    assert session.id in [each.session_id async for each in client.iter_sessions(status=["closed"])]
    assert (await client.pool()).capacity >= 1
    with pytest.raises(NotFound):
        await client.get("ses_" + "0" * 32)


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


async def test_the_shell_completes_ids(service: Serving, client: Client, tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("browser-sessions")

    def asked(line: str) -> dict[str, str]:
        """What bash sets to ask for completions of the last word of a command line."""
        return {"_BROWSER_SESSIONS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}

    async def completed(line: str, data_dir: Path = service.data_dir) -> list[str]:
        env = asked(line) | {"BROWSER_SESSIONS_DATA_DIR": str(data_dir)}
        done = await asyncio.to_thread(CliRunner().invoke, app, [], env=env, prog_name="browser-sessions")
        assert done.stderr == ""
        return done.stdout.split()

    live, ended = [(await client.create()).session_id for _ in range(2)]
    await client.end(ended)
    process = await asyncio.create_subprocess_exec(
        script,
        env=environment(service.data_dir, asked(f"browser-sessions show {live[:20]}")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        assert await process.communicate() == (f"{live}\n".encode(), b"")
    assert await completed(f"browser-sessions show {live[:20]}") == [live]
    assert await completed(f"browser-sessions open {ended[:20]}") == [ended]
    assert live in await completed("browser-sessions end ses_")
    assert await completed(f"browser-sessions end {ended[:20]}") == []
    page = (await client.pages(live))[0].page_id
    assert await completed(f"browser-sessions evaluate {live} 1 --page ") == [page]
    assert await completed("browser-sessions show ses_", tmp_path) == []

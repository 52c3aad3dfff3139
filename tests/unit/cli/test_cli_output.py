"""Output in pipes and on terminals, options before the command, and ids from standard input."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TextIO

import httpx
import pytest

from browser_sessions.cli import main
from tests.harness.fakes.api_service import EVENTS, IDS, KEY, ROW, Service, bs, problem, session_body


def test_nothing_is_cut_or_padded_in_a_pipe(service: Service) -> None:
    url = "data:text/html," + "x" * 30_000
    rows = [session_body(each) | ROW | {"title": "", "url": url if each == IDS[0] else "about:blank"} for each in IDS]
    service.refuse = lambda request: (
        httpx.Response(200, json={"sessions": rows}) if request.url.path.endswith("/overview") else None
    )
    lines = bs("ls").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [[each, "active"] for each in IDS]
    assert lines[1].endswith(url)
    assert len(lines[2]) < 200
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(("no_color", "styled"), [("", True), ("1", False)])
def test_no_color_means_no_bold_either(
    service: Service, monkeypatch: pytest.MonkeyPatch, no_color: str, styled: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    assert ("\x1b[" in bs("ls").stdout) is styled


def test_ids_only(service: Service) -> None:
    assert bs("ls", "-q").stdout.split() == IDS


def test_ids_can_be_read_from_standard_input(service: Service) -> None:
    ended = bs("end", "-", "--yes", typed="\n".join(IDS[:2]) + "\n")
    assert ended.exit_code == 0
    assert ended.stdout == f"{IDS[0]} closed\n{IDS[1]} closed\n"
    nothing = bs("end", "-", typed="")
    assert (nothing.exit_code, nothing.output) == (0, "")


def test_common_options_may_stand_before_the_command(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BROWSER_SESSIONS_API_KEY")
    (tmp_path / "key").write_text(KEY)
    before = ("--url", "http://elsewhere:1", "--api-key-file", str(tmp_path / "key"), "--json")
    assert json.loads(bs(*before, "ls").stdout)["next_cursor"] is None
    assert service.requests[0].url.host == "elsewhere"
    assert service.requests[0].headers["X-API-Key"] == KEY
    made = bs(*before, "keys", "create", "ci")
    assert json.loads(made.stdout)["key"] == "bs_k1_secret"
    assert bs("--url", "http://elsewhere:1", "ls", "--url", "http://nearer:1").exit_code == 0
    assert service.requests[-1].url.host == "nearer"
    assert json.loads(bs("--json", "version").stdout)["version"]
    assert "BROWSER_SESSIONS_PORT" in bs("--data-dir", str(tmp_path), "serve", "--port", "99999").stderr


def test_create_tells_when_the_session_ends_and_where_to_watch_it(service: Service) -> None:
    made = bs("create").stdout
    assert "ends     after 5 m without use, 1 h after its creation at the latest\n" in made
    assert f"watch    https://browsers.example.com/sessions/{IDS[0]}\n" in made
    service.idle_timeout = None
    assert "ends     1 h after its creation\n" in bs("create", "--idle-timeout", "none").stdout


def test_create_shows_the_session_though_its_details_are_not_to_be_had(service: Service) -> None:
    service.refuse = lambda request: problem(500, "A bug.") if request.url.path.endswith("/details") else None
    made = bs("create")
    assert (made.exit_code, IDS[0] in made.stdout, "ends" in made.stdout) == (0, True, False)


def test_a_title_that_the_encoding_of_the_output_lacks_is_no_error(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [session_body(each) | ROW | {"title": "\u6771\u4eac"} for each in IDS]
    service.refuse = lambda request: (
        httpx.Response(200, json={"sessions": rows}) if request.url.path.endswith("/overview") else None
    )
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out, encoding="iso-8859-1"))
    monkeypatch.setattr("sys.argv", ["browser-sessions", "ls"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert out.getvalue().count(b"\\u6771\\u4eac") == 4


def run(*args: str, into: TextIO | None, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit code."""
    monkeypatch.setattr("sys.stdout", into)
    monkeypatch.setattr("sys.argv", ["browser-sessions", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("command", ["ls", "show", "content", "screenshot", "version", "--help"])
def test_a_full_disk_is_one_sentence(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    args = [command] if command in ("ls", "version", "--help") else [command, IDS[0]]
    with Path("/dev/full").open("w") as full:
        assert run(*args, into=full, monkeypatch=monkeypatch) == 1
        assert capsys.readouterr().err == "Standard output cannot be written: No space left on device.\n"
        if command in ("ls", "show", "content", "version"):
            assert run("--json", *args, into=full, monkeypatch=monkeypatch) == 1
            assert json.loads(capsys.readouterr().err)["exit_code"] == 1


@pytest.mark.parametrize("args", [("ls",), ("content", IDS[0]), ("events", IDS[0], "-f"), ("--json", "ls")])
def test_a_reader_who_has_left_is_no_error(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    args: tuple[str, ...],
) -> None:
    stream = "".join(f"data: {json.dumps(each)}\n\n" for each in EVENTS).encode()
    health = {"status": "ok", "version": "1", "uptime_seconds": 1.0}

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, content=_pieces(stream))
        return httpx.Response(200, json=health) if request.url.path == "/healthz" else None

    service.refuse = refuse
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as left:
        assert run(*args, into=left, monkeypatch=monkeypatch) == 141
    assert capsys.readouterr().err == ""
    assert [each for each in caplog.records if each.name == "asyncio"] == []


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


def test_a_closed_standard_output_is_one_sentence() -> None:
    shell = f"exec {sys.executable} -m browser_sessions version >&-"
    ended = subprocess.run(["/bin/sh", "-c", shell], stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "Standard output cannot be written: Bad file descriptor.\n"


def test_metadata_of_a_body_may_be_null(service: Service) -> None:
    assert bs("create", "-m", "a=b", "--json-body", '{"metadata": null}').exit_code == 0
    assert json.loads(service.requests[0].content)["metadata"] == {"a": "b"}


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys
INTERRUPT = sys.argv.pop(1)
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == INTERRUPT:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
runpy.run_module("browser_sessions", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["typer", "browser_sessions.cli.sessions.session_list"])
def test_ctrl_c_while_the_command_line_loads_is_an_exit_code(module: str) -> None:
    interrupted = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, module, "ls"],
        capture_output=True,
        text=True,
        check=False,
        # A test run in the background of a script ignores SIGINT, and the command would inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert (interrupted.returncode, interrupted.stdout, interrupted.stderr) == (130, "", "")

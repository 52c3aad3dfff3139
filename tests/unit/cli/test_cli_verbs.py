"""The commands about pages, events and downloads of a session."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from browser_sessions.cli.output import show_text
from tests.harness.fakes.api_service import DETAILS, EVENTS, IDS, PAGES, PICTURE, Service, bs, problem, session_body

SESSION = IDS[1]


def paths(service: Service) -> list[str]:
    return [request.url.path.removeprefix(f"/v1/browser/sessions/{SESSION}") for request in service.requests]


@pytest.mark.parametrize(
    ("page", "code", "result"),
    [
        ((), 0, PAGES[0]),
        (("--page", "4C1F"), 0, PAGES[1]),
        (("--page", "4c1f"), 0, PAGES[1]),
        (("--page", PAGES[1]), 0, PAGES[1]),
        (("--page", "4C"), 2, "2 page ids start with 4C. Give more of it."),
        (("--page", "77"), 3, "No page id of the session starts with 77. List them with 'pages ls'."),
    ],
)
def test_a_page_is_the_first_or_named_by_its_beginning(
    service: Service, page: tuple[str, ...], code: int, result: str
) -> None:
    done = bs("evaluate", SESSION, "1", *page)
    assert done.exit_code == code
    if code:
        assert done.stderr == result + "\n"
    else:
        assert paths(service)[-1] == f"/pages/{result}/evaluate"


def test_a_session_without_a_page_or_that_has_ended_says_so(service: Service) -> None:
    service.pages = []
    none = bs("content", SESSION)
    assert (none.exit_code, "has no open page" in none.stderr) == (3, True)
    ended = {"status": "expired", "end_reason": "idle_timeout", "ended_at": "2026-01-31T12:00:00Z"}
    limits: dict[str, Any] = {"idle_timeout_seconds": 1.0, "max_lifetime_seconds": None}
    body = DETAILS | session_body(SESSION) | limits | ended
    service.refuse = lambda request: httpx.Response(200, json=body) if request.url.path.endswith("/details") else None
    gone = bs("content", SESSION)
    assert (gone.exit_code, gone.stderr) == (1, "The session is expired (idle_timeout).\n")


@pytest.mark.parametrize(
    ("script", "args", "printed"),
    [
        ('"a\\nb"', (), "a\nb\n"),
        ('"a"', ("--json",), '"a"\n'),
        ('{"a": [1, null]}', (), '{\n  "a": [\n    1,\n    null\n  ]\n}\n'),
        ('{"a": "\u00e9"}', (), '{\n  "a": "\u00e9"\n}\n'),
        ('{"a": "\u00e9"}', ("--json",), '{\n  "a": "\\u00e9"\n}\n'),
        ('["\\ud800\u00e9"]', (), '[\n  "\\ud800\\u00e9"\n]\n'),
        ("null", (), "null\n"),
    ],
)
def test_a_value_is_printed_as_text_or_json(service: Service, script: str, args: tuple[str, ...], printed: str) -> None:
    assert bs("evaluate", SESSION, script, *args).stdout == printed
    assert bs("evaluate", SESSION, "-", *args, typed=script).stdout == printed


def test_text_of_a_page_cannot_control_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show_text("a\tb\x1b[2J\nc")
    assert capsys.readouterr().out == "a\tb\x1b[2J\nc\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_text("a\tb\x1b[2J\nc")
    assert capsys.readouterr().out == "a\tb\ufffd[2J\nc\n"


@pytest.mark.parametrize(
    ("name", "options", "query"),
    [
        ("a.webp", ("--clip", "0,1.5,20,30", "--full-page"), {"format": "webp", "clip": "0.0,1.5,20.0,30.0"}),
        ("a.JPG", ("--quality", "9"), {"format": "jpeg", "quality": "9", "full_page": "false"}),
        (
            "a",
            ("--selector", "#a", "--omit-background"),
            {"format": "png", "selector": "#a", "omit_background": "true"},
        ),
        ("a.pdf", ("--format", "A4", "--margin", "1cm"), {"format": "A4", "margin_top": "1cm", "margin_left": "1cm"}),
        ("a.pdf", ("--pages", "1-2", "--landscape"), {"page_ranges": "1-2", "landscape": "true", "scale": "1.0"}),
    ],
)
def test_pictures_and_pdfs_take_their_options(
    service: Service, tmp_path: Path, name: str, options: tuple[str, ...], query: dict[str, str]
) -> None:
    command = "pdf" if name.endswith("pdf") else "screenshot"
    assert bs(command, SESSION, "-o", str(tmp_path / name), *options).exit_code == 0
    assert query.items() <= dict(service.requests[-1].url.params).items()


def test_a_clip_has_four_numbers(service: Service) -> None:
    refused = bs("screenshot", SESSION, "--clip", "1,2,3")
    assert (refused.exit_code, "X,Y,WIDTH,HEIGHT" in refused.stderr) == (2, True)


def test_a_screenshot_goes_to_standard_output_or_to_a_file(service: Service, tmp_path: Path) -> None:
    assert bs("screenshot", SESSION).stdout_bytes == PICTURE
    file = tmp_path / "a.JPG"
    assert bs("screenshot", SESSION, "-o", str(file), "--quality", "50").output == ""
    assert file.read_bytes() == PICTURE
    as_json = bs("screenshot", SESSION, "-o", str(file), "--full-page", "--json")
    assert json.loads(as_json.stdout) == {"file": str(file), "bytes": len(PICTURE)}
    unwritten = bs("screenshot", SESSION, "-o", str(tmp_path / "none" / "a.png"))
    assert (unwritten.exit_code, "a.png cannot be written: No such file" in unwritten.stderr) == (1, True)


def test_bytes_are_not_printed_on_a_terminal_or_among_json(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    among = bs("pdf", SESSION, "--json")
    assert (among.exit_code, "name a file: --json" in among.stderr) == (2, True)
    monkeypatch.setattr("browser_sessions.cli.file_output._on_terminal", lambda: True)
    for command in (("screenshot", SESSION), ("downloads", "get", SESSION, "dl_1"), ("storage-state", SESSION)):
        refused = bs(*command)
        assert (refused.exit_code, "standard output is a terminal" in refused.stderr) == (2, True)
    assert service.requests == []


def test_a_download_keeps_its_name_in_a_folder_and_stays_there(service: Service, tmp_path: Path) -> None:
    assert "dl_1      completed  9      ../../report\ufffd.pdf" in bs("downloads", "ls", SESSION).stdout
    assert bs("downloads", "get", SESSION, "dl_1").stdout_bytes == PICTURE
    assert bs("downloads", "get", SESSION, "dl_1", "-o", str(tmp_path)).exit_code == 0
    assert [each.name for each in tmp_path.iterdir()] == [".._.._report\ufffd.pdf"]
    assert bs("downloads", "get", SESSION, "dl_2", "-o", str(tmp_path)).exit_code == 3


def test_a_file_or_a_folder_is_uploaded_and_its_path_printed(service: Service, tmp_path: Path) -> None:
    (tmp_path / "docs" / "old").mkdir(parents=True)
    for name in ("docs/b.txt", "docs/old/a.txt"):
        (tmp_path / name).write_text(name)
    done = bs("upload", SESSION, str(tmp_path / "docs" / "b.txt"))
    assert (done.stdout, done.exit_code) == ("/work/uploads/upl_1/a.txt\n", 0)
    assert bs("upload", SESSION, str(tmp_path / "docs"), "--name", "new").exit_code == 0
    assert bs("upload", SESSION, "-", "--name", "in.txt", typed="from a pipe").exit_code == 0
    sent = [(request.url.params["name"], request.content.decode()) for request in service.requests]
    assert sent == [
        ("b.txt", "docs/b.txt"),
        ("new/b.txt", "docs/b.txt"),
        ("new/old/a.txt", "docs/old/a.txt"),
        ("in.txt", "from a pipe"),
    ]
    made = json.loads(bs("upload", SESSION, str(tmp_path / "docs" / "b.txt"), "--json").stdout)
    assert (made["path"], made["uploads"][0]["upload_id"]) == ("/work/uploads/upl_1/a.txt", "upl_1")
    missing = bs("upload", SESSION, str(tmp_path / "none"))
    assert (missing.exit_code, "cannot be read: No such file" in missing.stderr) == (1, True)
    unnamed = bs("upload", SESSION, "-")
    assert (unnamed.exit_code, "--name" in unnamed.stderr) == (2, True)


def test_uploads_are_listed_and_removed(service: Service) -> None:
    assert "upl_1   5      a\ufffd.txt  /work/uploads/upl_1/a.txt" in bs("uploads", "ls", SESSION).stdout
    assert bs("uploads", "rm", SESSION, "upl_1").exit_code == 0
    assert (service.requests[-1].method, paths(service)[-1]) == ("DELETE", "/uploads/upl_1")


def test_a_storage_state_is_written_for_its_owner_only(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.touch(0o644)
    assert bs("storage-state", SESSION, "-o", str(file)).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert bs("create", "--storage-state", str(file)).exit_code == 0
    assert json.loads(service.requests[-2].content)["storage_state"] == {"cookies": [], "origins": []}


def test_events_are_printed_one_on_a_line(service: Service) -> None:
    assert bs("events", SESSION).stdout == (
        f"2026-01-31T12:00:01.118Z page.navigated page_id={PAGES[0]} url=https://example.org/ "
        'title="An example\ufffd[2J"\n'
        f'2026-01-31T12:00:02.118Z console page_id={PAGES[0]} level=error text="two words" line=3\n'
        "2026-01-31T12:00:03.118Z session.ended status=closed reason=deleted\n"
    )
    assert [json.loads(line) for line in bs("events", SESSION, "--json").stdout.splitlines()] == EVENTS
    later = bs("events", SESSION, "--after", "5f1c09aa-1", "-t", "session.ended", "--json").stdout
    assert json.loads(later) == EVENTS[2]
    assert [json.loads(line) for line in bs("logs", SESSION, "--json").stdout.splitlines()] == EVENTS[1:2]
    assert bs("events", SESSION, "--after", "5f1c09aa-9").exit_code == 3
    assert bs("events", SESSION, "-t", "session", "--json").stdout == later
    wrong = bs("events", SESSION, "-t", "pages")
    assert (wrong.exit_code, "must be an event type, or a group of them: browser," in wrong.stderr) == (2, True)
    assert bs("events").exit_code == 2


class _Dropped(httpx.AsyncByteStream):
    """An event, and then the connection is lost."""

    async def __aiter__(self) -> Any:
        yield b"data: " + json.dumps(EVENTS[0]).encode() + b"\n\n"
        raise httpx.ReadError("")


def test_following_goes_on_after_the_last_event(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("browser_sessions.cli.sessions.event_commands.RECONNECT_S", 0.0)
    rest = "".join(f"data: {json.dumps(each)}\n\n" for each in EVENTS[1:])
    answers = [
        httpx.Response(200, json={"status": "ok", "version": "1", "uptime_seconds": 1.0}),
        httpx.Response(200, stream=_Dropped()),
        problem(503, "The server is starting."),
        httpx.Response(200, text=rest),
    ]
    service.refuse = lambda request: answers.pop(0)
    followed = bs("events", SESSION, "-f", "--json")
    assert followed.exit_code == 0
    assert [json.loads(line) for line in followed.stdout.splitlines()] == EVENTS
    assert [json.loads(line)["hint"] for line in followed.stderr.splitlines()] == ["Waiting for it."]
    first, _, last = service.requests[1:]
    assert dict(first.url.params) == {"since": "start"}
    assert (last.headers["Last-Event-ID"], dict(last.url.params)) == (EVENTS[0]["id"], {})


def test_watching_reports_once_that_the_service_is_away(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("browser_sessions.cli.sessions.session_list.REFRESH_S", 0.0)
    empty = httpx.Response(200, json={"sessions": [], "next_cursor": None})
    starting = problem(503, "The server is starting.")
    answers = [empty, starting, starting, starting, empty, starting, starting, problem(401, "The key was revoked.")]
    service.refuse = lambda request: answers.pop(0)
    watched = bs("ls", "--watch", "--json")
    assert watched.exit_code == 4
    assert [json.loads(line) for line in watched.stdout.splitlines()] == [{"sessions": [], "next_cursor": None}] * 2
    details = [json.loads(line)["detail"] for line in watched.stderr.splitlines()]
    assert details == ["The server is starting.", "The server is starting.", "The key was revoked."]


def test_health_has_an_exit_code(service: Service) -> None:
    assert "health       healthy, responded in 12 ms" in bs("health", SESSION).stdout
    service.healthy = False
    sick = bs("health", SESSION, "--json")
    assert (sick.exit_code, json.loads(sick.stdout)["healthy"]) == (1, False)


def test_no_line_of_the_help_is_cut() -> None:
    for command in ((), ("pages",), ("downloads",), ("uploads",), ("keys",), ("users",)):
        commands = bs(*command, "--help").stdout.split("Commands:", 1)[1]
        assert "..." not in commands, command

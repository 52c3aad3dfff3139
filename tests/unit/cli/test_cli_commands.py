"""Commands against a fake service: exit codes, JSON, short ids, and the handling of secrets."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from browser_sessions.cli.node.setting_flags import described
from tests.harness.fakes.api_service import IDS, KEY, PROBLEM, Service, bs, session_body


def test_ls_prints_a_table_or_the_apis_json(service: Service) -> None:
    shown = bs("ls")
    assert shown.exit_code == 0
    assert all(session_id in shown.stdout for session_id in IDS)
    assert shown.stdout.count("shop.example.com") == 4
    assert "4 sessions." in shown.stdout
    listed = json.loads(bs("ls", "--json").stdout)
    assert listed == {"sessions": [session_body(each) for each in IDS], "next_cursor": None}


def test_ls_sends_its_options_as_query_parameters(service: Service) -> None:
    bs("ls", "-s", "active", "--status", "queued", "-m", "job=4=2", "--metadata", "x=", "-n", "7")
    params = service.requests[0].url.params
    assert params.get_list("status") == ["active", "queued"]
    assert (params["metadata.job"], params["metadata.x"], params["limit"]) == ("4=2", "", "7")


def test_ls_reports_further_sessions_and_reads_several_pages(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "There are more: raise --limit." in bs("ls", "-n", "3").stdout
    monkeypatch.setattr("browser_sessions.cli.sessions.session_list.LIST_LIMIT", 2)
    service.requests.clear()
    listed = json.loads(bs("ls", "-n", "3", "--json").stdout)
    assert [each["session_id"] for each in listed["sessions"]] == IDS[:3]
    assert [request.url.params["limit"] for request in service.requests] == ["2", "1"]


def test_ls_without_sessions_is_not_an_error(service: Service) -> None:
    service.refuse = lambda request: httpx.Response(200, json={"sessions": [], "next_cursor": None})
    assert bs("ls").stdout == "No sessions.\n"


@pytest.mark.parametrize(
    ("prefix", "code", "text"),
    [
        ("ses_b", 0, IDS[1]),
        ("c", 0, IDS[2]),
        ("aaaa", 0, IDS[0]),
        ("ab", 0, IDS[3]),
        ("ses_a", 2, "2 session ids start with ses_a. Give more of the id."),
        ("ff", 3, "No session id starts with ses_ff. List sessions with 'browser-sessions ls'."),
        ("xyz", 2, "xyz is not a session id"),
        ("", 2, "it is empty"),
        ("SES_B", 0, IDS[1]),
        (IDS[2].upper(), 0, IDS[2]),
        ("../../auth/keys/k", 2, "is not a session id"),
    ],
)
def test_a_unique_id_prefix_is_sufficient(service: Service, prefix: str, code: int, text: str) -> None:
    ended = bs("end", prefix)
    assert ended.exit_code == code
    assert text in ended.output
    deletes = [request.url.path for request in service.requests if request.method == "DELETE"]
    assert deletes == ([f"/v1/browser/sessions/{text}"] if code == 0 else [])


def test_a_whole_id_is_not_looked_up(service: Service) -> None:
    assert bs("end", IDS[0]).exit_code == 0
    assert [request.method for request in service.requests] == ["DELETE"]


def test_ending_several_sessions_requires_yes_without_a_terminal(service: Service) -> None:
    refused = bs("end", IDS[0], IDS[1])
    assert refused.exit_code == 2
    assert "Not ended: 2 sessions need a confirmation." in refused.stderr
    assert service.requests == []


def test_several_sessions_are_ended_once_each_in_order_with_yes(service: Service) -> None:
    ended = bs("end", IDS[1], IDS[0], IDS[1], "--yes", "--json")
    assert ended.exit_code == 0
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        session_body(IDS[1], "closed"),
        session_body(IDS[0], "closed"),
    ]


def test_a_session_that_cannot_be_ended_does_not_stop_the_others(service: Service) -> None:
    service.refuse = lambda request: httpx.Response(404, json=PROBLEM) if request.url.path.endswith(IDS[0]) else None
    ended = bs("end", IDS[0], IDS[1], "-y")
    assert ended.exit_code == 3
    assert ended.stdout == f"{IDS[1]} closed\n"
    assert ended.stderr == f"{IDS[0]}: There is no such session.\n"


def test_create_sends_only_the_given_options(service: Service, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"locale": "fr", "timezone_id": "Europe/Paris", "metadata": {"a": "1", "b": "2"}}')
    made = bs(
        *("create", "https://example.com", "--viewport", "800x600", "--device", "iPhone 15", "--locale", "de-CH"),
        *("--has-touch", "--device-scale-factor", "2", "--reduced-motion", "reduce", "--offline"),
        *("--http-credentials", '{"username": "a", "password": "b"}'),
        *("--idle-timeout", "none", "--max-lifetime", "90.5", "--wait", "3", "-m", "b=3", "--json-body", str(body)),
    )
    assert made.exit_code == 0, made.output
    assert json.loads(service.requests[0].content) == {
        "start_url": "https://example.com",
        "viewport_width": 800,
        "viewport_height": 600,
        "device": "iPhone 15",
        "device_scale_factor": 2,
        "has_touch": True,
        "reduced_motion": "reduce",
        "offline": True,
        "http_credentials": {"username": "a", "password": "b"},
        "locale": "de-CH",
        "timezone_id": "Europe/Paris",
        "idle_timeout_seconds": None,
        "max_lifetime_seconds": 90.5,
        "wait_seconds": 3.0,
        "metadata": {"a": "1", "b": "3"},
    }
    assert "ws://x/cdp?ticket=t" in made.stdout


@pytest.mark.parametrize("given", ['{"locale": "fr"}', "-"])
def test_a_json_body_can_be_an_argument_or_standard_input(service: Service, given: str) -> None:
    assert bs("create", "--json-body", given, typed='{"locale": "fr"}').exit_code == 0
    assert json.loads(service.requests[0].content) == {"locale": "fr"}


@pytest.mark.parametrize(
    "args",
    [
        ("create", "--viewport", "800"),
        ("create", "--viewport", "800x"),
        ("create", "--idle-timeout", "soon"),
        ("create", "--json-body", "{"),
        ("create", "--json-body", "[1]"),
        ("create", "--json-body", "/nonexistent"),
        ("create", "-m", "novalue"),
        ("create", "-m", "=x"),
        ("ls", "-n", "0"),
        ("ls", "--url", "nowhere"),
        ("ls", "--api-key-file", "/nonexistent"),
        ("ls", "--api-key", "secret"),
        ("end", "-", "--api-key-file", "-"),
        ("create", "--json-body", "[]"),
        ("create", "--json-body", '{"wait_seconds": NaN}'),
        ("create", "--idle-timeout", "nan"),
        ("create", "--wait", "inf"),
        ("create", "--json-body", ""),
        ("ls", "--url", ""),
        ("ls", "--data-dir", ""),
        ("keys", "revoke", ""),
        ("users", "rm", "\udcff"),
        ("nothing-such",),
        ("end",),
    ],
)
def test_a_usage_error_is_exit_code_2_and_sends_no_request(service: Service, args: tuple[str, ...]) -> None:
    used = bs(*args)
    assert used.exit_code == 2
    assert used.stderr
    assert used.stdout == ""
    assert service.requests == []


@pytest.mark.parametrize("file", ["key", "-"])
def test_a_key_can_be_read_from_a_file_or_standard_input(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.delenv("BROWSER_SESSIONS_API_KEY")
    (tmp_path / "key").write_text(KEY + "\n")
    assert bs("ls", "--api-key-file", "-" if file == "-" else str(tmp_path / file), typed=KEY + "\n").exit_code == 0
    assert service.requests[0].headers["X-API-Key"] == KEY


@pytest.mark.parametrize("content", ["", " \n", "two words", "Schlüssel"])
def test_a_file_without_a_key_is_an_error(service: Service, tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    result = bs("ls", "--api-key-file", str(tmp_path / "key"))
    assert result.exit_code == 2
    assert "holds no API key" in result.stderr


def test_no_command_accepts_a_secret_as_an_argument() -> None:
    for command in (["serve"], ["ls"], ["create"], ["keys", "create"], ["users", "create"], ["doctor"]):
        usage = bs(*command, "--help").stdout
        for name in ("--api-key", "--admin-api-key", "--password", "--token", "--secret"):
            assert f"{name} " not in usage, (command, name)


def test_egress_rules_are_comma_separated(service: Service) -> None:
    assert bs("create", "--egress-allow", "a.example, *.b.example:443", "--max-traffic", "1000").exit_code == 0
    body = json.loads(next(each for each in service.requests if each.method == "POST").content)
    assert body["egress"] == {"allow": ["a.example", "*.b.example:443"], "deny": []}
    assert body["max_traffic_bytes"] == 1000
    assert bs("keys", "create", "ci", "--egress-deny", "10.0.0.0/8").exit_code == 0
    assert json.loads(service.requests[-1].content)["egress"] == {"allow": None, "deny": ["10.0.0.0/8"]}


def test_client_certificates_are_read_from_files(service: Service, tmp_path: Path) -> None:
    for name in ("cert", "key", "passphrase"):
        (tmp_path / name).write_text(f"the {name}\n")
    files = ",".join(f"{name}={tmp_path / name}" for name in ("cert", "key", "passphrase"))
    bank = f"origin=https://bank.example,{files}"
    shop = f"origin=https://shop.example,cert={tmp_path / 'cert'},key={tmp_path / 'key'}"
    assert bs("create", "--client-certificate", bank, "--client-certificate", shop).exit_code == 0
    body = json.loads(next(each for each in service.requests if each.method == "POST").content)
    pem = {"cert": "the cert\n", "key": "the key\n"}
    assert body["client_certificates"] == [
        {"origin": "https://bank.example", "passphrase": "the passphrase"} | pem,
        {"origin": "https://shop.example"} | pem,
    ]
    for wrong in ("cert=a,key=b", f"{shop},pfx=a", "origin=https://a.example,cert=/none,key=/none"):
        assert bs("create", "--client-certificate", wrong).exit_code == 2


def test_a_new_key_is_printed_once_and_is_in_the_json(service: Service) -> None:
    shown = bs("keys", "create", "ci", "--role", "operator")
    assert shown.stdout.count("bs_k1_secret") == 1
    assert "not shown again" in shown.stderr
    assert json.loads(service.requests[0].content) == {
        "name": "ci",
        "role": "operator",
        "principal_id": None,
        "egress": None,
    }
    assert json.loads(bs("keys", "create", "ci", "--json").stdout)["key"] == "bs_k1_secret"


def test_a_password_is_read_from_standard_input_and_not_printed(service: Service) -> None:
    made = bs("users", "create", "ann", typed="correct horse battery\r\nmore\n")
    assert made.exit_code == 0
    assert json.loads(service.requests[0].content)["password"] == "correct horse battery"
    assert "correct horse" not in made.output


def test_a_missing_password_is_a_usage_error(service: Service) -> None:
    assert bs("users", "create", "ann", typed="").exit_code == 2
    assert service.requests == []


def test_serve_has_every_setting_as_a_flag() -> None:
    usage = bs("serve", "--help").stdout
    for setting in described():
        assert setting.flag in usage


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--port", "99999"), "BROWSER_SESSIONS_PORT: Input should be less than or equal to 65535"),
        (("--store-url", "redis//x"), "BROWSER_SESSIONS_STORE_URL: must be "),
        (
            ("--egress-allow", "shop.example,http://a.example"),
            "BROWSER_SESSIONS_EGRESS_ALLOW: 'http://a.example' must be a host, a network or an address",
        ),
        (("--egress-deny", "10.0.0.1/8"), "BROWSER_SESSIONS_EGRESS_DENY: '10.0.0.1/8' is no network"),
        (("--log-format", "xml"), "BROWSER_SESSIONS_LOG_FORMAT: Input should be 'console' or 'json'"),
    ],
)
def test_an_invalid_setting_stops_the_start_with_a_message(
    service: Service, tmp_path: Path, args: tuple[str, ...], text: str
) -> None:
    stopped = bs("serve", *args)
    assert stopped.exit_code == 2
    assert text in stopped.stderr
    assert list(tmp_path.iterdir()) == []


def test_version() -> None:
    assert bs("version").stdout.startswith("browser-sessions ")
    assert set(json.loads(bs("version", "--json").stdout)) == {"version", "python"}


@pytest.mark.parametrize("args", [(), ("keys",), ("users",)])
def test_a_command_group_without_a_command_prints_its_commands(args: tuple[str, ...]) -> None:
    assert "Commands:" in bs(*args).output

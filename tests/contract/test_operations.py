"""The SDK has a method for every operation of the OpenAPI document, with its parameters; the command line has a
command, or a reason for none."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

import typer
from typer.main import get_command

from browser_sessions import Client
from browser_sessions.cli import app
from browser_sessions.client import PdfOptions, ScreenshotOptions, SessionOptions
from browser_sessions.domain.session import SessionStatus

METHODS: Final = {
    "cdp_list": "cdp_list",
    "cdp_protocol": "cdp_protocol",
    "cdp_version": "cdp_version",
    "close_page": "close_page",
    "control_session": "control",
    "create_browser_session": "create",
    "create_key": "create_key",
    "create_user": "create_user",
    "delete_download": "delete_download",
    "delete_upload": "delete_upload",
    "end_browser_session": "end",
    "evaluate_in_page": "evaluate",
    "get_browser_session": "get",
    "get_browser_session_details": "details",
    "get_browser_session_health": "health",
    "get_download": "download",
    "get_last_frame": "last_frame",
    "get_overview": "overview",
    "get_page_content": "content",
    "get_pool": "pool",
    "get_session_history": "history",
    "get_storage_state": "storage_state",
    "get_thumbnail": "thumbnail",
    "get_token": "token",
    "healthz": "healthz",
    "keep_browser_session_alive": "keepalive",
    "list_browser_sessions": "list",
    "list_downloads": "downloads",
    "list_keys": "keys",
    "list_pages": "pages",
    "list_uploads": "uploads",
    "list_users": "users",
    "make_live_ticket": "live_ticket",
    "metrics": "metrics",
    "navigate_page": "navigate",
    "open_devtools": "devtools",
    "open_page": "open_page",
    "print_page": "pdf",
    "readyz": "readyz",
    "remove_user": "remove_user",
    "revoke_key": "revoke_key",
    "stream_events": "events",
    "stream_session_events": "session_events",
    "take_screenshot": "screenshot",
    "upload_file": "upload",
}
"""By the `operationId` of the document."""
COMMANDS: Final = {
    "close_page": "pages close",
    "control_session": "control",
    "create_browser_session": "create",
    "create_key": "keys create",
    "create_user": "users create",
    "delete_download": "downloads rm",
    "delete_upload": "uploads rm",
    "end_browser_session": "end",
    "evaluate_in_page": "evaluate",
    "get_browser_session": "show",
    "get_browser_session_details": "show",
    "get_browser_session_health": "health",
    "get_download": "downloads get",
    "get_page_content": "content",
    "get_pool": "pool",
    "get_session_history": "events",
    "get_storage_state": "storage-state",
    "healthz": "version",
    "keep_browser_session_alive": "keepalive",
    "list_browser_sessions": "ls",
    "list_downloads": "downloads ls",
    "list_keys": "keys ls",
    "list_pages": "pages ls",
    "list_uploads": "uploads ls",
    "list_users": "users ls",
    "navigate_page": "goto",
    "open_page": "pages open",
    "print_page": "pdf",
    "readyz": "doctor",
    "remove_user": "users rm",
    "revoke_key": "keys revoke",
    "stream_events": "events",
    "stream_session_events": "events",
    "take_screenshot": "screenshot",
    "upload_file": "upload",
}
NO_COMMAND: Final = {
    "cdp_list": "for CDP clients",
    "cdp_protocol": "for CDP clients",
    "cdp_version": "for CDP clients",
    "get_last_frame": "for the console; screenshot takes a picture",
    "get_overview": "for the console; ls lists sessions, pool shows the pool",
    "get_thumbnail": "for the console; screenshot takes a picture",
    "get_token": "the command line signs in with keys",
    "make_live_ticket": "show prints a new address",
    "metrics": "for Prometheus",
    "open_devtools": "open shows the console, which opens DevTools",
}
OPTIONS: Final[dict[str, type]] = {
    "create_browser_session": SessionOptions,
    "print_page": PdfOptions,
    "take_screenshot": ScreenshotOptions,
}
RENAMED: Final = {
    ("stream_events", "session_id"): "session_ids",
    ("stream_events", "type"): "types",
    ("stream_session_events", "type"): "types",
}
NOT_PARAMETERS: Final = {"X-API-Key", "ticket", "grant_type", "client_id", "client_secret"}
"""The first two are what the client has a key for; the service ignores the others."""


def test_every_operation_has_a_method_with_its_parameters(document: dict[str, Any]) -> None:
    operations = {each["operationId"]: each for path in document["paths"].values() for each in path.values()}
    assert set(operations) == set(METHODS)
    for name, operation in operations.items():
        taken = set(inspect.signature(getattr(Client, METHODS[name])).parameters) - {"self"}
        if "options" in taken:
            taken |= set(OPTIONS[name].__annotations__)
        wanted = {RENAMED.get((name, each), each) for each in parameters(operation, document)}
        assert wanted <= taken, f"{METHODS[name]} lacks a parameter of {name}"


def test_the_document_has_the_statuses_where_the_contract_does_not_forbid_it(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("BrowserSessionCreated", "BrowserSessionDetails", "BrowserSessionHealth", "SessionRow"):
        assert schemas[name]["properties"]["status"]["enum"] == list(SessionStatus)


def parameters(operation: dict[str, Any], document: dict[str, Any]) -> set[str]:
    """Of the path, the query, the headers and the body."""
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        for schema in re.findall(r"#/components/schemas/(\w+)", str(content["schema"])):
            names |= set(document["components"]["schemas"][schema]["properties"])
        names |= set(content["schema"].get("properties", {}))
    return {name.lower().replace("-", "_") if "-" in name else name for name in names - NOT_PARAMETERS}


def test_every_operation_has_a_command_or_a_reason_for_none() -> None:
    group: Any = get_command(app)
    context = typer.Context(group)
    commands = set()
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        commands |= {name} | {f"{name} {each}" for each in getattr(command, "commands", {})}
    assert {*COMMANDS, *NO_COMMAND} == set(METHODS)
    assert not COMMANDS.keys() & NO_COMMAND.keys()
    assert [
        each for each in COMMANDS.values() if each not in commands and each.rpartition(" ")[0] not in commands
    ] == []

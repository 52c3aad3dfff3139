"""create."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from browser_sessions.api.models.session_models import BrowserSessionCreated
from browser_sessions.cli.egress_options import EgressAllow, EgressDeny, egress_rules
from browser_sessions.cli.output import show, show_json
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.sessions.client_certificate_option import ClientCertificate, client_certificates
from browser_sessions.cli.sessions.session_arguments import Metadata, metadata_pairs
from browser_sessions.cli.tables import console_address, end_of, facts, status_text
from browser_sessions.client.errors import ClientError

_VIEWPORT: Final = re.compile(r"(\d{1,5})[xX](\d{1,5})")


@service_command
async def create(
    connection: Connection,
    start_url: Annotated[str | None, typer.Argument(metavar="URL", help="The first page's address.")] = None,
    viewport: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="CSS pixels, for example 1280x720.")
    ] = None,
    user_agent: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="A Playwright device, for example 'iPhone 15'.")
    ] = None,
    device_scale_factor: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Device pixels per CSS pixel.")
    ] = None,
    is_mobile: Annotated[bool | None, typer.Option("--is-mobile", help="Lay pages out as on a phone.")] = None,
    has_touch: Annotated[bool | None, typer.Option("--has-touch")] = None,
    locale: Annotated[str | None, typer.Option(metavar="TAG", help="For example de-CH.")] = None,
    timezone: Annotated[str | None, typer.Option(metavar="NAME", help="For example Europe/Zurich.")] = None,
    color_scheme: Annotated[str | None, typer.Option(metavar="light|dark|no-preference")] = None,
    reduced_motion: Annotated[str | None, typer.Option(metavar="reduce|no-preference")] = None,
    forced_colors: Annotated[str | None, typer.Option(metavar="active|none")] = None,
    offline: Annotated[bool | None, typer.Option("--offline")] = None,
    bypass_csp: Annotated[
        bool | None, typer.Option("--bypass-csp", help="Ignore the pages' Content-Security-Policy.")
    ] = None,
    http_credentials: Annotated[
        str | None, typer.Option(metavar="FILE|-", help='{"username": ..., "password": ...} for sites that ask.')
    ] = None,
    client_certificate: ClientCertificate = None,
    isolation: Annotated[
        str | None,
        typer.Option(metavar="context|browser", help="browser: a Chromium process of its own."),
    ] = None,
    idle_timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="End after this time without use, or none.")
    ] = None,
    max_lifetime: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="End this long after its creation, or none.")
    ] = None,
    wait: Annotated[str | None, typer.Option(metavar="SECONDS", help="How long to wait for free capacity.")] = None,
    storage_state: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Start with these cookies and local storage: see storage-state."),
    ] = None,
    egress_allow: EgressAllow = None,
    egress_deny: EgressDeny = None,
    max_traffic: Annotated[
        int | None, typer.Option(metavar="BYTES", help="Close its connections once it has transferred that much.")
    ] = None,
    metadata: Metadata = None,
    json_body: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|FILE|-",
            help="Other fields of CreateBrowserSession: JSON, a file, or - for standard input. Put secrets into a "
            "file. The options above take precedence.",
        ),
    ] = None,
) -> None:
    """Create a session."""
    body = ({} if json_body is None else _json_object(json_body, "--json-body")) | {
        name: value
        for name, value in {
            "start_url": start_url,
            "user_agent": user_agent,
            "device": device,
            "device_scale_factor": device_scale_factor,
            "is_mobile": is_mobile,
            "has_touch": has_touch,
            "locale": locale,
            "timezone_id": timezone,
            "color_scheme": color_scheme,
            "reduced_motion": reduced_motion,
            "forced_colors": forced_colors,
            "offline": offline,
            "bypass_csp": bypass_csp,
            "isolation": isolation,
            "egress": egress_rules(egress_allow, egress_deny),
            "max_traffic_bytes": max_traffic,
        }.items()
        if value is not None
    }
    if viewport is not None:
        body["viewport_width"], body["viewport_height"] = _sides(viewport)
    if idle_timeout is not None:
        body["idle_timeout_seconds"] = _seconds(idle_timeout, "--idle-timeout")
    if max_lifetime is not None:
        body["max_lifetime_seconds"] = _seconds(max_lifetime, "--max-lifetime")
    if wait is not None:
        body["wait_seconds"] = _seconds(wait, "--wait")
    if storage_state is not None:
        body["storage_state"] = _json_object(storage_state, "--storage-state")
    if http_credentials is not None:
        body["http_credentials"] = _json_object(http_credentials, "--http-credentials")
    if client_certificate:
        body["client_certificates"] = client_certificates(client_certificate)
    if metadata:
        body["metadata"] = {**(body.get("metadata") or {}), **metadata_pairs(metadata)}
    made = await connection.client.create_from(body)
    if connection.as_json:
        show_json(made)
        return
    session = BrowserSessionCreated.model_validate(made)
    rows: list[tuple[str, object]] = [("session", session.session_id), ("status", status_text(session.status))]
    try:
        details = await connection.client.details(session.session_id)
        rows.append(("ends", end_of(details)))
    except ClientError:
        pass  # the session exists all the same
    rows += [("connect", session.connect_url), ("watch", console_address(session.session_id, session.live_url))]
    show(facts(rows))


def _sides(text: str) -> tuple[int, int]:
    match = _VIEWPORT.fullmatch(text)
    if match is None:
        raise typer.BadParameter("must be WIDTHxHEIGHT, for example 1280x720", param_hint="--viewport")
    return int(match.group(1)), int(match.group(2))


def _seconds(text: str, option: str) -> float | None:
    if text.lower() in ("none", "null"):
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise typer.BadParameter("must be a number of seconds or none", param_hint=option)
    return seconds


def _json_object(given: str, option: str) -> dict[str, Any]:
    """From standard input, a file or `given` itself. Raises `BadParameter`."""
    text, where = given, "it"
    try:
        if given == "-":
            text, where = sys.stdin.read(), "standard input"
        elif not given.lstrip().startswith(("{", "[", '"')):
            text, where = Path(given).read_text(encoding="utf-8"), given
        found = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"{where} is not valid JSON: {error}", param_hint=option) from None
    except OSError as error:
        raise typer.BadParameter(
            f"{given} is neither JSON nor a file that can be read: {error.strerror}", param_hint=option
        ) from None
    except ValueError as error:  # a file that is not text, or a number that is not JSON's
        raise typer.BadParameter(f"{where} is not valid JSON: {error}", param_hint=option) from None
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{where} is valid JSON, but not an object: {{...}} is expected", param_hint=option)
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")

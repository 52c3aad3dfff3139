"""The frame of commands that use a running service: which service, with which key, and errors as exit codes."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from browser_sessions.cli.command_group import COMMON
from browser_sessions.cli.exit_codes import is_ours
from browser_sessions.cli.output import plain
from browser_sessions.cli.reports import report_error, reporting
from browser_sessions.client import ApiError, Client, NotReachable, NotTrusted, Unauthorized
from browser_sessions.client.discovery import ADMIN_API_KEY, ADMIN_KEY_FILE, API_KEY, data_folder
from browser_sessions.client.errors import ClientError


@dataclass(frozen=True, slots=True)
class Connection:
    """The service of one command. With `as_json` the output is for programs."""

    client: Client
    as_json: bool


def service_command(command: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes a typer command of an async function whose first argument is a `Connection`, and adds the common options.

    There is no option for the key itself: every user of a machine can read the arguments of every process.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def run(ctx: typer.Context, **values: Any) -> None:
        for name, value in values.items():
            for each in value if isinstance(value, list) else [value]:
                _require_text(ctx, each, name)
        url, key_file, data_dir, as_json = (values.pop(name) for name in COMMON)
        if key_file == "-" and any(value in ("-", ["-"]) for name, value in values.items() if name != "output"):
            raise typer.BadParameter("standard input is asked for twice", param_hint="--api-key-file")
        client = client_for(url, key_file, data_dir)

        async def connected() -> None:
            async with client:
                await command(Connection(client, as_json), **values)

        with reporting(as_json=as_json):
            try:
                asyncio.run(connected())
            except ClientError as error:
                hint = _hint(error, client, _key_source(key_file, data_dir))
                raise typer.Exit(report_error(error, as_json=as_json, hint=hint)) from None

    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *COMMON.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    return run


def client_for(url: str | None, api_key_file: str | None, data_dir: Path | None) -> Client:
    """Raises `BadParameter` for an address or a key that cannot be used."""
    key = _key_in(api_key_file) if api_key_file is not None else os.environ.get(API_KEY) or None
    if key is not None:
        key = _checked_key(key, "--api-key-file" if api_key_file is not None else API_KEY, api_key_file or "it")
    try:
        # No retries: a person sees the first error at once, and decides.
        return Client(url, key, data_dir=data_dir, attempts=1)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url or BROWSER_SESSIONS_URL") from None


def _require_text(ctx: typer.Context, value: object, name: str) -> None:
    """Raises `BadParameter`. An empty argument is an unset variable of a script, never meant."""
    if not isinstance(value, str):
        return
    parameter: Any = next(each for each in ctx.command.params if each.name == name)
    if not value:
        raise typer.BadParameter("it is empty", ctx=ctx, param=parameter)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{plain(value[:64])} is not valid UTF-8", ctx=ctx, param=parameter) from None


def _hint(error: ClientError, client: Client, key_source: str) -> str:
    if isinstance(error, NotTrusted):
        return "If it is of a private authority, set SSL_CERT_FILE to a file with the authority's certificate."
    if isinstance(error, NotReachable):
        return "Start one with 'browser-sessions serve', or name another with --url."
    if isinstance(error, ApiError) and not is_ours(error):
        return f"That is no answer of browser-sessions: is {client.url} its address, and does it run?"
    if isinstance(error, Unauthorized) and not client.has_key:
        return "No API key was found: set BROWSER_SESSIONS_API_KEY, or name a file that holds one with --api-key-file."
    if isinstance(error, Unauthorized):
        return f"{client.url} does not accept the API key from {key_source}."
    return ""


def _key_source(file: str | None, data_dir: Path | None) -> str:
    """Where `client_for` and the SDK found the key."""
    if file is not None:
        return "standard input" if file == "-" else plain(file)
    for variable in (API_KEY, ADMIN_API_KEY):
        if os.environ.get(variable):
            return variable
    return str((data_dir or data_folder()) / ADMIN_KEY_FILE)


def _key_in(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise typer.BadParameter(f"{file} cannot be read: {why}", param_hint="--api-key-file") from None


def _checked_key(text: str, option: str, where: str) -> str:
    key = text.strip()
    if not key or len(key.split()) > 1 or not key.isascii() or not key.isprintable():
        raise typer.BadParameter(f"{where} holds no API key: one word is expected", param_hint=option)
    return key

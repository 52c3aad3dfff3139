"""Commands that talk to a running service: which one, with which key, and what its errors mean on the command line."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from browser_sessions.cli.output import FAILED, WRONG_USE, complaints, say
from browser_sessions.client import ApiError, Client, InvalidRequest, NotReachable, Unauthorized

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The service to talk to (BROWSER_SESSIONS_URL; by default the one of this user on this machine).",
    ),
]
ApiKeyFile = Annotated[
    str | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        help="Reads the API key from a file, - for standard input (BROWSER_SESSIONS_API_KEY holds a key itself). "
        "By default the key of the service's data folder.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="FOLDER", help="The data folder of the service (BROWSER_SESSIONS_DATA_DIR)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="The API's own JSON, for programs.")]

_WHERE: Final = (
    inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Url),
    inspect.Parameter("api_key_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ApiKeyFile),
    inspect.Parameter("data_dir", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=DataDir),
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson),
)


@dataclass(frozen=True, slots=True)
class Talk:
    """The connection of one command, and whether a program reads what it says."""

    client: Client
    as_json: bool


def talking(command: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes a command of an async function: adds the options above, and opens the `Talk` that is its first argument.

    There is no option for the key itself: every user of a machine can read the arguments of every process.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def run(**values: Any) -> None:
        url, key_file, data_dir = values.pop("url"), values.pop("api_key_file"), values.pop("data_dir")
        as_json = values.pop("as_json")
        client = _client(url, _key_in(key_file), data_dir)

        async def talk() -> None:
            async with client:
                await command(Talk(client, as_json), **values)

        with complaints(FAILED):
            try:
                asyncio.run(talk())
            except ApiError as error:
                raise typer.Exit(_told(error, client)) from None
            except NotReachable as error:
                say(f"{error.detail} Start one with 'browser-sessions serve', or name another with --url.")
                raise typer.Exit(FAILED) from None

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + list(_WHERE)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    return run


def _told(error: ApiError, client: Client) -> int:
    """Says what the service answered, and what to do about it from here. The exit code."""
    say(error.detail)
    if isinstance(error, Unauthorized) and not client.has_key:
        say("No key was found: set BROWSER_SESSIONS_API_KEY, or name a file that holds one with --api-key-file.")
    elif isinstance(error, Unauthorized):
        say(f"The key that was sent is none of {client.url}.")
    return WRONG_USE if isinstance(error, InvalidRequest) and error.status == 422 else FAILED


def _client(url: str | None, api_key: str | None, data_dir: Path | None) -> Client:
    try:
        # A person sees the first refusal at once, and decides.
        return Client(url, api_key, data_dir=data_dir, attempts=1)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url or BROWSER_SESSIONS_URL") from None


def _key_in(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise typer.BadParameter(f"{file} cannot be read: {why}", param_hint="--api-key-file") from None
    key = text.strip()
    if not key or len(key.split()) > 1 or not key.isascii():
        raise typer.BadParameter(f"{file} holds no API key: one word is expected", param_hint="--api-key-file")
    return key

"""The frame of commands that use a running service: which service, with which key, and errors as exit codes."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from browser_sessions.cli.output import FAILED, WRONG_USE, complaints, warn
from browser_sessions.client import ApiError, Client, InvalidRequest, NotReachable, Unauthorized

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The service's address (BROWSER_SESSIONS_URL). Default: this user's service on this machine.",
    ),
]
ApiKeyFile = Annotated[
    str | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        help="File with the API key, - for standard input (BROWSER_SESSIONS_API_KEY holds a key itself). "
        "Default: the admin key in the service's data folder.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="FOLDER", help="The service's data folder (BROWSER_SESSIONS_DATA_DIR)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]

_COMMON: Final = (
    inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Url),
    inspect.Parameter("api_key_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ApiKeyFile),
    inspect.Parameter("data_dir", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=DataDir),
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson),
)


@dataclass(frozen=True, slots=True)
class Connection:
    """The service of one command. With `as_json` the output is for programs."""

    client: Client
    as_json: bool


def service_command(command: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes a typer command of an async function whose first argument is a `Connection`, and adds the options above.

    There is no option for the key itself: every user of a machine can read the arguments of every process.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def run(**values: Any) -> None:
        client = client_for(values.pop("url"), values.pop("api_key_file"), values.pop("data_dir"))
        as_json = values.pop("as_json")

        async def connected() -> None:
            async with client:
                await command(Connection(client, as_json), **values)

        with complaints(FAILED):
            try:
                asyncio.run(connected())
            except ApiError as error:
                raise typer.Exit(_report(error, client)) from None
            except NotReachable as error:
                warn(f"{error.detail} Start one with 'browser-sessions serve', or name another with --url.")
                raise typer.Exit(FAILED) from None

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + list(_COMMON)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    return run


def client_for(url: str | None, api_key_file: str | None, data_dir: Path | None) -> Client:
    """Raises `BadParameter` for an address or a key file that cannot be used."""
    key = _key_in(api_key_file)
    try:
        # No retries: a person sees the first error at once, and decides.
        return Client(url, key, data_dir=data_dir, attempts=1)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url or BROWSER_SESSIONS_URL") from None


def _report(error: ApiError, client: Client) -> int:
    """Prints what the service answered, with a hint for wrong keys. Returns the exit code."""
    warn(error.detail)
    if isinstance(error, Unauthorized) and not client.has_key:
        warn("No API key was found: set BROWSER_SESSIONS_API_KEY, or name a file that holds one with --api-key-file.")
    elif isinstance(error, Unauthorized):
        warn(f"{client.url} does not accept the API key that was sent.")
    return WRONG_USE if isinstance(error, InvalidRequest) and error.status == 422 else FAILED


def _key_in(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise typer.BadParameter(f"{file} cannot be read: {why}", param_hint="--api-key-file") from None
    key = text.strip()
    if not key or len(key.split()) > 1 or not key.isascii():
        raise typer.BadParameter(f"{file} holds no API key: one word is expected", param_hint="--api-key-file")
    return key

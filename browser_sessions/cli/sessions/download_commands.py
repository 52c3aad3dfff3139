"""downloads ls, get, rm."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from browser_sessions.cli.command_group import new_app
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.file_output import STANDARD_OUTPUT, destination, not_written, written
from browser_sessions.cli.output import plain, show, show_json
from browser_sessions.cli.reports import CommandError
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.sessions.session_arguments import SessionId, asked, session_of, whole_id
from browser_sessions.cli.tables import downloads_table
from browser_sessions.client import Client

downloads = new_app(help="List, fetch and remove a session's downloads.")


def complete_download(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(download id, file name) of the session's downloads."""

    async def found(client: Client) -> list[tuple[str, str]]:
        listed = await client.downloads(await session_of(client, ctx))
        return [(each.download_id, plain(each.filename)) for each in listed]

    return [each for each in asked(ctx, found) or [] if each[0].startswith(incomplete)]


DownloadId = Annotated[
    str, typer.Argument(metavar="DOWNLOAD_ID", help="From 'downloads ls'.", autocompletion=complete_download)
]


@downloads.command("ls")
@service_command
async def list_downloads(connection: Connection, session: SessionId) -> None:
    """List downloads, oldest first, those in progress included."""
    found = await connection.client.downloads(await whole_id(connection.client, session))
    if connection.as_json:
        show_json({"downloads": [each.model_dump(mode="json") for each in found]})
    else:
        show(downloads_table(found))


@downloads.command("get")
@service_command
async def get_download(
    connection: Connection,
    session: SessionId,
    download: DownloadId,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|FOLDER|-",
            help="In a folder it keeps its name. Default: standard output, if that is no terminal.",
        ),
    ] = None,
) -> None:
    """Fetch a complete download."""
    target = destination(output, as_json=connection.as_json)
    client = connection.client
    session_id = await whole_id(client, session)
    if target == STANDARD_OUTPUT:
        async for piece in client.iter_download(session_id, download):
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return
    file = Path(target)
    if await asyncio.to_thread(file.is_dir):
        file /= await _file_name(client, session_id, download)
    try:
        await client.save_download(session_id, download, file)
    except OSError as error:
        raise not_written(str(file), error) from error
    written(file, as_json=connection.as_json)


@downloads.command("rm")
@service_command
async def remove_download(connection: Connection, session: SessionId, download: DownloadId) -> None:
    """Remove a download, or cancel one in progress.

    That frees its share of the quota.
    """
    await connection.client.delete_download(await whole_id(connection.client, session), download)
    if connection.as_json:
        show_json({"removed": download})


async def _file_name(client: Client, session_id: str, download: str) -> str:
    """The site's name for the file, without folders. Raises `CommandError`."""
    for each in await client.downloads(session_id):
        if each.download_id == download:
            name = plain(each.filename).replace("/", "_")
            return name if name.strip(".") else download
    raise CommandError(ExitCode.NOT_FOUND, f"The session has no download {plain(download[:64])}.")

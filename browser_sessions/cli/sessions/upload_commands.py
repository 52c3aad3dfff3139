"""upload; uploads ls, rm."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from browser_sessions.cli.command_group import new_app
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.output import plain, show, show_json, show_text
from browser_sessions.cli.reports import CommandError
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.sessions.session_arguments import SessionId, asked, session_of, whole_id
from browser_sessions.cli.tables import uploads_table
from browser_sessions.client import Client

uploads = new_app(help="List and remove what was uploaded to a session.")


def complete_upload(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """(upload id, name) of the session's uploads."""

    async def found(client: Client) -> list[tuple[str, str]]:
        listed = await client.uploads(await session_of(client, ctx))
        return [(each.upload_id, plain(each.name)) for each in listed]

    return [each for each in asked(ctx, found) or [] if each[0].startswith(incomplete)]


UploadId = Annotated[
    str, typer.Argument(metavar="UPLOAD_ID", help="From 'uploads ls'.", autocompletion=complete_upload)
]


@service_command
async def upload(
    connection: Connection,
    session: SessionId,
    file: Annotated[str, typer.Argument(metavar="FILE|FOLDER|-", help="- reads standard input.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Its name in the session. Default: its own.")
    ] = None,
) -> None:
    """Upload a file or a folder for a session's pages.

    Prints its path there, which CDP clients give to file inputs, for example Puppeteer's uploadFile.
    """
    if file == "-" and name is None:
        raise typer.BadParameter("give the name of what standard input has", param_hint="--name")
    client = connection.client
    session_id = await whole_id(client, session)
    try:
        if file == "-":
            made = [await client.upload(session_id, sys.stdin.buffer, name=name)]
        elif await asyncio.to_thread(Path(file).is_dir):
            made = list(await client.upload_folder(session_id, file, name=name))
        else:
            made = [await client.upload(session_id, file, name=name)]
    except OSError as error:
        raise CommandError(ExitCode.FAILED, f"{plain(file)} cannot be read: {error.strerror or error}.") from error
    if connection.as_json:
        show_json({"path": made[0].path, "uploads": [each.model_dump() for each in made]})
    else:
        show_text(made[0].path)


@uploads.command("ls")
@service_command
async def list_uploads(connection: Connection, session: SessionId) -> None:
    """List uploads, oldest first."""
    found = await connection.client.uploads(await whole_id(connection.client, session))
    if connection.as_json:
        show_json({"uploads": [each.model_dump() for each in found]})
    else:
        show(uploads_table(found))


@uploads.command("rm")
@service_command
async def remove_upload(connection: Connection, session: SessionId, upload_id: UploadId) -> None:
    """Remove an upload, which frees its share of the quota."""
    await connection.client.delete_upload(await whole_id(connection.client, session), upload_id)
    if connection.as_json:
        show_json({"removed": upload_id})

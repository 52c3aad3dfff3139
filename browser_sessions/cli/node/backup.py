"""backup, restore: the service's data as a folder elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from browser_sessions.cli.command_group import AsJson, DataDir
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.node.backup_files import Copied, put_back, save
from browser_sessions.cli.output import show_json
from browser_sessions.cli.reports import CommandError, reporting
from browser_sessions.settings import Settings, load

StoreUrl = Annotated[
    str | None, typer.Option("--store-url", metavar="TEXT", help="As for serve (BROWSER_SESSIONS_STORE_URL).")
]


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Is made, or brought up to date.")],
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Back up the service's data to a folder, while it runs.

    Database, secrets and the archive of ended sessions. It holds the service's keys: only its owner may read the files.
    """

    def work(settings: Settings) -> Copied:
        return save(settings.data_dir, settings.database, folder)

    _run("Backed up to", folder, data_dir, store_url, as_json, work)


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that 'backup' has written.")],
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the data that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup back, while the service does not run."""

    def work(settings: Settings) -> Copied:
        own_admin_key = settings.admin_api_key is not None
        return put_back(folder, settings.data_dir, settings.database, force=force, own_admin_key=own_admin_key)

    _run("Restored from", folder, data_dir, store_url, as_json, work)


def _run(
    done: str,
    folder: Path,
    data_dir: Path | None,
    store_url: str | None,
    as_json: bool,
    work: Callable[[Settings], Copied],
) -> None:
    with reporting(as_json=as_json):
        settings = load(data_dir=data_dir, store_url=store_url)
        try:
            copied = work(settings)
        except OSError as error:
            raise CommandError(ExitCode.FAILED, f"{error.filename or folder}: {error.strerror or error}.") from error
    if as_json:
        show_json({"folder": str(folder), "files": copied.files, "bytes": copied.size})
    else:
        typer.echo(f"{done} {folder}: {copied.files} files, {copied.size / 2**20:.1f} MiB.")

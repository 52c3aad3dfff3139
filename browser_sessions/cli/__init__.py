"""The command line, `browser-sessions`: serve, drain, ls, show, create, end, open, keys, users, doctor."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed
from typing import Annotated

import typer

from browser_sessions.cli import account_commands
from browser_sessions.cli.node.doctor import doctor
from browser_sessions.cli.node.drain import drain
from browser_sessions.cli.node.serve import serve
from browser_sessions.cli.output import show_json
from browser_sessions.cli.sessions import session_commands
from browser_sessions.cli.sessions.session_list import ls

app = typer.Typer(
    name="browser-sessions",
    no_args_is_help=True,
    rich_markup_mode=None,  # help texts contain literal brackets and asterisks
    pretty_exceptions_enable=False,  # plain tracebacks, without local variables, which may hold keys
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys = typer.Typer(help="Create, list and revoke API keys (admins only).", no_args_is_help=True, rich_markup_mode=None)
users = typer.Typer(
    help="Create, list and remove users who sign in (admins only).", no_args_is_help=True, rich_markup_mode=None
)

app.command()(serve)
app.command()(drain)
app.command()(ls)
app.command("show")(session_commands.show_session)
app.command("create")(session_commands.create)
app.command("end")(session_commands.end)
app.command("open")(session_commands.open_session)
keys.command("create")(account_commands.create_key)
keys.command("ls")(account_commands.list_keys)
keys.command("revoke")(account_commands.revoke_key)
users.command("create")(account_commands.create_user)
users.command("ls")(account_commands.list_users)
users.command("rm")(account_commands.remove_user)
app.add_typer(keys, name="keys")
app.add_typer(users, name="users")
app.command()(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _every_command(
    _wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Live browser sessions in headless Chromium: isolated, watchable, with exact expiry."""


@app.command()
def version(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the version."""
    ours, python = installed("browser-sessions"), platform.python_version()
    if as_json:
        show_json({"version": ours, "python": python})
    else:
        typer.echo(f"browser-sessions {ours} (Python {python})")


def main() -> None:
    """The entry point."""
    app()


__all__ = ["app", "main"]

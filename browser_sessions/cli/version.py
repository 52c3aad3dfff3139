"""version."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed

import typer

from browser_sessions.cli.command_group import AsJson
from browser_sessions.cli.output import show_json


def version(as_json: AsJson = False) -> None:
    """Print the version."""
    ours, python = installed("browser-sessions"), platform.python_version()
    if as_json:
        show_json({"version": ours, "python": python})
    else:
        typer.echo(f"browser-sessions {ours} (Python {python})")

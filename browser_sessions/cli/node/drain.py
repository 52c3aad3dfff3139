"""drain: the service on this machine stops accepting sessions, and exits once they have ended."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

import typer

from browser_sessions.cli.output import FAILED, warn
from browser_sessions.cli.service_command import DataDir
from browser_sessions.client.discovery import announced_pid, data_folder

POLL_S: Final = 0.1
"""A drain takes seconds: a tenth of one goes unnoticed."""


def drain(data_dir: DataDir = None) -> None:
    """Stop accepting sessions, end those left after the drain time, and stop the service.

    The same as SIGTERM to the service. Waits until it has stopped; Ctrl-C ends the wait, not the draining.
    """
    folder = data_dir or data_folder()
    pid = announced_pid(folder)
    if pid is None:
        warn(f"No service with the data folder {folder} runs on this machine. Name another folder with --data-dir.")
        raise typer.Exit(FAILED)
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        warn(f"The service (process {pid}) belongs to another user. Run this as that user or as root.")
        raise typer.Exit(FAILED) from None
    except ProcessLookupError:
        pass  # it stopped just now
    warn(f"Draining (process {pid}).")
    while announced_pid(folder) == pid:
        time.sleep(POLL_S)
    warn("Stopped.")

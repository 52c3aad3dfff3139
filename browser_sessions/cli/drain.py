"""drain: tells the service on this machine to take nothing new, to let sessions finish, and to end."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

import typer

from browser_sessions.cli.output import FAILED, say
from browser_sessions.cli.service_command import DataDir
from browser_sessions.client.discovery import announced_pid, data_folder

LOOK_EVERY_S: Final = 0.1
"""Between two looks whether it has ended: nobody notices a tenth of a second after a drain of ten."""


def drain(data_dir: DataDir = None) -> None:
    """Take nothing new, let sessions finish within the drain time, end them, stop.

    The same as SIGTERM to the service. Returns when it has ended; Ctrl-C stops the waiting, not the draining.
    """
    folder = data_dir or data_folder()
    pid = announced_pid(folder)
    if pid is None:
        say(f"No service of {folder} runs on this machine. Name another folder with --data-dir.")
        raise typer.Exit(FAILED)
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        say(f"The service (process {pid}) belongs to another user. Be that user, or root.")
        raise typer.Exit(FAILED) from None
    except ProcessLookupError:
        pass  # it ended this moment
    say(f"Process {pid} drains.")
    while announced_pid(folder) == pid:
        time.sleep(LOOK_EVERY_S)
    say("It has ended.")

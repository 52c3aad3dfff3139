"""drain: the service on this machine stops accepting sessions, and exits once they have ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

from browser_sessions.cli.command_group import AsJson, DataDir
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.output import show_json, warn
from browser_sessions.cli.reports import CommandError, reporting
from browser_sessions.client.discovery import announced_pid, data_folder

POLL_S: Final = 0.1
"""A drain takes seconds: a tenth of one goes unnoticed."""


def drain(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop the service, after its sessions or the drain time.

    From now on it accepts no sessions: the same as SIGTERM to the service. Waits until it has stopped; Ctrl-C ends the
    wait, not the draining.
    """
    with reporting(as_json=as_json):
        _drain(data_dir or data_folder(), as_json=as_json)


def _drain(folder: Path, *, as_json: bool) -> None:
    pid = announced_pid(folder)
    if pid is None:
        raise CommandError(
            ExitCode.NO_SERVICE,
            f"No service with the data folder {folder} runs on this machine. Name another folder with --data-dir.",
        )
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise CommandError(
            ExitCode.REFUSED,
            f"The service (process {pid}) belongs to another user. Run this as that user or as root.",
        ) from None
    except ProcessLookupError:
        pass  # it stopped just now
    if not as_json:
        warn(f"Draining (process {pid}).")
    while announced_pid(folder) == pid:
        time.sleep(POLL_S)
    if as_json:
        show_json({"stopped": pid})
    else:
        warn("Stopped.")

"""serve: starts the service and prints its address, or one sentence about why it cannot start."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer

from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.node.setting_flags import parameters, values_of
from browser_sessions.cli.reports import reporting
from browser_sessions.client.discovery import announce, withdraw
from browser_sessions.domain.errors import SettingsError
from browser_sessions.domain.urls import is_loopback
from browser_sessions.settings import Settings, load, raise_open_files_limit, unknown

if TYPE_CHECKING:
    from browser_sessions.app import Service


def serve(**flags: Any) -> None:
    """Start the service.

    Every option is also an environment variable: --max-sessions is BROWSER_SESSIONS_MAX_SESSIONS.
    """
    with reporting(ExitCode.USAGE):
        raise_open_files_limit()
        settings = load(**values_of(flags))
        _run(settings)


serve.__signature__ = inspect.Signature(parameters())  # type: ignore[attr-defined]
serve.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters()}


def _run(settings: Settings) -> None:
    """Raises as `server.serve` does; an `OSError` becomes a `SettingsError`."""
    # Imported here: the service's libraries take most of a second to load, and other commands do not need them.
    from browser_sessions import server
    from browser_sessions.telemetry import configure_logging, keep_secret

    configure_logging(settings.log_format, settings.log_level)
    if settings.admin_api_key is not None:
        keep_secret(settings.admin_api_key.get_secret_value())

    def on_ready(service: Service, url: str) -> None:
        announce(settings.data_dir, url, os.getpid())
        # Warnings too go to standard output: standard error is the log, which may be JSON.
        typer.echo("\n".join([*greeting(service, url), *(f"Warning: {each}" for each in warnings(service, url))]))
        sys.stdout.flush()

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(server.serve(settings, on_ready))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise SettingsError(f"The service cannot start: {error.strerror or error}{where}.") from error
    finally:
        withdraw(settings.data_dir, os.getpid())


def greeting(service: Service, url: str) -> list[str]:
    """The service's address, and the admin key if this start generated it: on a terminal only, because a journal keeps
    what it gets."""
    folder = service.settings.data_dir
    lines = [
        f"browser-sessions is ready at {_reachable(url)} (API: {_reachable(url)}/docs)",
        f"Data folder: {folder}",
    ]
    if service.secrets.admin_key_is_new:
        from browser_sessions.auth.secrets_file import admin_key_path

        path = admin_key_path(folder)
        if sys.stdout.isatty():
            lines += [f"Admin key:   {service.secrets.admin_key}", f"             shown only once; stored in {path}"]
        else:
            lines.append(f"Admin key:   in {path}")
    return lines


def warnings(service: Service, url: str) -> list[str]:
    """Settings that make the service less safe."""
    found = unknown(os.environ)
    if not service.launcher.sandbox:
        found.append(f"Chromium runs without its sandbox. {service.launcher.sandbox_reason}")
    if not service.settings.egress:
        found.append(
            "EGRESS is off: sessions reach whatever this machine reaches, this service and private networks included."
        )
    public = service.settings.public_url or ""
    if not is_loopback(urlsplit(url).hostname or "") and not public.startswith("https://"):
        found.append(
            f"{url} accepts connections from other machines without TLS: API keys cross the network unencrypted. "
            "Put a reverse proxy with TLS in front, and set BROWSER_SESSIONS_PUBLIC_URL to its address."
        )
    return found


def _reachable(url: str) -> str:
    """The address for a browser on this machine, also when the service listens on all addresses."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _loop_factory() -> Any:
    """uvloop where it is available: a tenth faster (docs/decisions/0003)."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop

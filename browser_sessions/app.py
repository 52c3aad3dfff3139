"""The composition root: the one place that knows every room and wires them together."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final

import structlog
from fastapi import FastAPI

from browser_sessions.api.application import build_api
from browser_sessions.api.dependencies import ApiOptions, Console, Services
from browser_sessions.api.session_addresses import TicketAddresses
from browser_sessions.auth.keyring import KeyRing
from browser_sessions.auth.secrets_file import Secrets, load_or_create
from browser_sessions.chromium.launch import folders
from browser_sessions.chromium.launch.user import browser_user
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.console.overview import LOOK_EVERY_S, POINT_EVERY_S
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.errors import SettingsError, StoreUnavailable
from browser_sessions.events.log_and_metrics import project
from browser_sessions.gateway.gateway import TICK_S as GATEWAY_TICK_S
from browser_sessions.gateway.gateway import Gateway
from browser_sessions.pool.browsers.supervisor import PROBE_EVERY_S, Supervisor
from browser_sessions.pool.manager import Pool, PoolLimits
from browser_sessions.pool.overload import SAMPLE_EVERY_S, Shedding
from browser_sessions.pool.periodic_tasks import every, finish
from browser_sessions.pool.reaper import REAP_EVERY_S, Reaper
from browser_sessions.settings import Settings
from browser_sessions.store import EmbeddedStore
from browser_sessions.telemetry import Metrics

log = structlog.get_logger()

ACTIVITY_FLUSH_S: Final = 5.0
"""Seconds between two stores of when sessions were last used. A killed server loses no more than these of a timestamp,
and no session lives on its timestamps after a restart: it is lost either way."""
PURGE_EVERY_S: Final = 600.0
"""Records outlive their retention by ten minutes at the most."""
TRIM_EVERY_S: Final = 30.0
"""Between two times that freed memory is handed back to the system; it takes a few milliseconds of a thread."""
IDEMPOTENCY_LIFETIME: Final = timedelta(hours=24)
"""docs/api.md: the same key within 24 h gives the same session."""


class Service:
    """One node: everything that lives between start and stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.metrics = Metrics()
        self.secrets: Secrets = load_or_create(
            settings.data_dir, settings.admin_api_key.get_secret_value() if settings.admin_api_key else None
        )
        self.work_dir = folders.work_folder(settings.work_dir, browser_user())
        self._session_folders = self.work_dir / "sessions"
        """One folder a session. What lies here at start belongs to nobody: the lock on the data folder is ours."""
        self.store = EmbeddedStore(settings.database)
        self.launcher = PlaywrightLauncher(
            self.work_dir,
            settings.browser_executable,
            settings.require_sandbox,
            self.clock,
            settings.max_download_bytes,
            settings.ready_contexts,
        )
        self.keyring = KeyRing(self.store, self.clock, self.secrets)
        self.pool = Pool(
            self.launcher,
            self.store,
            self.clock,
            PoolLimits(
                max_sessions=settings.max_sessions,
                max_sessions_per_browser=settings.max_sessions_per_browser,
                max_sessions_per_principal=settings.max_sessions_per_principal,
                max_lifetime_seconds=settings.max_lifetime_seconds,
                create_timeout_seconds=settings.create_timeout_seconds,
                share_browsers_between_principals=settings.share_browsers_between_principals,
            ),
            node=_node_name(settings.data_dir),
            work_dir=self._session_folders,
        )
        self.gateway = Gateway(self.pool, self._session_folders, self.metrics)
        self.console = Console.over(self.pool, self.keyring, self.secrets, settings.data_dir, self.metrics)
        project(self.pool.journal, self.metrics)
        self._lock: IO[str] | None = None
        self._loops: list[asyncio.Task[object]] = []
        self._started = False

    async def start(self) -> None:
        """Ready to take sessions when it returns; the sessions of the last run are `lost` by then.

        Raises `SettingsError`, `BrowserMissing`, `NoBrowser`, `StoreUnavailable`: each one sentence for people.
        """
        if self._started:
            return
        self._started = True
        self._lock = _lock(self.settings.data_dir)
        try:
            await self.store.open()
            lost = await self.store.mark_lost(self.pool.node, self.clock.wall())
            await self.keyring.load()
            await asyncio.to_thread(self._prepare_folders)
            await self.launcher.start()
            await self.pool.fleet.first()
            await self._prepare_devtools()
        except BaseException:
            await self.stop()
            raise
        if lost:
            log.warning("sessions.lost", count=lost, why="the server ended without closing them")
        reaper, supervisor = Reaper(self.pool), Supervisor(self.pool.fleet, self.metrics.probe_seconds.observe)
        shedding = Shedding(self.pool.admission, self.pool.fleet, self.settings.data_dir)
        await shedding.turn()
        for seconds, turn in (
            (REAP_EVERY_S, reaper.turn),
            (PROBE_EVERY_S, supervisor.turn),
            (SAMPLE_EVERY_S, shedding.turn),
            (GATEWAY_TICK_S, self.gateway.tick),
            (ACTIVITY_FLUSH_S, self._keep_records),
            (PURGE_EVERY_S, self._purge),
            (TRIM_EVERY_S, self._trim),
            (LOOK_EVERY_S, self.console.overview.look),
            (POINT_EVERY_S, self.console.overview.point),
        ):
            self._loops.append(asyncio.create_task(every(seconds, turn), name=turn.__qualname__))
        self._loops.append(asyncio.create_task(self.console.lag.run(), name="loop lag"))

    async def drain(self) -> None:
        """Takes nothing new, lets live sessions go on for the drain time, then ends them."""
        self.pool.drain()
        deadline = self.clock.monotonic() + self.settings.drain_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - self.clock.monotonic())):
                await self.pool.registry.emptied()
        await self.pool.stop()

    async def stop(self) -> None:
        """Ends everything that `start` began. Safe to call twice."""
        await finish(*self._loops)
        self._loops.clear()
        await self.pool.stop()
        await self.gateway.stop()
        await self.console.archive.close()
        self.console.devtools.close()
        await self.launcher.stop()
        await self.store.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            if self.work_dir != self.settings.work_dir:
                await asyncio.to_thread(folders.remove_if_empty, self.work_dir)
            lock.close()

    def _prepare_folders(self) -> None:
        """Raises `SettingsError`."""
        folders.prepare(self.work_dir, browser_user())
        shutil.rmtree(self._session_folders, ignore_errors=True)
        folders.prepare(self._session_folders, browser_user())

    async def _prepare_devtools(self) -> None:
        """Before the first session: the browser that this may start has a debugging port."""
        assert self.launcher.found is not None, "it has started"
        user = None if self.launcher.user is None else (self.launcher.user.uid, self.launcher.user.gid)
        await self.console.devtools.prepare(self.launcher.version, self.launcher.found.executable, user)

    async def _keep_records(self) -> None:
        if jump := self.clock.resync():
            log.warning("clock.jumped", seconds=round(jump, 3), effect="none: deadlines use the monotonic clock")
        try:
            await self.pool.registry.save_late()
            await self.pool.registry.flush_activity()
        except StoreUnavailable as error:
            log.error("store.unavailable", reason=error.detail)

    async def _purge(self) -> None:
        now = self.clock.wall()
        retention = timedelta(hours=self.settings.retention_hours)
        self.pool.registry.forget_before(now - retention)
        await self.store.purge(now - retention, now - IDEMPOTENCY_LIFETIME)
        await self.console.archive.purge(now - retention)

    async def _trim(self) -> None:
        await asyncio.to_thread(_malloc_trim)


def build(settings: Settings, service: Service | None = None) -> FastAPI:
    """The application, with its node behind it: `app.state.service` starts with the lifespan, unless it has already."""
    node = service or Service(settings)
    services = Services(
        pool=node.pool,
        keyring=node.keyring,
        options=ApiOptions(
            listen_host=settings.host,
            public_url=settings.public_url,
            allowed_hosts=settings.allowed_hosts,
            trusted_proxies=settings.trusted_proxies,
            default_idle_timeout_seconds=settings.default_idle_timeout_seconds,
            default_max_lifetime_seconds=settings.default_max_lifetime_seconds,
            max_lifetime_seconds=settings.max_lifetime_seconds,
        ),
        addresses=TicketAddresses(node.secrets.ticket_secret, node.clock, settings.public_url),
        metrics=node.metrics,
        version=version("browser-sessions"),
        gateway=node.gateway,
        ticket_secret=node.secrets.ticket_secret,
        console=node.console,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await node.start()
        try:
            yield
        finally:
            await node.stop()

    app = build_api(services, lifespan=lifespan)
    app.state.service = node
    return app


def _node_name(data_dir: Path) -> str:
    """A name that stays with the data folder: the records in it are this node's, also when the host is renamed."""
    path = data_dir / "node"
    if not path.exists():
        path.write_text(f"{socket.gethostname()}-{secrets.token_hex(3)}\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _malloc_trim() -> None:
    """Hands freed memory back to the system. glibc keeps it: after twenty clients that read nothing had gone, 145 MB
    for ever. Elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _lock(data_dir: Path) -> IO[str]:
    """One server a data folder: two would each call the other's sessions lost. Raises `SettingsError`."""
    file = (data_dir / "lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise SettingsError(
            f"BROWSER_SESSIONS_DATA_DIR: another server (process {holder}) uses {data_dir}. "
            "Stop it, or name another folder."
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file

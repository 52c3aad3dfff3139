"""The composition root: the one place that knows every package and wires them together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import IO

import structlog
from fastapi import FastAPI

from browser_sessions.api.application import build_api
from browser_sessions.api.dependencies import ApiOptions, Console, Services
from browser_sessions.api.session_addresses import TicketAddresses
from browser_sessions.auth.keyring import KeyRing
from browser_sessions.auth.secrets_file import Secrets, load_or_create
from browser_sessions.background_tasks import Background
from browser_sessions.chromium.launch import folders
from browser_sessions.chromium.launch.user import browser_user
from browser_sessions.chromium.launcher import PlaywrightLauncher
from browser_sessions.domain.clock import SystemClock
from browser_sessions.egress.egress import Egress
from browser_sessions.egress.rules import EgressPolicy, Refusal, Rules
from browser_sessions.egress.usage import Failed
from browser_sessions.events.log_and_metrics import project
from browser_sessions.gateway.gateway import Gateway
from browser_sessions.loop_shares import Shares
from browser_sessions.pool.browsers.supervisor import Supervisor
from browser_sessions.pool.manager import Pool, PoolLimits
from browser_sessions.pool.overload import Shedding
from browser_sessions.pool.reaper import Reaper
from browser_sessions.pool.session_egress import SessionEgress
from browser_sessions.pool.upkeep import Upkeep
from browser_sessions.settings import Settings
from browser_sessions.store import EmbeddedStore, lock_data_folder
from browser_sessions.telemetry import Metrics

log = structlog.get_logger()


class Service:
    """One node: its parts, from start to stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.metrics = Metrics()
        self.secrets: Secrets = load_or_create(
            settings.data_dir, settings.admin_api_key.get_secret_value() if settings.admin_api_key else None
        )
        self.work_dir = folders.work_folder(settings.work_dir, browser_user())
        self._session_folders = self.work_dir / "sessions"
        """One folder for each session. Those found at start are leftovers: the lock on the data folder is ours."""
        self.store = EmbeddedStore(settings.database)
        self.keyring = KeyRing(self.store, self.clock, self.secrets)
        self.shares = Shares()
        self.own_ports: set[int] = {settings.port} - {0}
        """Ports that the service listens on, which no session reaches; the server adds the one it was given."""
        self.egress = (
            Egress(
                own_ports=lambda: self.own_ports | self.launcher.own_ports,
                on_refused=self._refused,
                on_failed=self._failed,
                on_traffic_limit=self._traffic_limit,
                upstream_names=settings.egress_upstream_resolves_names,
                shares=self.shares,
            )
            if settings.egress
            else None
        )
        self.launcher = PlaywrightLauncher(
            self.work_dir,
            settings.browser_executable,
            settings.require_sandbox,
            self.clock,
            settings.max_download_bytes,
            settings.ready_contexts,
            self.egress,
            settings.spare_contexts,
        )
        self.pool = Pool(
            self.launcher,
            self.store,
            self.clock,
            PoolLimits(
                max_sessions=settings.max_sessions,
                max_sessions_per_browser=settings.max_sessions_per_browser,
                max_sessions_per_principal=settings.session_quotas,
                max_lifetime_seconds=settings.max_lifetime_seconds,
                create_timeout_seconds=settings.create_timeout_seconds,
                share_browsers_between_principals=settings.share_browsers_between_principals,
            ),
            node=_node_name(settings.data_dir),
            work_dir=self._session_folders,
            egress=SessionEgress(
                EgressPolicy.of_server(Rules.parse(settings.egress_allow), Rules.parse(settings.egress_deny)),
                self.keyring.egress_rules,
            )
            if settings.egress
            else None,
        )
        self.keyring.on_revoked = self.pool.credential_revoked
        self.gateway = Gateway(self.pool, self.metrics, self.shares)
        self.console = Console.over(self.pool, self.keyring, self.secrets, settings.data_dir, self.metrics)
        project(self.pool.journal, self.metrics)
        self._lock: IO[str] | None = None
        self._loops = Background()
        self._started = False

    async def start(self) -> None:
        """Ready to accept sessions when it returns; the sessions of the last run are `lost` by then.

        Raises `SettingsError`, `BrowserMissing`, `NoBrowser`, `StoreUnavailable`.
        """
        if self._started:
            return
        self._started = True
        self._lock = lock_data_folder(self.settings.data_dir)
        try:
            await self.store.open()
            lost = await self.store.mark_lost(self.pool.node, self.clock.wall())
            await self.keyring.load()
            await asyncio.to_thread(self._prepare_folders)
            await self.launcher.start()
            if self.egress is not None:
                self.egress.accept_only(os.geteuid() if self.launcher.user is None else self.launcher.user.uid)
            await self.pool.fleet.first()
            await self._prepare_devtools()
        except BaseException:
            await self.stop()
            raise
        if self.egress is None:
            log.warning("egress.off", why="sessions reach whatever this machine reaches")
        if lost:
            log.warning("sessions.lost", count=lost, why="the server ended without closing them")
        shedding = Shedding(self.pool.admission, self.pool.fleet, self.settings.data_dir, self.work_dir)
        await shedding.turn()  # before the first create
        retention = timedelta(hours=self.settings.retention_hours)
        for loop in (
            Reaper(self.pool).run(),
            Supervisor(self.pool.fleet, self.metrics.probe_seconds.observe).run(),
            shedding.run(),
            self.gateway.run(),
            Upkeep(self.pool.registry, self.store, self.console.archive, self.clock, retention).run(),
            self.console.overview.run(),
            self.console.pages.run(),
            self.console.lag.run(),
        ):
            _ = self._loops.run(loop)

    async def drain(self) -> None:
        """Stops accepting sessions, leaves live ones the drain time, then ends them."""
        self.pool.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_seconds):
                await self.pool.registry.emptied()
        await self.pool.stop()

    async def stop(self) -> None:
        """Stops everything that `start` started. Idempotent."""
        self._loops.cancel()
        await self._loops.finished()
        await self.pool.stop()
        await self.gateway.stop()
        await self.console.archive.close()
        self.console.devtools.close()
        await self.launcher.stop()
        if self.egress is not None:
            await self.egress.aclose()
        await self.store.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            if self.work_dir != self.settings.work_dir:
                await asyncio.to_thread(folders.remove_if_empty, self.work_dir)
            lock.close()

    def _refused(self, session_id: str, refusal: Refusal) -> None:
        if (live := self.pool.registry.lives.get(session_id)) is not None:
            live.publish("egress.refused", **asdict(refusal))

    def _failed(self, session_id: str, failed: Failed) -> None:
        if (live := self.pool.registry.lives.get(session_id)) is not None:
            live.publish("egress.failed", **asdict(failed))

    def _traffic_limit(self, session_id: str) -> None:
        if (live := self.pool.registry.lives.get(session_id)) is not None:
            live.publish("egress.traffic_limit", max_traffic_bytes=live.session.spec.max_traffic_bytes)

    def _prepare_folders(self) -> None:
        """Raises `SettingsError`."""
        folders.prepare(self.work_dir, browser_user())
        shutil.rmtree(self._session_folders, ignore_errors=True)
        folders.prepare(self._session_folders, browser_user())

    async def _prepare_devtools(self) -> None:
        """Before the first session, because the browser that this may start has a debugging port."""
        user = None if self.launcher.user is None else (self.launcher.user.uid, self.launcher.user.gid)
        await self.console.devtools.prepare(self.launcher.version, self.launcher.executable, user)


def build(settings: Settings, service: Service | None = None) -> FastAPI:
    """The application over a node, `app.state.service`, which starts with the lifespan unless it has started."""
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
            egress=settings.egress,
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
    """The node's name, kept in the data folder: its records stay this node's when the host is renamed."""
    path = data_dir / "node"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"{socket.gethostname()}-{secrets.token_hex(3)}\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()

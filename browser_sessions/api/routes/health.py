"""Liveness, readiness, metrics, and the state of the pool.

The first three need no credential, because probes and scrapers have none, and the service listens on loopback by
default. They return counts, never a session, a key or a URL.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, Final

from fastapi import APIRouter, Response
from prometheus_client import generate_latest

from browser_sessions.api.caller_credentials import Operator
from browser_sessions.api.dependencies import Here, Services
from browser_sessions.api.errors import TABLE
from browser_sessions.api.models.node_models import HealthzResponse, PoolState, ReadyzResponse
from browser_sessions.api.responses import problems

router = APIRouter(tags=["service"])

METRICS_TYPE: Final = "text/plain; version=1.0.0; charset=utf-8"
"""The Prometheus text format that `generate_latest` writes."""


@router.get("/healthz", response_model=HealthzResponse)
async def healthz(services: Here) -> dict[str, Any]:
    """Liveness of the process."""
    return {"status": "ok", "version": services.version}


@router.get(
    "/readyz", response_model=ReadyzResponse, responses={503: {"model": ReadyzResponse, "description": "Not ready"}}
)
async def readyz(services: Here, response: Response) -> dict[str, Any]:
    """Readiness for new sessions: 503 while the node drains or no browser runs. Warnings do not make it unready."""
    found, warnings = services.pool.report.readiness()
    if found:
        response.status_code = 503
    return {"ready": not found, "problems": found, "warnings": warnings}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(services: Here) -> Response:
    """Metrics for Prometheus."""
    refresh(services)
    return Response(generate_latest(services.metrics.registry), headers={"Content-Type": METRICS_TYPE})


@router.get("/v1/browser/pool", response_model=PoolState, responses=problems(401, 403))
async def get_pool(services: Here, by: Operator) -> dict[str, Any]:
    """Capacity, browser processes and the queue of this node."""
    return asdict(services.pool.report.snapshot())


def refresh(services: Services) -> None:
    """Sets the gauges to the current values, at every scrape."""
    counted: dict[str, int] = dict.fromkeys(("queued", "starting", "active", "closing"), 0)
    for session in services.pool.registry.sessions.values():
        counted[session.status.value] = counted.get(session.status.value, 0) + 1
    for status, count in counted.items():
        services.metrics.sessions.labels(status).set(count)
    state = services.pool.report.snapshot()
    services.metrics.capacity.set(state.capacity)
    services.metrics.queue.set(state.queue)
    services.metrics.refused.counts = {TABLE[kind].slug: n for kind, n in services.pool.admission.refused.items()}
    traffic = services.pool.report.traffic()
    services.metrics.egress_bytes.counts = {"up": traffic["bytes_up"], "down": traffic["bytes_down"]}
    services.metrics.egress_connections.counts = {"made": traffic["connections"], "refused": traffic["refused"]}
    services.metrics.viewers.set(sum(live.viewers for live in services.pool.registry.lives.values()))
    services.metrics.tasks.set(len(asyncio.all_tasks()))
    services.metrics.browser_contexts.set(sum(process.context_count for _, process in services.pool.fleet.running))
    services.metrics.ready_contexts.set(sum(process.ready_count for _, process in services.pool.fleet.running))
    services.metrics.spare_contexts.set(sum(process.spare_count for _, process in services.pool.fleet.running))
    browsers: dict[str, int] = dict.fromkeys(("starting", "running", "retiring"), 0)
    for browser in state.browsers:
        browsers[browser.state] = browsers.get(browser.state, 0) + 1
    for name, count in browsers.items():
        services.metrics.browsers.labels(name).set(count)

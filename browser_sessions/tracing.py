"""OpenTelemetry traces, enabled by OpenTelemetry's own environment variables. Without them the library is not imported.

Spans contain names, counts and ids of ours only: URLs may contain tickets, and error texts may come from pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own; one of them must be set. Its other variables apply too (sampler, headers, service name)."""
FLUSH_S: Final = 2.0
"""Time to send the last spans at shutdown, which takes at most five seconds beyond the drain."""
PREFIX: Final = "browser_sessions."

log = structlog.get_logger()

_OFF: Final = contextlib.nullcontext()
_tracer: Tracer | None = None
_shut_down: Callable[[], None] | None = None


def tracer() -> Tracer | None:
    """None if tracing is off."""
    return _tracer


def start(version: str, node: str) -> None:
    """Enables tracing if the environment asks for it and the extra is installed."""
    global _tracer, _shut_down
    if not any(os.environ.get(name) for name in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("tracing.not_installed", install="pip install -e '.[otel]' in the checkout")
        return
    facts = {"service.version": version, "service.instance.id": node}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        facts["service.name"] = "browser-sessions"
    provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # sends from its own thread
    _tracer, _shut_down = provider.get_tracer("browser_sessions", version), provider.shutdown


async def stop() -> None:
    """Sends the remaining spans, within `FLUSH_S` even if the collector does not respond."""
    global _tracer, _shut_down
    shut_down, _tracer, _shut_down = _shut_down, None, None
    if shut_down is not None:
        sending = threading.Thread(target=shut_down, daemon=True, name="last spans")
        sending.start()
        await asyncio.to_thread(sending.join, FLUSH_S)


def span(name: str, /, **facts: str | float | None) -> AbstractContextManager[None]:
    """A span around the body, with `facts` as attributes. An exception marks it as failed, with its class name."""
    return _OFF if _tracer is None else _span(_tracer, name, facts)


@contextlib.contextmanager
def _span(tracer: Tracer, name: str, facts: dict[str, Any]) -> Iterator[None]:
    from opentelemetry.trace import Status, StatusCode

    known = {PREFIX + key: value for key, value in facts.items() if value is not None}
    with tracer.start_as_current_span(
        name, attributes=known, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(Status(StatusCode.ERROR))
            raise

"""The service's log and metrics. Secrets are masked."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from textwrap import indent
from typing import Any, Final, Literal, TextIO

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from browser_sessions.domain.session import EndReason
from browser_sessions.domain.urls import without_passwords

MASK: Final = "***"

EVENTS: Final[Mapping[str, str]] = {
    "tracing.not_installed": "Tracing is configured, but OpenTelemetry is not installed: install the extra.",
    "server.start_cancelled": "A signal ended the service while it started.",
    "server.draining": "SIGTERM: no new sessions; live ones may finish.",
    "server.stopping_now": "A second signal: the server stops at once.",
    "connections.refused": "Connections beyond the limit of `all` or of one `address` (`limit_of`), `count` of them.",
    "clock.jumped": "The host's clock was set; deadlines are not affected.",
    "creates.refused": "Memory, disk or file descriptors are short: creates are rejected.",
    "creates.taken_again": "The shortage is over: creates are accepted again.",
    "loop.turn_failed": "A bug in a background loop; the loop continues.",
    "store.unavailable": "Records wait in memory until the store accepts them.",
    "session.queued": "A create waits for free capacity.",
    "session.active": "A session is ready, `seconds` after the request.",
    "session.extended": "Its lifetime was extended.",
    "session.ended": "A session ended: `status`, `reason`, and its age in `seconds`.",
    "session.not_stored": "The store did not accept a final record; it is retried.",
    "client.connected": "A CDP client (`kind`: `cdp`) or a viewer (`live`) connected.",
    "client.disconnected": "A CDP client or a viewer disconnected.",
    "control.taken": "Somebody took control, named in `by`: the clients' commands wait.",
    "control.released": "Control was given back: the clients' commands continue.",
    "control.waiting": "Number of clients (`count`) with a command that waits for control.",
    "sessions.lost": "Sessions of the last run, whose server was killed.",
    "browser.started": "A Chromium was started within `seconds`.",
    "browser.start_failed": "Chromium could not be started; the next try is in `pause` seconds.",
    "browser.retiring": "A Chromium accepts no more sessions and exits once empty.",
    "browser.swamped": "A page kept a Chromium from responding: its process `pid` was killed, its session continues.",
    "browser.died": "A Chromium died, or was killed because it hung; its sessions are `crashed`.",
    "browser.fatal_error": "The last fatal error that a process of the Chromium of `browser.died` wrote.",
    "browser.ended": "A Chromium was closed.",
    "browser.driver_is_root": "Playwright's driver runs as root, as the service does, with the reason.",
    "browser.no_spare": "A context for a session to come could not be prepared, with the reason (level debug).",
    "browser.no_sandbox": "Chromium runs without its sandbox, with the reason.",
    "browser.close_forced": "A Chromium did not exit on request and was killed.",
    "browser.survived_kill": "A process of a killed Chromium still exists.",
    "browser.folder_not_removed": "A work folder could not be removed.",
    "browser.leftovers_swept": "Processes or files of a killed run were removed.",
    "browser.command_failed": "A bug in the handling of a command of Playwright's driver, which gets no response.",
    "browser.listener_failed": "A bug in an event listener.",
    "browser.driver_started": "Playwright's driver was started.",
    "browser.driver_died": "Playwright's driver died; the next create starts another.",
    "browser.driver_hung": "Playwright's driver did not respond and was killed.",
    "devtools.cached": "DevTools' files were taken from a new Chromium; `isolated`: in a network of its own.",
    "devtools.not_available": "DevTools' files could not be read, with the reason; DevTools returns a problem.",
    "egress.peers_unknown": "The system does not tell whose a connection is: other local users can use the proxies.",
    "egress.off": "Sessions connect directly, because of the setting.",
    "egress.refused": "A rule denied a connection of a session (level debug).",
    "egress.failed": "A connection of a session failed (level debug).",
    "egress.traffic_limit": "A session has reached its `max_traffic_bytes`.",
    "egress.unavailable": "A proxy for a session could not listen, with the reason.",
    "gateway.client_silent": "A CDP client did not respond to pings; its connection was closed.",
    "gateway.client_failed": "A bug in the handling of a message; that client's connection was closed with 1011.",
    "gateway.client_slow": "A CDP client read too slowly; its connection was closed with 1013.",
    "gateway.command_failed": "The bug was in the handling of a command; with its traceback.",
    "connect.options_ignored": "A one-line connection used unknown options: `names`, `count`.",
    "archive.not_written": "Events and last picture of an ended session could not be archived.",
    "archive.not_readable": "An archived file of an ended session is damaged.",
    "task.failed": "A bug in a background task.",
    "http.request": "A request was handled.",
    "http.refused": "A request was refused before it was read: too large, too slow, or no HTTP.",
    "http.failed": "A bug: the request got a 500; with the traceback.",
    "websocket.failed": "A bug while handling a WebSocket; with the traceback.",
    "auth.signed_in": "A user got a token.",
    "auth.refused": "A sign-in failed.",
    "auth.key_created": "An admin created a key.",
    "auth.key_revoked": "An admin revoked a key.",
    "auth.user_created": "An admin created a user.",
    "auth.user_removed": "An admin removed a user.",
}
"""Log events and their meaning. Those of `events.log_and_metrics.LOGGED` come from the journal."""

REQUEST_ID: ContextVar[str] = ContextVar("browser_sessions_request_id", default="")
"""The X-Request-ID of the request that is being handled."""

# -- secrets -----------------------------------------------------------------------------------------------------------

_SECRET_FIELDS: Final = re.compile(
    r"(?i)^(x-api-key|api_?key|key|authorization|proxy-authorization|cookie|set-cookie|password|passwd|secret|.*_secret|"
    r"token|.*_token|ticket|connect_url|live_url|storage_state|extra_http_headers)$"
)
_SECRET_TEXTS: Final = (
    (re.compile(r"bs_[A-Za-z0-9]+_[A-Za-z0-9_\-]{16,}"), "bs_" + MASK),
    (re.compile(r"eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*"), MASK),
    (re.compile(r"(?i)\b(ticket|api_?key|access_token|token|password)=[^&\s\"']+"), r"\1=" + MASK),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=\-]{8,}"), r"\1 " + MASK),
)
_known_secrets: set[str] = set()


def keep_secret(text: str) -> None:
    """Masks `text` in every log line from now on: for keys that are not of our format."""
    if len(text) >= 8:
        _known_secrets.add(text)


def masked(value: Any, *, _depth: int = 0) -> Any:
    """`value` with keys, tokens, tickets, passwords and cookies masked, also in mappings and lists."""
    if isinstance(value, str):
        for secret in _known_secrets:
            value = value.replace(secret, MASK)
        for pattern, shown in _SECRET_TEXTS:
            value = pattern.sub(shown, value)
        return without_passwords(value)
    if _depth > 6:
        return value if isinstance(value, int | float | None) else "…"
    if isinstance(value, Mapping):
        return {
            name: MASK if isinstance(name, str) and _SECRET_FIELDS.match(name) else masked(item, _depth=_depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item, _depth=_depth + 1) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return masked(str(value))


def _mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    shown: dict[str, Any] = masked(event)
    return shown


_INVISIBLE: Final = (
    r"\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
"""C1 controls, bidirectional controls, zero-width characters, line separators, surrogates, tags."""
_CONTROL: Final = re.compile(rf"[\x00-\x1f{_INVISIBLE}]")
_CONTROL_IN_LINES: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_INVISIBLE}]")
_TRACEBACKS: Final = frozenset({"exception", "stack"})
"""Have several lines, which are indented: none passes for a line of the log."""


def _escape_controls(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """For the console format: values such as a path come from callers, and may not control a terminal. JSON is
    ASCII."""
    for name, value in event.items():
        if isinstance(value, str):
            has_lines = name in _TRACEBACKS
            pattern = _CONTROL_IN_LINES if has_lines else _CONTROL
            escaped = pattern.sub(lambda found: found[0].encode("unicode_escape").decode(), value)
            event[name] = indent(escaped, "    ") if has_lines else escaped
    return event


def _add_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if request_id := REQUEST_ID.get():
        event.setdefault("request_id", request_id)
    return event


# -- log ---------------------------------------------------------------------------------------------------------------


def configure_logging(
    log_format: Literal["console", "json"] = "console",
    level: Literal["debug", "info", "warning", "error"] = "info",
    stream: TextIO | None = None,
) -> None:
    """Configures one format for our log lines and the libraries'; standard error by default."""
    out = stream or sys.stderr
    before: list[structlog.typing.Processor] = [
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _mask_secrets,
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [_escape_controls, structlog.dev.ConsoleRenderer(colors=out.isatty())]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers]
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "websockets"):
        library = logging.getLogger(noisy)
        library.handlers.clear()
        library.propagate = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its "accepted" lines contain whole URLs
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


# -- metrics -----------------------------------------------------------------------------------------------------------

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a status request to a start that nearly timed out."""
_HTTP_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
"""Fewer, because every method, route and status has a histogram of its own."""
_HTTP_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN_METHOD: Final = "(other)"
"""Label of every other method: a caller may send any word."""
ANONYMOUS: Final = ("(any)", "(no credential)", "(any)")
"""Labels of requests without a valid credential: nobody adds series without one, whatever they send. Probes and server
errors have their own."""
_PROBES: Final = (
    *(("GET", route, 200) for route in ("/healthz", "/readyz", "/metrics")),
    ("GET", "/readyz", 503),
)
RESTART_REASONS: Final = (
    EndReason.BROWSER_DIED.value,
    EndReason.BROWSER_HUNG.value,
    EndReason.DRIVER_DIED.value,
)
RETIREMENT_REASONS: Final = ("dedicated session ended", "age", "sessions served", "memory", "empty")
"""Of `placement.recycle_reason`."""


FILE_DIRECTIONS: Final = ("upload", "download")
FILE_OUTCOMES: Final = ("accepted", "refused")


class CountedElsewhere(Collector):
    """A counter of values that are counted elsewhere: `counts`, by the value of its one label."""

    def __init__(self, name: str, documentation: str, label: str, registry: CollectorRegistry) -> None:
        self.counts: Mapping[str, int] = {}
        self._name, self._documentation, self._label = name, documentation, label
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._documentation, labels=[self._label])
        for value, count in self.counts.items():
            family.add_metric([value], count)
        yield family


class Metrics:
    """All metrics, in a registry of their own, so that two services in one process do not share them.

    Counters by reason or direction start at zero for each, so that the first event is an increase and no new series.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which no query needs
        self.registry = registry = registry or CollectorRegistry()
        prefix = "browser_sessions"
        self.sessions = Gauge(f"{prefix}_sessions", "Live sessions", ["status"], registry=registry)
        self.sessions_ended = Counter(f"{prefix}_sessions_ended", "Sessions ended", ["reason"], registry=registry)
        self.create_seconds = Histogram(
            f"{prefix}_create_seconds", "From the request to active", buckets=_SECONDS, registry=registry
        )
        self.browser_start_seconds = Histogram(
            f"{prefix}_browser_start_seconds", "From launch to ready", buckets=_SECONDS, registry=registry
        )
        self.end_seconds = Histogram(
            f"{prefix}_end_seconds", "From the request to end to gone", buckets=_SECONDS, registry=registry
        )
        self.probe_seconds = Histogram(
            f"{prefix}_probe_seconds", "Responses of browsers to probes", buckets=_SECONDS, registry=registry
        )
        self.capacity = Gauge(f"{prefix}_capacity", "Sessions that may be live at once", registry=registry)
        self.queue = Gauge(f"{prefix}_queue", "Queued creates", registry=registry)
        self.refused = CountedElsewhere(f"{prefix}_refused", "Rejected creates", "reason", registry)
        self.browsers = Gauge(f"{prefix}_browsers", "Browser processes", ["state"], registry=registry)
        self.browser_contexts = Gauge(
            f"{prefix}_browser_contexts",
            "Browser contexts of sessions and their clients",
            registry=registry,
        )
        self.ready_contexts = Gauge(
            f"{prefix}_ready_contexts", "Browser contexts ready for creates with any options", registry=registry
        )
        self.spare_contexts = Gauge(
            f"{prefix}_spare_contexts",
            "Browser contexts prepared with the options of earlier creates",
            registry=registry,
        )
        self.browser_restarts = Counter(
            f"{prefix}_browser_restarts", "Browsers that died, hung or lost their driver", ["reason"], registry=registry
        )
        self.browsers_retired = Counter(
            f"{prefix}_browsers_retired", "Browsers that were closed as planned", ["reason"], registry=registry
        )
        self.gateway_bytes = Counter(
            f"{prefix}_gateway_bytes", "Bytes relayed between clients and browsers", ["direction"], registry=registry
        )
        self.gateway_messages = Counter(
            f"{prefix}_gateway_messages", "Messages relayed or refused", ["direction", "outcome"], registry=registry
        )
        self.gateway_clients = Gauge(f"{prefix}_gateway_clients", "Clients connected over CDP", registry=registry)
        self.egress_bytes = CountedElsewhere(
            f"{prefix}_egress_bytes", "Bytes between sessions and the sites they reach", "direction", registry
        )
        self.egress_connections = CountedElsewhere(
            f"{prefix}_egress_connections", "Connections of sessions, made or refused by a rule", "outcome", registry
        )
        self.files = Counter(
            f"{prefix}_files",
            "Files uploaded to sessions and downloaded by their pages; of refused downloads the first ten of a session",
            ["direction", "outcome"],
            registry=registry,
        )
        self.file_bytes = Counter(
            f"{prefix}_file_bytes", "Bytes of the accepted ones", ["direction"], registry=registry
        )
        self.viewers = Gauge(f"{prefix}_viewers", "Open live views", registry=registry)
        self.loop_lag_seconds = Histogram(
            f"{prefix}_loop_lag_seconds", "Lag of the event loop", buckets=_SECONDS, registry=registry
        )
        self.tasks = Gauge(f"{prefix}_tasks", "Tasks on the event loop", registry=registry)
        ProcessCollector(prefix, registry=registry)  # memory, processor time and descriptors of the server
        self.http_seconds = Histogram(
            f"{prefix}_http_request_seconds",
            "Handled requests",
            ["method", "route", "status"],
            buckets=_HTTP_SECONDS,
            registry=registry,
        )
        for end_reason in EndReason:
            self.sessions_ended.labels(end_reason.value)
        for restart_reason in RESTART_REASONS:
            self.browser_restarts.labels(restart_reason)
        for retirement_reason in RETIREMENT_REASONS:
            self.browsers_retired.labels(retirement_reason)
        for direction in ("to_browser", "to_client"):
            self.gateway_bytes.labels(direction)
        for direction in FILE_DIRECTIONS:
            self.file_bytes.labels(direction)
            for outcome in FILE_OUTCOMES:
                self.files.labels(direction, outcome)
        for outcome in ("passed", "refused"):
            self.gateway_messages.labels("to_browser", outcome)
        self._anonymous = self.http_seconds.labels(*ANONYMOUS)
        self._probes = {key: self.http_seconds.labels(*map(str, key)) for key in _PROBES}
        self._http = dict(self._probes)

    def answered(self, method: str, route: str, status: int, seconds: float, *, anonymous: bool) -> None:
        """One HTTP request. `route` is its path template, so that the number of label values is bounded. `anonymous`:
        it had no valid credential."""
        if anonymous and status < 500:
            self._probes.get((method, route, status), self._anonymous).observe(seconds)
            return
        if method not in _HTTP_METHODS:
            method = UNKNOWN_METHOD
        key = (method, route, status)
        child = self._http.get(key)
        if child is None:
            child = self._http[key] = self.http_seconds.labels(method, route, str(status))
        child.observe(seconds)

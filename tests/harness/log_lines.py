"""What the service logs, for a test to read."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import structlog

from browser_sessions.telemetry import configure_logging


@contextmanager
def json_lines(level: Literal["debug", "info"]) -> Iterator[io.StringIO]:
    """Everything that is logged meanwhile, one JSON object a line."""
    root = logging.getLogger()
    before, root_level = root.handlers[:], root.level
    out = io.StringIO()
    configure_logging("json", level, out)
    structlog.configure(cache_logger_on_first_use=False)  # a logger that was kept would write here for ever
    yield out
    structlog.reset_defaults()
    root.handlers[:], root.level = before, root_level

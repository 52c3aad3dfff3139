"""Captures the service's log."""

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
    """Everything logged in the block, one JSON object per line."""
    root = logging.getLogger()
    before, root_level, configured = root.handlers[:], root.level, structlog.get_config()
    out = io.StringIO()
    configure_logging("json", level, out)
    structlog.configure(cache_logger_on_first_use=False)  # a cached logger would keep writing to this buffer
    yield out
    structlog.configure(**configured)
    root.handlers[:], root.level = before, root_level

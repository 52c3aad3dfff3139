"""The proxy runs on the service's event loop, uvloop; the basics also on the one that serves where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.stem in ("test_egress_relay", "test_egress_client_certificates"):
        loops["asyncio"] = asyncio.new_event_loop
    return loops

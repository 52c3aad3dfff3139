"""Services whose sessions reach what the default rules allow, and listeners that they must not reach."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.harness.service import Running
from tests.harness.shared import SharedService
from tests.harness.sites.listeners import Listeners, listeners


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedService]:
    shared = SharedService(lambda: tmp_path_factory.mktemp("closed"), egress_allow=())
    yield shared
    await shared.close()


@pytest_asyncio.fixture(loop_scope="session")
async def closed(shared_closed: SharedService, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """A service whose sessions reach what the defaults allow."""
    async with shared_closed.lent(request.node) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def traps() -> AsyncIterator[Listeners]:
    async with listeners() as traps:
        yield traps

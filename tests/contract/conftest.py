"""The OpenAPI document, which takes half a second to build."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.harness.fakes.fake_node import node


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        async with node(tmp_path_factory.mktemp("document")) as service:
            found: dict[str, Any] = (await service.client.get("/openapi.json")).json()
        return found

    return asyncio.run(read())

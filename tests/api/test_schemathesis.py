"""Every operation of the OpenAPI document with generated valid and invalid input: no 5xx, no undeclared response."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import structlog
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    status_code_conformance,
)

from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.chromium.devtools import crawl
from browser_sessions.chromium.devtools.cache import DevToolsCache
from browser_sessions.domain.clock import SystemClock
from browser_sessions.domain.principal import Role
from tests.harness.fakes.fake_browser import VERSION
from tests.harness.fakes.fake_node import assemble, node

pytestmark = pytest.mark.slow

STATUS_OPERATION = ("GET", "/v1/browser/sessions/{session_id}")
UNDECLARED = [status_code_conformance, content_type_conformance]
"""Checks that fail on the status operation, whose contract does not declare its 401 and 404."""
PASSWORD = "correct horse battery"


@dataclass
class Served:
    """A service on a loopback port, with credentials."""

    url: str
    token: str
    http: httpx.Client
    keys: dict[Role, str]

    def live_session(self, headers: dict[str, str]) -> str:
        """An active session of this caller, with page-1."""
        by = next(iter(headers.values()))[-20:]
        query = {"status": "active", "limit": "1", "metadata.by": by}
        listed = self.http.get("/v1/browser/sessions", params=query, headers=headers).json()["sessions"]
        if listed:
            path = f"/v1/browser/sessions/{listed[0]['session_id']}/pages"
            if any(page["page_id"] == "page-1" for page in self.http.get(path, headers=headers).json()["pages"]):
                return str(listed[0]["session_id"])
        body = {"metadata": {"by": by}}
        return str(self.http.post("/v1/browser/sessions", json=body, headers=headers).json()["session_id"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service in a thread with its own event loop, because the case generator is synchronous."""
    folder = tmp_path_factory.mktemp("served")
    listening: Future[tuple[str, str, dict[Role, str]]] = Future()
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(folder, listening, stop)))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # no log line for each case
    thread.start()
    try:
        url, token, keys = listening.result(30)
        with httpx.Client(base_url=url, trust_env=False) as http:
            yield Served(url, token, http, keys)
    finally:
        stop.set()
        thread.join()
        structlog.reset_defaults()


async def _serve(folder: Path, listening: Future[tuple[str, str, dict[Role, str]]], stop: threading.Event) -> None:
    try:
        async with node(folder, max_sessions=500) as service:
            await service.pool.fleet.first()
            await _prepare_devtools(service.console.devtools, folder / "archive" / "devtools")
            await service.keyring.create_user("admin", PASSWORD, Role.ADMIN)
            grant = await service.keyring.sign_in("admin", PASSWORD, "", "127.0.0.1")
            listener = socket.create_server(("127.0.0.1", 0))
            config = uvicorn.Config(service.app, log_config=None, access_log=False, lifespan="off", ws="none")
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            keys = {role: (await service.key(role))["X-API-Key"] for role in Role}
            listening.set_result((f"http://127.0.0.1:{listener.getsockname()[1]}", grant.token, keys))
            await asyncio.to_thread(stop.wait)
            server.should_exit = True
            await serving
    except BaseException as error:
        if not listening.done():
            listening.set_exception(error)
        raise


document = assemble(Path("unused"), SystemClock(), ApiOptions(), 1).app.openapi()
expected = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "503"]
"""Statuses that refuse invalid input; schemathesis' default lacks 413."""
config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": expected}}})
schema = schemathesis.openapi.from_dict(document, config=config).exclude(
    path_regex="/events$"
)  # streams have their own tests
bounded = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


few = settings(bounded, max_examples=3)


def check(case: Any, served: Served, headers: dict[str, str], *, live: bool = False) -> None:
    case.headers.pop("X-API-Key", None)  # it takes precedence, and a generated one is a 401
    if live:
        known = {"session_id": served.live_session(headers), "page_id": "page-1"}
        ids = {name: known[name] for name in case.path_parameters if name in known}
        case.path_parameters = {**case.path_parameters, **ids}
    excluded = UNDECLARED if (case.method, case.path) == STATUS_OPERATION else []
    case.call_and_validate(
        base_url=served.url,
        headers=headers,
        excluded_checks=[*excluded, positive_data_acceptance],
    )


async def _prepare_devtools(cache: DevToolsCache, folder: Path) -> None:
    """Prepares DevTools files, which the fake browser does not have."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{VERSION}.zip", "w") as archive:
        archive.writestr(crawl.ABOUT, json.dumps({"version": VERSION, "isolated": True}))
        archive.writestr(crawl.PROTOCOL, json.dumps({"domains": []}))
        archive.writestr(crawl.FILES + crawl.START, "<!doctype html>")
    await cache.prepare(VERSION, folder / "no-chromium", None)
    cache.check(VERSION)


# A parameter of pytest's own makes the ids of the cases unique: xdist drops all but one of those that share an id.


@pytest.mark.parametrize("_sent", ["token"])
@schema.parametrize()
@bounded
def test_generated_input_gets_declared_responses_and_no_5xx(case: Any, served: Served, _sent: str) -> None:
    check(case, served, {"Authorization": f"Bearer {served.token}"})


@pytest.mark.parametrize("_sent", ["token"])
@schema.include(path_regex=r"\{session_id\}").parametrize()
@bounded
def test_the_same_on_live_sessions(case: Any, served: Served, _sent: str) -> None:
    check(case, served, {"Authorization": f"Bearer {served.token}"}, live=True)


@pytest.mark.parametrize("_sent", ["keys"])
@schema.parametrize()
@few
def test_the_same_with_a_key_of_each_other_role(case: Any, served: Served, _sent: str) -> None:
    for role in (Role.CLIENT, Role.OPERATOR):
        check(case, served, {"X-API-Key": served.keys[role]}, live="session_id" in (case.path_parameters or ()))


def test_the_needed_checks_exist() -> None:
    names = {check.__name__ for check in CHECKS.get_all()}
    assert {"not_a_server_error", "status_code_conformance", "response_schema_conformance", "ignored_auth"} <= names

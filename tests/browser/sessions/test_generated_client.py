"""A client that openapi-python-client generates from /openapi.json drives the real service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.paths import TESTS
from tests.harness.service import ADMIN_KEY, Running

pytestmark = pytest.mark.browser

FOLDER = TESTS / "generated_client"
GENERATOR = FOLDER / ".venv" / "bin" / "openapi-python-client"

LIFE = """
import importlib, json, pkgutil, sys

import generated
from generated.api.sessions import create_browser_session, end_browser_session, get_browser_session
from generated.models import CreateBrowserSession

for module in pkgutil.walk_packages(generated.__path__, "generated."):
    importlib.import_module(module.name)

url, key = sys.argv[1:]
client, unauthenticated = (
    generated.AuthenticatedClient(base_url=url, token=token, prefix="", auth_header_name="X-API-Key")
    for token in (key, "wrong")
)
created = create_browser_session.sync(client=client, body=CreateBrowserSession(viewport_width=800))
read = get_browser_session.sync(created.session_id, client=client)
ended = end_browser_session.sync(created.session_id, client=client)
refused = create_browser_session.sync(client=unauthenticated, body=CreateBrowserSession())
print(json.dumps([each.to_dict() for each in (created, read, ended, refused)]))
"""


async def run(folder: Path, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.slow
@pytest.mark.skipif(not GENERATOR.exists(), reason="scripts/setup.sh --tests installs openapi-python-client")
async def test_a_generated_client_imports_and_creates_reads_and_ends_a_session(
    service: Running, tmp_path: Path
) -> None:
    document: dict[str, Any] = (await service.http.get("/openapi.json")).json()
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    options = ("--path", "openapi.json", "--config", str(FOLDER / "config.yaml"), "--output-path", "generated")
    await run(tmp_path, str(GENERATOR), "generate", *options, "--meta", "none", "--fail-on-warning")
    generated = {path.stem for path in (tmp_path / "generated" / "api").glob("*/*.py")}
    operations = {each["operationId"] for path in document["paths"].values() for each in path.values()}
    assert operations <= generated

    printed = await run(tmp_path, str(GENERATOR.with_name("python")), "-c", LIFE, service.url, ADMIN_KEY)
    created, read, ended, refused = json.loads(printed)
    assert created["status"] == read["status"] == "active"
    assert created["viewport_width"] == read["viewport_width"] == 800
    assert created["connect_url"].startswith("ws://")
    assert (ended["session_id"], ended["status"]) == (created["session_id"], "closed")
    assert refused["type"] == "urn:browser-sessions:problem:unauthenticated"
    assert (await service.get(created["session_id"]))["status"] == "closed"

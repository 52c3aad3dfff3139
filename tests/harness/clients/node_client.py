"""Runs the clients of tests/node."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import Any, Final

import pytest

from tests.harness.paths import TESTS

NODE: Final = TESTS / "node"
CLIENT_S: Final = 80.0
"""Timeout of one client with two sessions, which takes 5 s on a quiet machine."""
OLDEST_NODE = 20
"""Required by playwright-core and puppeteer-core."""


def node_missing() -> str | None:
    if shutil.which("node") is None:
        return "node is not installed: install Node 20 or newer, then run scripts/setup.sh"
    found = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if int(found.removeprefix("v").partition(".")[0] or 0) < OLDEST_NODE:
        return f"node {found} is too old for the clients: install Node {OLDEST_NODE} or newer"
    if not (NODE / "node_modules").is_dir():
        return "the Node clients are not installed: run scripts/setup.sh"
    return None


needs_node = pytest.mark.skipif(node_missing() is not None, reason=node_missing() or "")


async def run_node(script: str, arguments: dict[str, Any], *, within: float = CLIENT_S) -> Any:
    """Runs a script of tests/node with `arguments` as JSON on standard input. Returns its output, parsed as JSON."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(NODE / script)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=NODE,
    )
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate(json.dumps(arguments).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()[-3000:]
    return json.loads(out)

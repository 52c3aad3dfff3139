"""The service's event loop takes precedence over its browsers where the system permits it, they over their pages."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from browser_sessions.server import NICENESS
from tests.harness.service import serving

pytestmark = pytest.mark.browser


async def test_the_service_has_a_higher_priority_than_its_browsers_and_these_than_their_pages(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        assert service.process is not None
        await service.create()
        server, *children = service.process.tree()
        renderers = [each for each in children if "--type=renderer" in each.cmdline()]
        browsers = [each for each in children if _is_browser(each.cmdline())]
        assert renderers
        assert browsers
        assert server.nice() == (NICENESS if os.getuid() == 0 else psutil.Process().nice())
        ours = max(0, psutil.Process().nice())
        assert {each.nice() for each in browsers} == {ours}
        assert {each.nice() for each in renderers} == {min(19, ours + 7)}
        group = Path(f"/proc/{server.pid}/autogroup")
        if group.exists() and os.getuid() == 0:
            assert group.read_text().endswith(f"nice {NICENESS}\n")


def _is_browser(arguments: list[str]) -> bool:
    """Renderers have the switch too."""
    return "--remote-debugging-pipe" in arguments and not any(each.startswith("--type=") for each in arguments)

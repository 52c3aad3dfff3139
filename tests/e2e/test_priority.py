"""The service's event loop takes precedence over its browsers where the system permits it, they over their pages."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from browser_sessions.loop_priority import NICENESS
from tests.harness.service import serving
from tests.harness.waiting import until

pytestmark = pytest.mark.browser


async def test_the_service_has_a_higher_priority_than_its_browsers_and_these_than_their_pages(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        assert service.process is not None
        await service.create()
        own = psutil.Process().nice()
        server, browsers = (NICENESS, 0) if os.getuid() == 0 else (own, own)
        wanted = ({server}, {browsers}, {min(19, browsers + 7)})
        tree = service.process.tree
        # until a process that is being started is what it will be, it has the niceness and command of its parent
        await until(lambda: _seen(tree()) == wanted, what=f"{wanted}, not {_seen(tree())}", every=0.1)
        pid = service.process.pid
        if _may_be_realtime():
            assert _policies([pid]) == {os.SCHED_RR | os.SCHED_RESET_ON_FORK}
        workers = [each.id for each in psutil.Process(pid).threads() if each.id != pid]
        assert _policies([*workers, *(each.pid for each in tree()[1:])]) == {os.SCHED_OTHER}
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists() and os.getuid() == 0:
            assert group.read_text().endswith(f"nice {NICENESS}\n")


def _may_be_realtime() -> bool:
    code = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0


def _policies(ids: list[int]) -> set[int]:
    """Of processes, or of threads."""
    found = set()
    for each in ids:
        with contextlib.suppress(ProcessLookupError):
            found.add(os.sched_getscheduler(each))
    return found


def _seen(tree: list[psutil.Process]) -> tuple[set[int], set[int], set[int]]:
    """Niceness of the server, of its browsers and of their renderers."""
    browsers, renderers = set(), set()
    for each in tree[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):
            if "--type=renderer" in each.cmdline():
                renderers.add(each.nice())
            elif _is_browser(each.cmdline()):
                browsers.add(each.nice())
    return {tree[0].nice()}, browsers, renderers


def _is_browser(arguments: list[str]) -> bool:
    """Renderers have the switch too."""
    return "--remote-debugging-pipe" in arguments and not any(each.startswith("--type=") for each in arguments)

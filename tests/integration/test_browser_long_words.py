"""What a page says or throws at great length reaches neither our loop nor Playwright's; what follows does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.service import running, until

pytestmark = pytest.mark.browser

LONG: Final = "'x'.repeat(2 * 2**20)"
SAY: Final = "void setTimeout(() => { console.log(%s); throw new Error(%s) })"


async def test_what_is_longer_than_anybody_reads_is_dropped_and_what_follows_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        session_id = (await service.create())["session_id"]
        handle: Any = service.inside.pool.context(session_id)
        thrown: list[str] = []
        handle._inner.on("weberror", lambda error: thrown.append(str(error.error)))
        await service.evaluate(session_id, SAY % (LONG, LONG))
        await service.evaluate(session_id, SAY % ("'said'", "'thrown'"))

        def told() -> list[str]:
            events = service.inside.pool.journal.of(session_id)
            return [event.data["text"] for event in events if event.kind in ("console", "page.error")]

        await until(lambda: len(told()) >= 2 and thrown, what="the short words are told")
        assert [text.splitlines()[0][:50] for text in told()] == ["said", "Error: thrown"]
        assert thrown == ["thrown"]

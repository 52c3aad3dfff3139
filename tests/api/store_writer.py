"""The program that a test kills: writes endlessly and prints what was acknowledged."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from browser_sessions.domain.session import SessionRecord, SessionStatus
from browser_sessions.store import EmbeddedStore
from tests.contract.records import a_record

CALLERS = 8


async def write_endlessly(path: Path) -> None:
    """Inserts and updates records. Prints one line for each acknowledged record and version."""
    store = EmbeddedStore(path)
    await store.open()
    sys.stdout.write("ready 0\n")

    async def caller() -> None:
        while True:
            record = a_record()
            await store.insert(record)
            acknowledge(record, 1)
            await store.update(replace(record, status=SessionStatus.ACTIVE, version=2))
            acknowledge(record, 2)

    def acknowledge(record: SessionRecord, version: int) -> None:
        sys.stdout.write(f"{record.session_id} {version}\n")
        sys.stdout.flush()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(write_endlessly(Path(sys.argv[1])))

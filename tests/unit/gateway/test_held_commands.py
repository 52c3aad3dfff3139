"""Commands that waited for control are handled in slices."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from unittest.mock import Mock

from browser_sessions.domain.principal import Principal, Role
from browser_sessions.gateway.held_commands import HeldCommands
from browser_sessions.loop_shares import STEPS, Shares
from browser_sessions.pool.control_lock import ControlLock

ANN = Principal("ann", Role.OPERATOR, "Ann", "key:ann")


async def test_thousands_of_held_commands_are_handled_in_order_a_slice_at_a_time() -> None:
    control, handled = ControlLock(Mock()), list[bytes]()
    held = HeldCommands(control, None, Mock(), Shares().of("a"), handled.append)
    control.take(ANN)
    commands = [b"%d" % number for number in range(1000)]
    for command in commands:
        assert held.must_wait
        held.add(command)
    control.release(ANN)
    seen = [0]
    async with asyncio.timeout(30):
        while held.must_wait:
            await asyncio.sleep(0)
            seen.append(len(handled))
    assert max(after - before for before, after in pairwise(seen)) <= STEPS
    assert handled == commands
    assert held.size == 0

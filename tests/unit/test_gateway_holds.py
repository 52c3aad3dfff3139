"""What keeps a new target paused, and in which order everybody hears that it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from browser_sessions.gateway import holds as holds_module
from browser_sessions.gateway.holds import Holds
from tests.service import until


class World:
    """Holds whose releases are written down; `running` is said by the test."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.holds = Holds(lambda target_id, _session_id: self.said.append(f"release {target_id}"))

    def note(self, text: str) -> Callable[[], None]:
        return lambda: self.said.append(text)


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_target_that_nobody_waits_for_is_released_at_once(world: World) -> None:
    world.holds.begin("T", "S", [], preparing=False)
    assert world.said == ["release T"]
    assert "T" not in world.holds


async def test_a_target_is_released_when_the_last_of_its_clients_has_resumed_it(world: World) -> None:
    world.holds.begin("T", "S", ["one", "other"], preparing=False)
    world.holds.resumed("T", "one")
    assert world.said == []
    world.holds.resumed("T", "other")
    assert world.said == ["release T"]


async def test_a_window_waits_for_the_sessions_options_too(world: World) -> None:
    world.holds.begin("T", "S", ["client"], preparing=True)
    world.holds.resumed("T", "client")
    assert world.said == []
    world.holds.prepared("T", world.note("go"))
    assert world.said == ["release T"]
    world.holds.running("T")
    await until(lambda: world.said == ["release T", "go"])


async def test_options_that_are_in_place_before_the_window_is_heard_of_are_not_waited_for(world: World) -> None:
    world.holds.prepared("T", world.note("go"))
    world.holds.begin("T", "S", ["client"], preparing=True)
    assert world.said == []
    world.holds.resumed("T", "client")
    world.holds.running("T")
    await until(lambda: world.said == ["release T", "go"])


async def test_who_asks_while_the_target_is_being_let_go_hears_when_it_runs(world: World) -> None:
    world.holds.begin("T", "S", [], preparing=False)
    world.holds.once_running("T", world.note("then"))
    world.holds.prepared("T", world.note("go"))
    assert world.said == ["release T"]
    world.holds.running("T")
    await until(lambda: world.said == ["release T", "then", "go"])
    world.holds.once_running("T", world.note("at once"))
    assert world.said[-1] == "at once"


async def test_a_client_that_leaves_holds_nothing_any_more(world: World) -> None:
    world.holds.begin("T", "S", ["client"], preparing=False)
    world.holds.begin("U", "S", ["client", "other"], preparing=False)
    world.holds.left("client")
    assert world.said == ["release T"]


async def test_nobody_holds_a_target_for_longer_than_the_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds_module, "HOLD_S", 0.02)
    world.holds.begin("T", "S", ["never"], preparing=True)
    assert world.said == []
    await until(lambda: world.said == ["release T"])


@pytest.mark.parametrize("ending", ["gone", "close"])
async def test_whatever_waits_is_told_at_the_end_and_nothing_is_kept(world: World, ending: str) -> None:
    world.holds.prepared("early", world.note("early goes"))
    world.holds.begin("T", "S", ["client"], preparing=True)
    world.holds.once_running("T", world.note("T goes"))
    if ending == "close":
        world.holds.close()
    else:
        world.holds.gone("early")
        world.holds.gone("T")
    await until(lambda: sorted(world.said) == ["T goes", "early goes"])
    assert (len(world.holds), len(world.holds._started), len(world.holds._prepared)) == (0, 0, 0)

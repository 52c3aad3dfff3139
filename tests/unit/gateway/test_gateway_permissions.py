"""What may be granted to pages: every name and field that Chromium 156 knows is decided on."""

from __future__ import annotations

from typing import Any

import pytest

from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.command_policy import decide
from browser_sessions.gateway.policy.grantable_permissions import FIELDS, SHARED_NAMES, SHARED_TYPES, TYPES
from browser_sessions.gateway.scope.command_decision import Pass, Refuse
from tests.harness.fakes.gateway_world import OWN, say, world

SHARED, ALONE = Options(), Options(own_browser=True)


def set_permission(descriptor: Any, options: Options, setting: str = "granted") -> Any:
    return decide(say("Browser.setPermission", {"permission": descriptor, "setting": setting}), world(), options)


def passed(descriptor: dict[str, Any], setting: str = "granted") -> Pass:
    return Pass({"permission": descriptor, "setting": setting, "browserContextId": OWN})


@pytest.mark.parametrize("name", sorted(TYPES | set(SHARED_TYPES)))
def test_types_open_what_is_shared_only_in_a_browser_of_ones_own(name: str) -> None:
    grant = say("Browser.grantPermissions", {"permissions": ["geolocation", name]})
    answer = decide(grant, world(), SHARED)
    if name in SHARED_TYPES:
        assert isinstance(answer, Refuse)
        assert answer.message.startswith(f"{name}: ")
        assert answer.message.endswith(
            "shared by every session of the browser; create the session with isolation: browser"
        )
    else:
        assert isinstance(answer, Pass)
    assert isinstance(decide(grant, world(), ALONE), Pass)


@pytest.mark.parametrize("options", [SHARED, ALONE])
def test_what_is_not_on_the_list_is_unknown_as_it_is_to_chromium(options: Options) -> None:
    grant = say("Browser.grantPermissions", {"permissions": ["brandNew"]})
    assert decide(grant, world(), options) == Refuse(-32602, "Unknown permission type: brandNew")
    assert set_permission({"name": "brand-new"}, options) == Refuse(
        -32602, "Invalid PermissionDescriptor name: brand-new"
    )


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_names_open_what_is_shared_only_in_a_browser_of_ones_own(name: str) -> None:
    for setting in ("denied", "prompt"):
        assert set_permission({"name": name}, SHARED, setting) == passed({"name": name}, setting)
    assert set_permission({"name": name}, ALONE) == passed({"name": name})
    answer = set_permission({"name": name}, SHARED)
    assert isinstance(answer, Refuse if name in SHARED_NAMES else Pass)


@pytest.mark.parametrize("field", ["allowWithoutSanitization", "allowWithoutGesture"])
def test_clipboard_write_is_not_made_clipboard_read(field: str) -> None:
    whole = {"name": "clipboard-write", field: True}
    assert isinstance(set_permission(whole, SHARED), Refuse)
    assert set_permission(whole, ALONE) == passed(whole)
    assert set_permission({**whole, field: False}, SHARED) == passed({**whole, field: False})
    assert set_permission({"name": "clipboard-write"}, SHARED) == passed({"name": "clipboard-write"})


def test_other_fields_pass_with_their_own_permission_only() -> None:
    for descriptor in (
        {"name": "midi", "sysex": True},
        {"name": "camera", "panTiltZoom": True},
        {"name": "push", "userVisibleOnly": True},
        {"name": "fullscreen", "allowWithoutGesture": True},
    ):
        assert set_permission(descriptor, SHARED) == passed(descriptor)
        also = {**descriptor, "allowWithoutSanitization": True, "unheardOf": 1}
        assert set_permission(also, SHARED) == passed(descriptor)


@pytest.mark.parametrize(
    "descriptor", [None, 5, [], {}, {"name": 5}, {"name": ["midi"]}, {"name": "midi", "sysex": "yes"}]
)
def test_no_other_shape(descriptor: Any) -> None:
    assert isinstance(set_permission(descriptor, SHARED), Refuse)
    assert isinstance(decide(say("Browser.grantPermissions", {"permissions": [descriptor]}), world(), SHARED), Refuse)

"""Permissions that may be granted to pages: a decision for every name and field of Chromium 156."""

from __future__ import annotations

from typing import Any

import pytest

from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.policy.command_policy import decide
from browser_sessions.gateway.policy.grantable_permissions import FIELDS, SHARED_NAMES, SHARED_TYPES, TYPES
from browser_sessions.gateway.scope.command_decision import Pass, Refuse
from tests.harness.fakes.gateway_scope import OWN, cdp, session_scope

SHARED, ALONE = Options(), Options(own_browser=True)


def set_permission(descriptor: Any, options: Options, setting: str = "granted") -> Any:
    return decide(
        cdp("Browser.setPermission", {"permission": descriptor, "setting": setting}), session_scope(), options
    )


def passed(descriptor: dict[str, Any], setting: str = "granted") -> Pass:
    return Pass({"permission": descriptor, "setting": setting, "browserContextId": OWN})


@pytest.mark.parametrize("name", sorted(TYPES | set(SHARED_TYPES)))
def test_shared_permission_types_are_granted_only_in_a_dedicated_browser(name: str) -> None:
    grant = cdp("Browser.grantPermissions", {"permissions": ["geolocation", name]})
    decision = decide(grant, session_scope(), SHARED)
    if name in SHARED_TYPES:
        assert isinstance(decision, Refuse)
        assert decision.message.startswith(f"{name}: ")
        assert decision.message.endswith(
            "shared by every session of the browser; create the session with isolation: browser"
        )
    else:
        assert isinstance(decision, Pass)
    assert isinstance(decide(grant, session_scope(), ALONE), Pass)


@pytest.mark.parametrize("options", [SHARED, ALONE])
def test_unknown_permissions_get_chromiums_error(options: Options) -> None:
    grant = cdp("Browser.grantPermissions", {"permissions": ["brandNew"]})
    assert decide(grant, session_scope(), options) == Refuse(-32602, "Unknown permission type: brandNew")
    assert set_permission({"name": "brand-new"}, options) == Refuse(
        -32602, "Invalid PermissionDescriptor name: brand-new"
    )


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_shared_permission_names_are_granted_only_in_a_dedicated_browser(name: str) -> None:
    for setting in ("denied", "prompt"):
        assert set_permission({"name": name}, SHARED, setting) == passed({"name": name}, setting)
    assert set_permission({"name": name}, ALONE) == passed({"name": name})
    decision = set_permission({"name": name}, SHARED)
    assert isinstance(decision, Refuse if name in SHARED_NAMES else Pass)


@pytest.mark.parametrize("field", ["allowWithoutSanitization", "allowWithoutGesture"])
def test_clipboard_write_fields_that_allow_more_need_a_dedicated_browser(field: str) -> None:
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
def test_invalid_descriptors_are_refused(descriptor: Any) -> None:
    assert isinstance(set_permission(descriptor, SHARED), Refuse)
    assert isinstance(
        decide(cdp("Browser.grantPermissions", {"permissions": [descriptor]}), session_scope(), SHARED), Refuse
    )

"""Overrides that clients set in a session's pages (viewport, user agent, …): undone when the client disconnects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from browser_sessions.cdp import BrowserSession
from browser_sessions.cdp.messages import Command
from browser_sessions.cdp.page_overrides import (
    EXCLUSIVE,
    IN_EFFECT,
    METRICS,
    METRICS_SET,
    NETWORK,
    NETWORK_SET,
    PERMISSIONS,
    TAKEN_ALONG,
    TOUCH,
    MethodCall,
    overridden,
    to_repeat,
)
from browser_sessions.cdp.target_tree import TargetInfo
from browser_sessions.chromium.ports import Owner

_DEFAULT_FEATURES: Final = {
    "prefers-color-scheme": "light",
    "prefers-reduced-motion": "no-preference",
    "forced-colors": "none",
    "prefers-contrast": "no-preference",
}
"""Playwright sends this to every page that it attaches to, even if `emulate_media` was never called."""

CAPTURE: Final = "Page.captureScreenshot"
_WITH_SETTINGS: Final = frozenset({"page", "iframe"})
"""Types of targets whose settings are shared by all CDP sessions on them."""

ResponseCallback = Callable[[Mapping[str, Any] | None, Mapping[str, Any] | None], None]
"""Called with (result, None) or (None, error)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Override:
    by: BrowserSession
    session_id: str
    call: MethodCall


class SessionOverrides:
    """The overrides in effect by all clients of one session, by page and setting, oldest first."""

    def __init__(self) -> None:
        self._pages: dict[str, dict[str, list[_Override]]] = {}

    def add(self, page_id: str, setting: str, override: _Override) -> None:
        """Replaces an earlier override by the same CDP session."""
        overrides = self._pages.setdefault(page_id, {}).setdefault(setting, [])
        overrides[:] = [each for each in overrides if each.session_id != override.session_id]
        overrides.append(override)

    def remove(self, page_id: str, session_id: str) -> set[str]:
        """Removes all overrides of a CDP session. Returns their settings."""
        return {
            setting for setting in tuple(self._pages.get(page_id, ())) if self.remove_one(page_id, session_id, setting)
        }

    def remove_one(self, page_id: str, session_id: str, setting: str) -> bool:
        """Removes the override of one setting. False if there was none."""
        settings = self._pages.get(page_id, {})
        overrides = settings.get(setting, [])
        left = [each for each in overrides if each.session_id != session_id]
        removed = len(left) < len(overrides)
        if left:
            settings[setting] = left
        else:
            settings.pop(setting, None)
        if not settings:
            self._pages.pop(page_id, None)
        return removed

    def of(self, page_id: str, setting: str) -> list[_Override]:
        return list(self._pages.get(page_id, {}).get(setting, ()))


class ClientOverrides:
    """The overrides of one client."""

    def __init__(self, session: BrowserSession, owner: Owner, all_overrides: SessionOverrides) -> None:
        """`all_overrides` is shared by all clients of the session."""
        self._session = session
        self._owner = owner
        self._all = all_overrides
        self._attached: dict[str, str] = {}
        """Pages and frames by the client's CDP session on them."""
        self._contexts: set[str] = set()
        """Contexts whose permissions the client changed."""
        self._resumed: set[str] = set()
        """CDP sessions whose target the client has resumed."""

    def is_default(self, command: Command) -> bool:
        """Whether this is Playwright's default for a new page, which must not replace the session's own options."""
        if command.session_id is None or command.session_id in self._resumed:
            return False
        features, media = command.params.get("features"), command.params.get("media")
        if command.method != "Emulation.setEmulatedMedia" or media or not isinstance(features, list):
            return False
        values = {each["name"]: each.get("value") for each in features if _is_named(each)}
        return values == _DEFAULT_FEATURES

    def resumed(self, session_id: str) -> None:
        """The client has resumed the target: later commands are no defaults."""
        self._resumed.add(session_id)

    def attached(self, session_id: str, info: TargetInfo) -> None:
        """The client has got another CDP session."""
        if info["type"] in _WITH_SETTINGS:
            self._attached[session_id] = info["targetId"]

    def record(self, command: Command, params: Mapping[str, Any]) -> None:
        """Records a command that is about to be forwarded, if it overrides anything."""
        if command.method in NETWORK_SET and (page_id := self._attached.get(command.session_id or "")) is not None:
            self._owner.remove_override(page_id, NETWORK)
        if command.method in PERMISSIONS:
            self._contexts.add(params["browserContextId"])
        elif (setting := overridden(command.method)) is not None:
            self._record(setting, command, params)

    def send_capture(self, command: Command, params: Mapping[str, Any], on_response: ResponseCallback) -> bool:
        """Sends a screenshot of a page that others emulate a device in. False if nobody does.

        After one with a clip, Chromium applies the metrics of the CDP session that took it, or none: so this session
        gets those in effect first. After one beyond the viewport, the pointer is a mouse's."""
        page_id, session_id = self._attached.get(command.session_id or ""), command.session_id or ""
        if command.method != CAPTURE or page_id is None:
            return False
        overrides = self._all.of(page_id, METRICS)
        in_effect = overrides[-1].call if overrides else self._owner.metrics(page_id)
        if in_effect is None or in_effect[0] not in METRICS_SET:
            return False
        if all(each.session_id != session_id for each in overrides):
            self._session.post(*in_effect, session_id=session_id)
            self._all.add(page_id, METRICS, _Override(self._session, session_id, in_effect))

        def on_captured(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            self._restore(page_id, (TOUCH,))
            on_response(value, error)

        self._session.post(command.method, params, on_captured, session_id=session_id)
        return True

    def send_exclusive(self, command: Command, on_response: ResponseCallback) -> bool:
        """Sends an override that Chromium accepts from one session only. False if the command is none."""
        setting, session_id = command.method, command.session_id
        page_id = self._attached.get(session_id or "")
        if setting not in EXCLUSIVE or page_id is None or session_id is None:
            return False
        self._record(setting, command, command.params)
        self._owner.remove_override(page_id, setting)

        def on_first_response(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None and error is not None and IN_EFFECT in str(error.get("message")):
                self._owner.remove_override(page_id, setting, in_all_pages=True)
                self._session.post(setting, command.params, on_last_response, session_id=session_id)
            elif value is None or not any(command.params.values()):
                on_last_response(value, error)
            else:
                on_response(value, error)

        def on_last_response(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None or not any(command.params.values()):
                self._all.remove_one(page_id, session_id, setting)
            self._owner.restore(page_id, setting)
            on_response(value, error)

        self._session.post(setting, command.params, on_first_response, session_id=session_id)
        return True

    def detached(self, holds: Callable[[str], bool]) -> None:
        """Undoes the overrides of CDP sessions for which `holds` is false."""
        gone = {each: page_id for each, page_id in self._attached.items() if not holds(each)}
        self._resumed.difference_update(gone)
        self._undo(gone)

    def undo(self) -> None:
        """Undoes all overrides of the client. To be called after its browser session was detached."""
        self._undo(dict(self._attached))
        for context_id in self._contexts:
            self._owner.restore_permissions(context_id)
        self._contexts.clear()

    def _record(self, setting: str, command: Command, params: Mapping[str, Any]) -> None:
        session_id = command.session_id or ""
        page_id = self._attached.get(session_id)
        if page_id is not None:
            override = _Override(self._session, session_id, (command.method, params))
            self._all.add(page_id, setting, override)

    def _undo(self, gone: Mapping[str, str]) -> None:
        pages: dict[str, set[str]] = {}
        for session_id, page_id in gone.items():
            del self._attached[session_id]
            pages.setdefault(page_id, set()).update(self._all.remove(page_id, session_id))
        for page_id, settings in pages.items():
            self._restore(page_id, settings | TAKEN_ALONG)

    def _restore(self, page_id: str, settings: Iterable[str]) -> None:
        """Restores the owner's settings, then the overrides of the remaining clients."""
        for setting in settings:
            overrides = self._all.of(page_id, setting)
            if setting == METRICS and overrides:  # so that the page is resized only once
                overrides = overrides[-1:]
            else:
                self._owner.restore(page_id, setting)
            for override in overrides:
                for method, params in to_repeat(override.call):
                    override.by.post(method, params, session_id=override.session_id)


def _is_named(feature: Any) -> bool:
    return isinstance(feature, dict) and isinstance(feature.get("name"), str)

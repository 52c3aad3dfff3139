"""What the clients of one session have overridden in its pages: given up again when they leave."""

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
    PERMISSIONS,
    TAKEN_ALONG,
    Said,
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
"""What Playwright says of every page that it attaches to, before anybody has called `emulate_media`."""

_WITH_SETTINGS: Final = frozenset({"page", "iframe"})
"""Types of targets whose settings others share."""

Answered = Callable[[Mapping[str, Any] | None, Mapping[str, Any] | None], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Override:
    by: BrowserSession
    session_id: str
    said: Said


class Overridden:
    """What the clients of one session have in place, by page and setting, oldest first."""

    def __init__(self) -> None:
        self._pages: dict[str, dict[str, list[_Override]]] = {}

    def add(self, page_id: str, setting: str, override: _Override) -> None:
        """In place of what the same CDP session said before."""
        overrides = self._pages.setdefault(page_id, {}).setdefault(setting, [])
        overrides[:] = [each for each in overrides if each.session_id != override.session_id]
        overrides.append(override)

    def take(self, page_id: str, session_id: str) -> set[str]:
        """Forgets what a CDP session has overridden. Returns the settings."""
        return {
            setting for setting in tuple(self._pages.get(page_id, ())) if self.take_one(page_id, session_id, setting)
        }

    def take_one(self, page_id: str, session_id: str, setting: str) -> bool:
        """The same for one setting. False: it had not overridden it."""
        settings = self._pages.get(page_id, {})
        overrides = settings.get(setting, [])
        left = [each for each in overrides if each.session_id != session_id]
        taken = len(left) < len(overrides)
        if left:
            settings[setting] = left
        else:
            settings.pop(setting, None)
        if not settings:
            self._pages.pop(page_id, None)
        return taken

    def of(self, page_id: str, setting: str) -> list[_Override]:
        return list(self._pages.get(page_id, {}).get(setting, ()))


class Overrides:
    """Of one client."""

    def __init__(self, session: BrowserSession, owner: Owner, overridden: Overridden) -> None:
        """`overridden` is the same for all clients of the session."""
        self._session = session
        self._owner = owner
        self._overridden = overridden
        self._attached: dict[str, str] = {}
        """Pages and frames by the client's CDP session on them."""
        self._contexts: set[str] = set()
        """Those whose permissions were changed."""
        self._begun: set[str] = set()
        """CDP sessions on which the client is done with what it says at the attach."""

    def is_default(self, command: Command) -> bool:
        """Whether a client says what it says of every page at its attach: the session's own options hold against
        it."""
        if command.session_id is None or command.session_id in self._begun:
            return False
        features, media = command.params.get("features"), command.params.get("media")
        if command.method != "Emulation.setEmulatedMedia" or media or not isinstance(features, list):
            return False
        said = {each.get("name"): each.get("value") for each in features if isinstance(each, dict)}
        return said == _DEFAULT_FEATURES

    def begun(self, session_id: str) -> None:
        """The client has let the target run: what it says from now on, it means."""
        self._begun.add(session_id)

    def attached(self, session_id: str, info: TargetInfo) -> None:
        """The client has one more CDP session."""
        if info["type"] in _WITH_SETTINGS:
            self._attached[session_id] = info["targetId"]

    def note(self, command: Command, params: Mapping[str, Any]) -> None:
        """A command that is sent on."""
        if command.method in PERMISSIONS:
            self._contexts.add(params["browserContextId"])
        elif (setting := overridden(command.method)) is not None:
            self._note(setting, command, params)

    def exclusive(self, command: Command, answered: Answered) -> bool:
        """Sends an override that Chromium takes from one session only, and hands its answer on. False: it is none."""
        setting, session_id = command.method, command.session_id
        page_id = self._attached.get(session_id or "")
        if setting not in EXCLUSIVE or page_id is None or session_id is None:
            return False
        self._note(setting, command, command.params)
        self._owner.give_way(page_id, setting)

        def first_answered(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None and error is not None and IN_EFFECT in str(error.get("message")):
                self._owner.give_way(page_id, setting, in_all_pages=True)
                self._session.post(setting, command.params, last_answered, session_id=session_id)
            elif value is None or not any(command.params.values()):
                last_answered(value, error)
            else:
                answered(value, error)

        def last_answered(value: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> None:
            if value is None or not any(command.params.values()):
                self._overridden.take_one(page_id, session_id, setting)
            self._owner.restore(page_id, setting)
            answered(value, error)

        self._session.post(setting, command.params, first_answered, session_id=session_id)
        return True

    def detached(self, holds: Callable[[str], bool]) -> None:
        """The client has lost CDP sessions: those that it does not hold any more are gone."""
        gone = {each: page_id for each, page_id in self._attached.items() if not holds(each)}
        self._begun.difference_update(gone)
        self._undo(gone)

    def undo(self) -> None:
        """The client is gone, and Chromium has been told so."""
        self._undo(dict(self._attached))
        for context_id in self._contexts:
            self._owner.restore_permissions(context_id)
        self._contexts.clear()

    def _note(self, setting: str, command: Command, params: Mapping[str, Any]) -> None:
        session_id = command.session_id or ""
        page_id = self._attached.get(session_id)
        if page_id is not None:
            override = _Override(self._session, session_id, (command.method, params))
            self._overridden.add(page_id, setting, override)

    def _undo(self, gone: Mapping[str, str]) -> None:
        pages: dict[str, set[str]] = {}
        for session_id, page_id in gone.items():
            del self._attached[session_id]
            pages.setdefault(page_id, set()).update(self._overridden.take(page_id, session_id))
        for page_id, settings in pages.items():
            self._restore(page_id, settings | TAKEN_ALONG)

    def _restore(self, page_id: str, settings: Iterable[str]) -> None:
        """What the session's owner said, and after it what clients that stay have said."""
        for setting in settings:
            overrides = self._overridden.of(page_id, setting)
            if setting == METRICS and overrides:  # the page is not to change its size twice
                overrides = overrides[-1:]
            else:
                self._owner.restore(page_id, setting)
            for override in overrides:
                for method, params in to_repeat(override.said):
                    override.by.post(method, params, session_id=override.session_id)

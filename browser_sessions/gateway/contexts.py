"""The browser contexts of one session and the targets in them, shared by all its clients. Kept by the hub; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from browser_sessions.model.urls import scheme_of

TargetInfo = Mapping[str, Any]
"""`Target.TargetInfo` as Chromium tells it."""

SHOWN_TYPES: Final = frozenset(
    {
        "page",
        "tab",
        "iframe",
        "worker",
        "shared_worker",
        "service_worker",
        "worklet",
        "shared_storage_worklet",
        "auction_worklet",
    }
)
"""What a client may see. Not `browser`, `browser_ui`, `webview`, `background_page`, `other`: the browser's own."""

HIDDEN_SCHEMES: Final = frozenset({"chrome", "chrome-untrusted", "chrome-extension", "devtools"})
"""Full Chromium keeps pages of its own window in every context (GATEWAY.md, "Pitfalls"); no client may hold one."""

MAX_NESTED: Final = 16
"""Nested contexts of one session (GATEWAY.md): each costs the browser about 4 MB and 4 ms."""


class Contexts:
    """What belongs to one session: its own context, those its clients made, and every target in them."""

    def __init__(self, own: str) -> None:
        self.own = own
        self._nested: dict[str, None] = {}  # a set that keeps its order
        self._targets: dict[str, TargetInfo] = {}

    def __repr__(self) -> str:
        return f"<Contexts {self.own}, {len(self._nested)} nested, {len(self._targets)} targets>"

    @property
    def nested(self) -> tuple[str, ...]:
        return tuple(self._nested)

    def holds(self, context_id: object) -> bool:
        return context_id == self.own or (isinstance(context_id, str) and context_id in self._nested)

    def is_nested(self, context_id: str) -> bool:
        return context_id in self._nested

    def add_nested(self, context_id: str) -> None:
        self._nested[context_id] = None

    def discard_nested(self, context_id: str) -> None:
        """Forgets the context. Its targets go when Chromium says that they are gone."""
        self._nested.pop(context_id, None)

    def see(self, info: TargetInfo) -> bool:
        """Takes in what discovery tells of a target. False, and nothing kept, when it is none of this session's."""
        if not self.holds(info.get("browserContextId")):
            return False
        self._targets[info["targetId"]] = info
        return True

    def gone(self, target_id: str) -> None:
        self._targets.pop(target_id, None)

    def target(self, target_id: object) -> TargetInfo | None:
        """The target, when a client may see it."""
        info = self._targets.get(target_id) if isinstance(target_id, str) else None
        return self._without_strangers(info) if info is not None and shown(info) else None

    def targets(self) -> Iterator[TargetInfo]:
        """Every target that a client may see, oldest first."""
        return map(self._without_strangers, filter(shown, tuple(self._targets.values())))

    def count(self, target_type: str) -> int:
        return sum(info["type"] == target_type for info in self.targets())

    def _without_strangers(self, info: TargetInfo) -> TargetInfo:
        """Without relatives that are not this session's (any more): Chromium names none, and we do not depend on it."""
        told = {
            key: value for key, value in info.items() if key != "embedderData"
        }  # the window strip's, not the page's
        if told.get("openerId", info["targetId"]) not in self._targets:
            told.pop("openerId", None)
            told.pop("openerFrameId", None)
        if told.get("parentId", info["targetId"]) not in self._targets:
            told.pop("parentId", None)
        return told


def shown(info: TargetInfo) -> bool:
    """Whether a client may see a target at all, its context aside."""
    return info.get("type") in SHOWN_TYPES and scheme_of(info.get("url", "")) not in HIDDEN_SCHEMES

"""The browser contexts of one session and the targets in them, shared by all its clients. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from browser_sessions.cdp import Target, TargetInfo, TargetTree
from browser_sessions.domain.urls import scheme_of

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
"""Full Chromium keeps pages of its own window in every context; no client may hold one."""


class Contexts:
    """What belongs to one session: its own context, those its clients made, and every target in them."""

    def __init__(self, own: str, tree: TargetTree) -> None:
        self.own = own
        self.creating = 0
        """Pages that clients have asked for and that are not there yet."""
        self._tree = tree
        self._nested: dict[str, None] = {}  # a set that keeps its order

    def __repr__(self) -> str:
        return f"<Contexts {self.own}, {len(self._nested)} nested>"

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
        """Forgets the context, and with it all of its targets."""
        self._nested.pop(context_id, None)

    def target(self, target_id: object) -> TargetInfo | None:
        """The target, when a client may see it."""
        target = self._tree.get(target_id)
        return self._without_strangers(target.info) if target is not None and self._visible(target) else None

    def targets(self) -> Iterator[TargetInfo]:
        """Every target that a client may see, context by context, oldest first."""
        for context_id in (self.own, *self._nested):
            for target in self._tree.of(context_id):
                if shown(target.info):
                    yield self._without_strangers(target.info)

    def count(self, target_type: str) -> int:
        return sum(info["type"] == target_type for info in self.targets())

    def _visible(self, target: Target) -> bool:
        return self.holds(target.context_id) and shown(target.info)

    def _without_strangers(self, info: TargetInfo) -> TargetInfo:
        """Without relatives that are not this session's (any more): Chromium names none, and we do not depend on it."""
        told = {
            key: value for key, value in info.items() if key != "embedderData"
        }  # the window strip's, not the page's
        if not self._related(told.get("openerId", info["targetId"])):
            told.pop("openerId", None)
            told.pop("openerFrameId", None)
        if not self._related(told.get("parentId", info["targetId"])):
            told.pop("parentId", None)
        return told

    def _related(self, target_id: object) -> bool:
        target = self._tree.get(target_id)
        return target is not None and self.holds(target.context_id)


def shown(info: TargetInfo) -> bool:
    """Whether a client may see a target at all, its context aside."""
    return info.get("type") in SHOWN_TYPES and scheme_of(info.get("url", "")) not in HIDDEN_SCHEMES

"""The browser contexts of one session and the targets in them, shared by all its clients. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from browser_sessions.cdp import Target, TargetInfo, TargetTree

VISIBLE_TYPES: Final = frozenset(
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
"""Types that clients may see. `browser`, `browser_ui`, `webview`, `background_page`, `other` are the browser's own."""

HIDDEN_SCHEMES: Final = frozenset({"chrome", "chrome-untrusted", "chrome-extension", "devtools"})
"""Full Chromium has pages for its own window in every context, which no client may attach to."""


class Contexts:
    """A session's own context, the contexts that its clients created, and the targets in them."""

    def __init__(self, own: str, tree: TargetTree) -> None:
        self.own = own
        self.creating = 0
        """Pages that clients are creating."""
        self._tree = tree
        self._nested: dict[str, None] = {}  # an ordered set

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
        """Removes the context with all of its targets."""
        self._nested.pop(context_id, None)

    def target(self, target_id: object) -> TargetInfo | None:
        """The target, if clients may see it."""
        target = self._tree.get(target_id)
        return self._without_foreign_relatives(target.info) if target is not None and self._visible(target) else None

    def targets(self) -> Iterator[TargetInfo]:
        """Every target that clients may see, context by context, oldest first."""
        for context_id in (self.own, *self._nested):
            for target in self._tree.of(context_id):
                if is_visible(target.info):
                    yield self._without_foreign_relatives(target.info)

    def count(self, target_type: str) -> int:
        return sum(info["type"] == target_type for info in self.targets())

    def _visible(self, target: Target) -> bool:
        return self.holds(target.context_id) and is_visible(target.info)

    def _without_foreign_relatives(self, info: TargetInfo) -> TargetInfo:
        """`info` without openers and parents outside this session. Chromium names none, but we do not rely on it."""
        visible = {key: value for key, value in info.items() if key != "embedderData"}  # belongs to the tab strip
        if not self._is_own(visible.get("openerId", info["targetId"])):
            visible.pop("openerId", None)
            visible.pop("openerFrameId", None)
        if not self._is_own(visible.get("parentId", info["targetId"])):
            visible.pop("parentId", None)
        return visible

    def _is_own(self, target_id: object) -> bool:
        target = self._tree.get(target_id)
        return target is not None and self.holds(target.context_id)


def is_visible(info: TargetInfo) -> bool:
    """Whether clients may see a target of this type and URL."""
    scheme = info.get("url", "").partition(":")[0].lower()  # not parsed: what no parser takes would be visible
    return info.get("type") in VISIBLE_TYPES and scheme not in HIDDEN_SCHEMES

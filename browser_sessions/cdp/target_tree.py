"""The targets of a browser, kept from Chromium's discovery events. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

TargetInfo = Mapping[str, Any]
"""`Target.TargetInfo` as Chromium sends it."""


@dataclass(slots=True, eq=False)
class Target:
    """A page, tab, frame or worker."""

    info: TargetInfo
    """The latest, except that an empty URL, which a full Chromium reports between two pages, does not replace the last.
    """
    context_id: str
    """From the first event: later ones may lack it."""
    created_at: datetime
    crashed: bool = False

    @property
    def target_id(self) -> str:
        return str(self.info["targetId"])

    @property
    def type(self) -> str:
        return str(self.info["type"])

    @property
    def url(self) -> str:
        return str(self.info["url"])

    @property
    def title(self) -> str:
        return str(self.info["title"])


class Watcher(Protocol):
    """Is notified of changes of one browser context's targets."""

    def target_created(self, target: Target) -> None: ...

    def target_changed(self, target: Target) -> None: ...

    def target_destroyed(self, target: Target) -> None:
        """Called after the target was removed from the tree."""

    def target_crashed(self, target: Target, params: Mapping[str, Any]) -> None:
        """`params` are those of `Target.targetCrashed`."""

    def target_paused(self, target: Target) -> Iterable[object]:
        """A new target is paused. Returns the clients that will attach to it and resume it."""


class TargetTree:
    """Targets by context, oldest first."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """`now` gives the wall clock's time, in UTC."""
        self._now = now
        self._targets: dict[str, Target] = {}
        self._contexts: dict[str, dict[str, Target]] = {}
        self._watchers: dict[str, list[Watcher]] = {}

    def __repr__(self) -> str:
        return f"<TargetTree {len(self._targets)} targets in {len(self._contexts)} contexts>"

    def get(self, target_id: object) -> Target | None:
        return self._targets.get(target_id) if isinstance(target_id, str) else None

    def of(self, context_id: str, target_type: str | None = None) -> list[Target]:
        """The targets of a context, oldest first."""
        targets = self._contexts.get(context_id, {}).values()
        return [target for target in targets if target_type is None or target.type == target_type]

    def watchers(self, context_id: str) -> tuple[Watcher, ...]:
        return tuple(self._watchers.get(context_id, ()))

    def watch(self, context_id: str, watcher: Watcher) -> None:
        """Notifies `watcher` of the context's targets from now on, not of existing ones."""
        self._watchers.setdefault(context_id, []).append(watcher)

    def unwatch(self, context_id: str, watcher: Watcher) -> None:
        """No error if it does not watch."""
        watchers = self._watchers.get(context_id, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            self._watchers.pop(context_id, None)

    # -- Chromium's events -----------------------------------------------------------------------------------------

    def update(self, info: TargetInfo) -> Target:
        """A target was created or has changed."""
        target = self._targets.get(info["targetId"])
        if target is None:
            context_id = str(info.get("browserContextId", ""))
            target = self._targets[info["targetId"]] = Target(info, context_id, self._now())
            self._contexts.setdefault(target.context_id, {})[target.target_id] = target
            for watcher in self.watchers(target.context_id):
                watcher.target_created(target)
        else:
            if not info["url"] and target.url:
                info = {**info, "url": target.url, "title": target.title}
            target.info = info
            for watcher in self.watchers(target.context_id):
                watcher.target_changed(target)
        return target

    def renew(self, target_id: str) -> None:
        """Sets the creation time to now, for a target that was prepared before it had an owner."""
        target = self._targets.get(target_id)
        if target is not None:
            target.created_at = self._now()

    def destroyed(self, target_id: str) -> None:
        target = self._targets.pop(target_id, None)
        if target is None:
            return
        targets = self._contexts[target.context_id]
        del targets[target_id]
        if not targets:
            del self._contexts[target.context_id]
        for watcher in self.watchers(target.context_id):
            watcher.target_destroyed(target)

    def crashed(self, params: Mapping[str, Any]) -> None:
        target = self._targets.get(params["targetId"])
        if target is None:
            return
        target.crashed = True
        for watcher in self.watchers(target.context_id):
            watcher.target_crashed(target, params)

"""What is to be done with one command of a client: a closed set, made by the policy, acted on by the relay. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from browser_sessions.gateway.scope.target_filters import TargetFilter

Params = Mapping[str, Any]

# Error codes as Chromium 156 answers them ; the policy's texts are its own too where it has one.
NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
SERVER_ERROR: Final = -32000
NO_SESSION: Final = -32001


@dataclass(frozen=True, slots=True)
class Pass:
    """Send it to Chromium through the client's own browser session, under the client's own id."""

    params: Params | None = None
    """What replaces the client's params; None leaves them as they are."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer it here; Chromium never hears of it."""

    result: Params


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer it with an error object."""

    code: int
    message: str


class Reading(Enum):
    """What `Scope.read` takes from, or does to, an answer before the client gets it."""

    NOTHING = "pass it on as it is"
    STREAM = "remember the IO handle in `stream`"
    BLOB = "remember the blob's `uuid` as an IO handle"
    WINDOW = "remember the `windowId`"
    COMMAND_LINE = "leave out `commandLine`: it names folders of the host"
    TRACE = "leave out the command line from a piece of a trace"


@dataclass(frozen=True, slots=True)
class Ask:
    """Send it under an id of ours, let the scope read the answer, pass that on under the client's id."""

    params: Params
    session_id: str | None
    """The CDP session to ask on: not always the one that the client named. The client's answer carries the client's."""
    reading: Reading


@dataclass(frozen=True, slots=True)
class AutoAttach:
    """Browser-level `Target.setAutoAttach`. `filter` None switches it off."""

    filter: TargetFilter | None
    wait_for_debugger: bool


@dataclass(frozen=True, slots=True)
class Discover:
    """`Target.setDiscoverTargets`, for the session the command came on. `filter` None switches it off."""

    filter: TargetFilter | None


@dataclass(frozen=True, slots=True)
class Attach:
    """`Target.attachToTarget`, flat, on the level the command came on."""

    target_id: str


@dataclass(frozen=True, slots=True)
class Detach:
    """`Target.detachFromTarget` of a CDP session of this client's."""

    session_id: str


@dataclass(frozen=True, slots=True)
class AttachBrowser:
    """`Target.attachToBrowserTarget`: one more session at the browser's level, on the level the command came on."""


@dataclass(frozen=True, slots=True)
class CreateTarget:
    """`Target.createTarget`: made as about:blank with `params`, attached and resumed by all, then sent to `url`."""

    context_id: str
    url: str
    params: Params
    """Whatever else Chromium is to be told, `browserContextId` included, `url` not."""


@dataclass(frozen=True, slots=True)
class CreateContext:
    """`Target.createBrowserContext`: through the client's own browser session with `disposeOnDetach`, the session's own
    proxy and downloads; then `Room.adopt`."""


@dataclass(frozen=True, slots=True)
class DisposeContext:
    """`Target.disposeBrowserContext` of a nested context; then `Room.discard`."""

    context_id: str


@dataclass(frozen=True, slots=True)
class SetDownloads:
    """`Browser.setDownloadBehavior` and `Page.setDownloadBehavior`: the folder is the session's own whatever the client
    said; its choice is whether it wants the events, and whether it wants downloads at all."""

    context_id: str
    deny: bool
    events: bool | None
    """None: not said, leave as it is."""


@dataclass(frozen=True, slots=True)
class Resume:
    """`Runtime.runIfWaitingForDebugger`: the target runs when all that it waits for have said so."""

    session_id: str


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """`Browser.close`: answer `{}`, then close this client's connection (1000). Not the browser, not the session."""


Action = (
    AutoAttach
    | Discover
    | Attach
    | AttachBrowser
    | Detach
    | CreateTarget
    | CreateContext
    | DisposeContext
    | SetDownloads
    | Resume
    | CloseConnection
)


@dataclass(frozen=True, slots=True)
class Do:
    """Something that takes more than one frame: the relay's work."""

    action: Action


Decision = Pass | Answer | Refuse | Ask | Do

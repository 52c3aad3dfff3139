"""Decisions about a client's command: made by the policy, executed by the relay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from browser_sessions.gateway.scope.target_filters import TargetFilter

Params = Mapping[str, Any]

# Chromium's error codes. Messages are Chromium 156's too where it has one.
NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
SERVER_ERROR: Final = -32000
NO_SESSION: Final = -32001

NO_WEB_CONTENTS: Final = "No web contents for the given target id"


@dataclass(frozen=True, slots=True)
class Pass:
    """Forward it to Chromium on the client's own browser session, with the client's own id."""

    params: Params | None = None
    """Replaces the client's params; None leaves them unchanged."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Respond with this result, without sending anything to Chromium."""

    result: Params


@dataclass(frozen=True, slots=True)
class Refuse:
    """Respond with an error object."""

    code: int
    message: str
    data: str | None = None


class Reading(Enum):
    """How `Scope.read` processes a result before the client gets it."""

    NOTHING = "leave it unchanged"
    STREAM = "record the IO handle in `stream`"
    BLOB = "record the blob's `uuid` as an IO handle"
    WINDOW = "record the `windowId`"
    COMMAND_LINE = "remove `commandLine`, which names folders of the host"
    TRACE = "remove the command line from a chunk of a trace"


@dataclass(frozen=True, slots=True)
class Ask:
    """Send it with an id of ours, pass the result through `Scope.read`, and respond with the client's id."""

    params: Params
    session_id: str | None
    """The CDP session to send it on, which may differ from the client's. The response has the client's."""
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
    """`Target.attachToTarget`, flat, on the level of the command."""

    target_id: str


@dataclass(frozen=True, slots=True)
class Detach:
    """`Target.detachFromTarget` of a CDP session of this client."""

    session_id: str


@dataclass(frozen=True, slots=True)
class AttachBrowser:
    """`Target.attachToBrowserTarget`: another browser-level session, attached on the level of the command."""


@dataclass(frozen=True, slots=True)
class CreateTarget:
    """`Target.createTarget`: created as about:blank with `params`, navigated to `url` after all clients have attached
    and resumed it."""

    context_id: str
    url: str
    params: Params
    """The parameters for Chromium, with `browserContextId` and without `url`."""


@dataclass(frozen=True, slots=True)
class CloseTarget:
    """`Target.closeTarget`: a window with an opener is closed once it runs."""

    target_id: str


@dataclass(frozen=True, slots=True)
class CreateContext:
    """`Target.createBrowserContext`: on the client's own browser session, with `disposeOnDetach` and the session's
    proxy and downloads; then `SharedSession.add_context`."""


@dataclass(frozen=True, slots=True)
class DisposeContext:
    """`Target.disposeBrowserContext` of a nested context; then `SharedSession.remove_context`."""

    context_id: str


@dataclass(frozen=True, slots=True)
class SetDownloads:
    """`Browser.setDownloadBehavior` and `Page.setDownloadBehavior`: the client chooses whether downloads are allowed
    and whether it gets events. The folder is always the session's own."""

    context_id: str
    deny: bool
    events: bool | None
    """None: not given, leave unchanged."""


@dataclass(frozen=True, slots=True)
class CaptureWholePage:
    """`Page.captureScreenshot` beyond the viewport without a clip: refused if the page is too large for the GPU
    process, which sessions share."""


@dataclass(frozen=True, slots=True)
class GetWindow:
    """`Browser.getWindowForTarget` of a page that the client is not attached to."""

    target_id: str


@dataclass(frozen=True, slots=True)
class Resume:
    """`Runtime.runIfWaitingForDebugger`: the target runs when all clients that it waits for have resumed it."""

    session_id: str


@dataclass(frozen=True, slots=True)
class GiveFolder:
    """`DOM.setFileInputFiles` with a folder: refused unless the input takes one, since Chromium would make a file of
    it."""


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """`Browser.close`: respond `{}`, then close this client's connection (1000), not the browser or the session."""


Action = (
    AutoAttach
    | Discover
    | Attach
    | AttachBrowser
    | Detach
    | CreateTarget
    | CloseTarget
    | CreateContext
    | DisposeContext
    | SetDownloads
    | CaptureWholePage
    | GetWindow
    | GiveFolder
    | Resume
    | CloseConnection
)


@dataclass(frozen=True, slots=True)
class Do:
    """Perform an action that takes more than one message."""

    action: Action


Decision = Pass | Answer | Refuse | Ask | Do

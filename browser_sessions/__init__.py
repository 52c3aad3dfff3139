"""Live browser sessions: real headless Chromium, isolated contexts, exact expiry.

What a program needs is here; it is loaded when it is first named, so that the packages of the service, which are inside
this one too, do not load the SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from browser_sessions.client import (
        ApiError,
        BrowserGone,
        BrowserSessionCreated,
        BrowserSessionDetails,
        BrowserSessionHealth,
        BrowserSessionList,
        BrowserSessionResponse,
        BrowserTimeout,
        Busy,
        Client,
        ClientClosed,
        ClientError,
        Conflict,
        ControlResponse,
        Download,
        DownloadResponse,
        EgressOptions,
        Forbidden,
        HealthzResponse,
        IdempotencyMismatch,
        InvalidArgument,
        InvalidRequest,
        KeyCreated,
        KeyResponse,
        LiveTicket,
        NameTaken,
        NavigationResponse,
        NotFound,
        NotReachable,
        NotTrusted,
        OverviewResponse,
        PageContent,
        PageFailed,
        PageResponse,
        PdfOptions,
        PoolState,
        QuotaExceeded,
        ReadyzResponse,
        RoleName,
        ScreenshotOptions,
        ScriptFailed,
        ServiceFailed,
        Session,
        SessionEvent,
        SessionHistory,
        SessionOptions,
        StatusName,
        SyncClient,
        SyncDownload,
        SyncSession,
        TokenResponse,
        Unauthorized,
        Unavailable,
        UnexpectedResponse,
        UploadResponse,
        UserResponse,
        WaitTimeout,
        WaitUntil,
        WrongState,
    )

    __version__: str

__all__ = [
    "ApiError",
    "BrowserGone",
    "BrowserSessionCreated",
    "BrowserSessionDetails",
    "BrowserSessionHealth",
    "BrowserSessionList",
    "BrowserSessionResponse",
    "BrowserTimeout",
    "Busy",
    "Client",
    "ClientClosed",
    "ClientError",
    "Conflict",
    "ControlResponse",
    "Download",
    "DownloadResponse",
    "EgressOptions",
    "Forbidden",
    "HealthzResponse",
    "IdempotencyMismatch",
    "InvalidArgument",
    "InvalidRequest",
    "KeyCreated",
    "KeyResponse",
    "LiveTicket",
    "NameTaken",
    "NavigationResponse",
    "NotFound",
    "NotReachable",
    "NotTrusted",
    "OverviewResponse",
    "PageContent",
    "PageFailed",
    "PageResponse",
    "PdfOptions",
    "PoolState",
    "QuotaExceeded",
    "ReadyzResponse",
    "RoleName",
    "ScreenshotOptions",
    "ScriptFailed",
    "ServiceFailed",
    "Session",
    "SessionEvent",
    "SessionHistory",
    "SessionOptions",
    "StatusName",
    "SyncClient",
    "SyncDownload",
    "SyncSession",
    "TokenResponse",
    "Unauthorized",
    "Unavailable",
    "UnexpectedResponse",
    "UploadResponse",
    "UserResponse",
    "WaitTimeout",
    "WaitUntil",
    "WrongState",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("browser-sessions")
    if name in __all__:
        return getattr(import_module("browser_sessions.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

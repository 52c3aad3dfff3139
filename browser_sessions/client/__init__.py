"""The Python SDK: docs/sdk.md.

async with Client() as client, client.session(start_url="https://example.com") as session:
    print(await session.evaluate("document.title"))

with SyncClient() as client, client.session(start_url="https://example.com") as session:
    print(session.evaluate("document.title"))
"""

import logging

from browser_sessions.api.models.account_models import KeyCreated, KeyResponse, TokenResponse, UserResponse
from browser_sessions.api.models.event_models import SessionEvent, SessionHistory
from browser_sessions.api.models.file_models import DownloadResponse, UploadResponse
from browser_sessions.api.models.live_models import ControlResponse, LiveTicket
from browser_sessions.api.models.node_models import HealthzResponse, PoolState, ReadyzResponse
from browser_sessions.api.models.overview_models import OverviewResponse
from browser_sessions.api.models.page_models import NavigationResponse, PageContent, PageResponse
from browser_sessions.api.models.session_models import (
    BrowserSessionCreated,
    BrowserSessionDetails,
    BrowserSessionHealth,
    BrowserSessionList,
    BrowserSessionResponse,
)
from browser_sessions.client._async.client import Client
from browser_sessions.client._async.file_calls import Download
from browser_sessions.client._async.session_handle import Session
from browser_sessions.client._sync.client import SyncClient
from browser_sessions.client._sync.file_calls import SyncDownload
from browser_sessions.client._sync.session_handle import SyncSession
from browser_sessions.client.errors import (
    ApiError,
    BrowserGone,
    BrowserTimeout,
    Busy,
    ClientClosed,
    ClientError,
    Conflict,
    Forbidden,
    IdempotencyMismatch,
    InvalidArgument,
    InvalidRequest,
    NameTaken,
    NotFound,
    NotReachable,
    NotTrusted,
    PageFailed,
    QuotaExceeded,
    ScriptFailed,
    ServiceFailed,
    Unauthorized,
    Unavailable,
    UnexpectedResponse,
    WaitTimeout,
    WrongState,
)
from browser_sessions.client.page_options import PdfOptions, ScreenshotOptions
from browser_sessions.client.session_options import (
    ClientCertificateOptions,
    EgressOptions,
    RoleName,
    SessionOptions,
    StatusName,
    WaitUntil,
)

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
    "ClientCertificateOptions",
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
]

logging.getLogger("browser_sessions").addHandler(logging.NullHandler())

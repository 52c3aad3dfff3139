"""The Python SDK: docs/sdk.md.

async with Client() as client, client.session(start_url="https://example.com") as session:
    print(await session.evaluate("document.title"))
"""

from browser_sessions.client._async.client import Client
from browser_sessions.client._async.session_handle import Session
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
from browser_sessions.client.session_options import SessionOptions

__all__ = [
    "ApiError",
    "BrowserGone",
    "BrowserTimeout",
    "Busy",
    "Client",
    "ClientClosed",
    "ClientError",
    "Conflict",
    "Forbidden",
    "IdempotencyMismatch",
    "InvalidArgument",
    "InvalidRequest",
    "NameTaken",
    "NotFound",
    "NotReachable",
    "PageFailed",
    "QuotaExceeded",
    "ScriptFailed",
    "ServiceFailed",
    "Session",
    "SessionOptions",
    "Unauthorized",
    "Unavailable",
    "UnexpectedResponse",
    "WaitTimeout",
    "WrongState",
]

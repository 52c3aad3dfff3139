"""The async SDK.

async with Client() as client, client.session(start_url="https://example.com") as session:
    print(await session.evaluate("document.title"))
"""

from browser_sessions.client.client import Client
from browser_sessions.client.errors import (
    ApiError,
    BrowserTimeout,
    Busy,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    NotReachable,
    QuotaExceeded,
    ServiceFailed,
    Unauthorized,
    Unavailable,
)
from browser_sessions.client.session_handle import Session
from browser_sessions.client.session_options import SessionOptions

__all__ = [
    "ApiError",
    "BrowserTimeout",
    "Busy",
    "Client",
    "Conflict",
    "Forbidden",
    "InvalidRequest",
    "NotFound",
    "NotReachable",
    "QuotaExceeded",
    "ServiceFailed",
    "Session",
    "SessionOptions",
    "Unauthorized",
    "Unavailable",
]

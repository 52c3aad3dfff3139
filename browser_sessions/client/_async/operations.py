"""All operations of the API."""

from __future__ import annotations

from browser_sessions.client._async.file_calls import FileCalls
from browser_sessions.client._async.page_calls import PageCalls
from browser_sessions.client._async.service_calls import ServiceCalls
from browser_sessions.client._async.session_calls import SessionCalls


class Operations(SessionCalls, FileCalls, PageCalls, ServiceCalls):
    """A method for each operation of the OpenAPI document. Every method raises `ClientError`."""

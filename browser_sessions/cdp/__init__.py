"""The Chrome DevTools Protocol (CDP) over one Chromium's pipe: sessions, target tree, pauses, WebSocket framing."""

from browser_sessions.cdp.browser import Browser
from browser_sessions.cdp.browser_session import BrowserSession, Client
from browser_sessions.cdp.cdp_session import Session
from browser_sessions.cdp.errors import CdpClosed, CdpError, MessageTooLong
from browser_sessions.cdp.target_tree import Target, TargetInfo, TargetTree, Watcher

__all__ = [
    "Browser",
    "BrowserSession",
    "CdpClosed",
    "CdpError",
    "Client",
    "MessageTooLong",
    "Session",
    "Target",
    "TargetInfo",
    "TargetTree",
    "Watcher",
]

"""The Chrome DevTools Protocol over one Chromium's pipe: its owner, its sessions, its targets."""

from browser_sessions.cdp.browser import Browser
from browser_sessions.cdp.errors import CdpClosed, CdpError, MessageTooLong
from browser_sessions.cdp.session import BrowserSession, Client, Session
from browser_sessions.cdp.targets import Target, TargetInfo, TargetTree, Watcher

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

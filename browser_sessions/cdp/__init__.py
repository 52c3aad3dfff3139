"""The Chrome DevTools Protocol, raw: one small client, used by whoever needs a connection of its own."""

from browser_sessions.cdp.connection import CdpClosed, CdpError, Connection

__all__ = ["CdpClosed", "CdpError", "Connection"]

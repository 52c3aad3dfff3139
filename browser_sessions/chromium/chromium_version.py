"""Chromium's version, in the form of its `/json/version`."""

from __future__ import annotations

from typing import Final

from browser_sessions.cdp import CdpClosed, CdpError
from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.domain.errors import BrowserGone

VERSION_TIMEOUT_S: Final = 5.0
"""Long enough for an overloaded machine: Chromium only reads memory."""
_WEBKIT: Final = "537.36"
"""Chromium has frozen this version, in its user agent too."""


async def chromium_version(process: BrowserProcess) -> dict[str, str]:
    """The fields of Chromium's `/json/version`, except the WebSocket address. Raises `BrowserGone`."""
    try:
        version = await process.cdp.root.call("Browser.getVersion", timeout=VERSION_TIMEOUT_S)
    except (CdpClosed, CdpError, TimeoutError) as error:
        raise BrowserGone("The browser did not return its version.") from error
    return {
        "Browser": f"Chrome/{process.version}",
        "Protocol-Version": str(version["protocolVersion"]),
        "User-Agent": str(version["userAgent"]),
        "V8-Version": str(version["jsVersion"]),
        "WebKit-Version": f"{_WEBKIT} ({version['revision']})",
    }

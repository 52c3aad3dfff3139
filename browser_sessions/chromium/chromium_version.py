"""What a Chromium says of its version."""

from __future__ import annotations

from typing import Final

from browser_sessions.cdp import CdpClosed, CdpError
from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.domain.errors import BrowserGone

VERSION_TIMEOUT_S: Final = 5.0
"""For an answer from memory, on a machine with more to do than it can."""
_WEBKIT: Final = "537.36"
"""The version that Chromium has stopped at, in its user agent too."""


async def chromium_version(process: BrowserProcess) -> dict[str, str]:
    """The fields of Chromium's own `/json/version` but for the address. Raises `BrowserGone`."""
    try:
        told = await process.cdp.root.call("Browser.getVersion", timeout=VERSION_TIMEOUT_S)
    except (CdpClosed, CdpError, TimeoutError) as error:
        raise BrowserGone("The browser does not tell its version.") from error
    return {
        "Browser": f"Chrome/{process.version}",
        "Protocol-Version": str(told["protocolVersion"]),
        "User-Agent": str(told["userAgent"]),
        "V8-Version": str(told["jsVersion"]),
        "WebKit-Version": f"{_WEBKIT} ({told['revision']})",
    }

"""Limits that more than one file keeps. One that a single file needs stands there."""

from __future__ import annotations

from typing import Final

MAX_PAGES: Final = 20
"""Open pages of a session. Playwright turns the popup blocker off, so a page could open windows for ever: what comes
beyond is closed."""
MAX_NESTED: Final = 16
"""Contexts that a session's clients have made: each costs the browser about 4 MB and 4 ms."""
MAX_SIDE: Final = 8192
"""CSS pixels of a viewport's or a window's side."""
MAX_PIXELS: Final = 8192 * 8192
"""Device pixels of a picture: 256 MB of bitmap. A viewport of three times as many hung a renderer for six seconds; one
screenshot of 20,000 by 20,000 took the GPU process, which all sessions of a browser share, past 1 GB and the next ones
past 4 (headless shell 156)."""
MAX_TIMEOUT_SECONDS: Final = 2_592_000
"""Thirty days: of a session's idle timeout and lifetime."""
URL_CHARACTERS: Final = 65_536
"""Of an address that a caller or an operator goes to."""
TEXT_CHARACTERS: Final = 500
"""Of any text that a page, a site or a caller may have made, in one event or error."""

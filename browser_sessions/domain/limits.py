"""Limits that more than one file keeps. One that a single file needs stands there."""

from __future__ import annotations

from typing import Final

MAX_PAGES: Final = 20
"""Open pages of a session. Playwright turns the popup blocker off, so a page could open windows for ever: what comes
beyond is closed."""
TEXT_CHARACTERS: Final = 500
"""Of any text that a page, a site or a caller may have made, in one event or error."""

"""Limits that more than one file keeps. One that a single file needs stands there."""

from __future__ import annotations

from typing import Final

TEXT_CHARACTERS: Final = 500
"""Of any text that a page, a site or a caller may have made, in one event or error."""

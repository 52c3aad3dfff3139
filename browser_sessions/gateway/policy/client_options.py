"""Options of a session that the policy depends on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Options:
    """Of one session."""

    own_browser: bool = False
    """`isolation: "browser"`: refusals that only protect other sessions do not apply (the clipboard included)."""
    upload_folder: PurePosixPath | None = None
    """Absolute path. Only files in it may be uploaded to pages; None: no files. It must not contain symbolic links,
    because the policy checks names only."""

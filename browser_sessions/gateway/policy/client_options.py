"""What a session allows its clients beyond the tables. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Options:
    """One session's own limits, made when it is created."""

    own_browser: bool = False
    """`isolation: "browser"`: refusals that only protect neighbours fall away, the clipboard's among them."""
    upload_folder: PurePosixPath | None = None
    """Absolute. Files in it may be given to pages; None: no files at all. It must hold no symbolic links: the policy
    looks at names only."""

"""Options of a session that the policy depends on."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Of one session."""

    own_browser: bool = False
    """`isolation: "browser"`: refusals that only protect other sessions do not apply (the clipboard included)."""
    client_certificates: bool = False
    """Whether the session has some: then its browser has been shown the key that it trusts for every site."""
    uploads: Container[str] = frozenset()
    """Paths of the session's uploads: pages may be given these files and folders, and no others."""

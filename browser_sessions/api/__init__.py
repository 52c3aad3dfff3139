"""The HTTP room: who calls, what they ask, and how the answer is told."""

from browser_sessions.api.auth import KeyRing
from browser_sessions.api.routes import build_api
from browser_sessions.api.services import ApiOptions, Services

__all__ = ["ApiOptions", "KeyRing", "Services", "build_api"]

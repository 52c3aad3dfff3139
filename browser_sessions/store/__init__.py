"""Records that outlive the process: implementations of `domain.ports.SessionStore`."""

from browser_sessions.store.embedded import EmbeddedStore

__all__ = ["EmbeddedStore"]

"""Where records outlive the process: adapters of the port `SessionStore`."""

from browser_sessions.store.embedded import EmbeddedStore

__all__ = ["EmbeddedStore"]

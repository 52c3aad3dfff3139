"""Records that outlive the process: implementations of `domain.ports.SessionStore`."""

from browser_sessions.store.data_folder_lock import lock_data_folder
from browser_sessions.store.embedded import EmbeddedStore
from browser_sessions.store.snapshot import copy_database

__all__ = ["EmbeddedStore", "copy_database", "lock_data_folder"]

"""The files that a session's pages download."""

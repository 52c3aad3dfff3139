"""Files that a session's pages download."""

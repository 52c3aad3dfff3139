"""Files that a session's pages may be given."""

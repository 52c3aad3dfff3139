"""The screencast of a page."""

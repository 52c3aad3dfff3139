"""Viewers of a session: frames out, input in, thumbnails."""

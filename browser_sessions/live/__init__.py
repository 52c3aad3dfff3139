"""Live view of a session: frames to viewers, input from them, thumbnails."""

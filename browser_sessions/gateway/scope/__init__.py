"""What one client holds and may see, and the decisions about its commands. Pure."""

"""Starts Chromium on a pair of pipes: executable, flags, user, folders, process group, cleanup."""

"""The forward proxy of sessions: resolves, checks, pins and dials whatever their pages ask for, and counts it."""

"""Playwright's driver: its process, the endpoint it connects to, what it sees, calls with deadlines."""

"""Playwright's driver: its process, the endpoint it connects to, its view of the browser, calls with deadlines."""

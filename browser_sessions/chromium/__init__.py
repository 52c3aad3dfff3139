"""Chromium itself: how it is started. Knows neither sessions nor Playwright."""

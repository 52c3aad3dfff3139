"""Real Chromium: the only room that imports Playwright."""

"""One Chromium: launching, controlling and observing it. Independent of the pool and the API."""

"""One Chromium: launching, driving and observing it. Knows neither the pool nor the API."""

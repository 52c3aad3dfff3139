"""API keys, users, tokens, cookies, tickets, rate limits, and the service's own secrets."""

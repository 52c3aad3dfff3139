"""The operators' page: its read model, and its files in static/."""

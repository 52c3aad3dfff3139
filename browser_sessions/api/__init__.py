"""The HTTP room: who calls, what they ask, and how the answer is told. `routes.build_api` puts it together."""

"""Sessions, principals, errors, limits and event types: data and rules without I/O, and the store's protocol."""

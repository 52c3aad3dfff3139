"""The CDP gateway: a relay per client, which confines it to its session's browser contexts."""

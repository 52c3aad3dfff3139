"""The domain: pure data and rules. No await, no I/O, no third party."""

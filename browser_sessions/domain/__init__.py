"""The domain: sessions, principals, errors, event types as pure data and rules, and the ports between packages."""

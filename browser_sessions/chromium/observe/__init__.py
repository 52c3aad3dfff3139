"""What pages do by themselves, as events: console messages, errors, failed requests."""

"""Events of pages: console messages, errors, failed requests."""

"""What a client may send: a table of every CDP method, and the rules for those that need one. Pure."""

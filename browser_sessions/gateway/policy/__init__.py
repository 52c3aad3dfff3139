"""What clients may send: a table of all CDP methods, and rules for their parameters. Pure."""

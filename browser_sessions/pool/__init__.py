"""Sessions and the browsers they live in: who gets a place, where, for how long."""

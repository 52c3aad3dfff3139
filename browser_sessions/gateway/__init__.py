"""Clients over CDP: one relay each, and what each may see."""

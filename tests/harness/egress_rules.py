"""Egress rules of a running service, set by a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from browser_sessions.egress.rules import EgressPolicy, Rules
from browser_sessions.pool.session_egress import SessionEgress
from tests.harness.service import Running


@contextmanager
def allowing(service: Running, *rules: str) -> Iterator[None]:
    """New sessions are created as with this `EGRESS_ALLOW`."""
    starter = service.inside.pool.starter
    before = starter.egress
    starter.egress = SessionEgress(EgressPolicy.of_server(Rules.parse(rules)), service.inside.keyring.egress_rules)
    try:
        yield
    finally:
        starter.egress = before

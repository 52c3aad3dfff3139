"""The options for what sessions can reach, of one session or of a key."""

from __future__ import annotations

from typing import Annotated, Any

import typer

EgressAllow = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="Only these hosts, *.hosts or networks, each with an optional :PORT."),
]
EgressDeny = Annotated[str | None, typer.Option(metavar="A,B,...", help="Not these; *: all but what is allowed.")]


def egress_rules(allow: str | None, deny: str | None) -> dict[str, Any] | None:
    """The field `egress` of a request; None without the options."""
    if allow is None and deny is None:
        return None
    return {"allow": None if allow is None else _items(allow), "deny": _items(deny or "")}


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]

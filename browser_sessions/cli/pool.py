"""pool."""

from __future__ import annotations

from browser_sessions.cli.output import show, show_json
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.tables import facts


@service_command
async def pool(connection: Connection) -> None:
    """Show capacity, queue and browsers (operators)."""
    found = await connection.client.pool()
    if connection.as_json:
        show_json(found.model_dump(mode="json"))
        return
    rows: list[tuple[str, object]] = [
        ("node", found.node),
        ("sessions", f"{found.taken} of {found.capacity}"),
        ("queue", found.queue),
        ("refused", found.refused_total),
        ("draining", "yes" if found.draining else "no"),
        ("sandbox", "yes" if found.sandbox else "no"),
    ]
    rows += [
        (f"browser {each.browser_id}", f"{each.state}, process {each.pid}, {each.sessions} sessions")
        for each in found.browsers
    ]
    show(facts(rows))

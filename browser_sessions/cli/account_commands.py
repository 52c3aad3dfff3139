"""keys and users."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import typer

from browser_sessions.api.models import KeyCreated, KeyList, KeyResponse, UserList, UserResponse
from browser_sessions.cli.output import WRONG_USE, asking, say, show, show_json
from browser_sessions.cli.service_command import Talk, talking
from browser_sessions.cli.tables import facts, keys_table, users_table

Role = Annotated[str, typer.Option(metavar="client|operator|admin", help="What it may do; see the API's docs.")]


@talking
async def create_key(
    talk: Talk,
    name: Annotated[str, typer.Argument(help="What it is for; shown in lists.")],
    role: Role = "client",
    principal: Annotated[
        str | None, typer.Option(metavar="ID", help="A second key for this principal. Default: a new one.")
    ] = None,
) -> None:
    """Make an API key. It is shown this once."""
    made = await talk.client.call("POST", "/v1/auth/keys", body={"name": name, "role": role, "principal_id": principal})
    if talk.as_json:
        show_json(made)
        return
    key = KeyCreated.model_validate(made)
    show(facts([("key", key.key), ("key id", key.key_id), ("role", key.role), ("principal", key.principal_id)]))
    say("The key is shown this once: keep it now.")


@talking
async def list_keys(talk: Talk) -> None:
    """List API keys, without their secrets; revoked ones too."""
    found = await talk.client.call("GET", "/v1/auth/keys")
    if talk.as_json:
        show_json(found)
    else:
        show(keys_table(KeyList.model_validate(found).keys, datetime.now(UTC)))


@talking
async def revoke_key(
    talk: Talk, key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As 'keys ls' shows it.")]
) -> None:
    """Revoke an API key: it stops at once."""
    found = await talk.client.call("DELETE", f"/v1/auth/keys/{quote(key_id, safe='')}")
    if talk.as_json:
        show_json(found)
    else:
        show(keys_table([KeyResponse.model_validate(found)], datetime.now(UTC)))


@talking
async def create_user(talk: Talk, username: str, role: Role = "client") -> None:
    """Make a user who can sign in. The password (12 characters or more) is asked for, or read from standard input."""
    body = {"username": username, "password": _password(), "role": role}
    made = await talk.client.call("POST", "/v1/auth/users", body=body)
    if talk.as_json:
        show_json(made)
    else:
        show(users_table([UserResponse.model_validate(made)], datetime.now(UTC)))


@talking
async def list_users(talk: Talk) -> None:
    """List users."""
    found = await talk.client.call("GET", "/v1/auth/users")
    if talk.as_json:
        show_json(found)
    else:
        show(users_table(UserList.model_validate(found).users, datetime.now(UTC)))


@talking
async def remove_user(talk: Talk, username: str) -> None:
    """Remove a user: tokens and keys of theirs stop at once."""
    found = await talk.client.call("DELETE", f"/v1/auth/users/{quote(username, safe='')}")
    if talk.as_json:
        show_json(found)
    else:
        show(users_table([UserResponse.model_validate(found)], datetime.now(UTC)))


def _password() -> str:
    """Never an argument: every user of a machine can read those."""
    if sys.stdin.isatty():
        with asking():
            typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        say("No password came on standard input.")
        raise typer.Exit(WRONG_USE)
    return password

"""keys, users."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import typer

from browser_sessions.api.models.account_models import KeyCreated, KeyList, KeyResponse, UserList, UserResponse
from browser_sessions.cli.command_group import new_app
from browser_sessions.cli.egress_options import EgressAllow, EgressDeny, egress_rules
from browser_sessions.cli.exit_codes import ExitCode
from browser_sessions.cli.output import prompting, show, show_json, warn
from browser_sessions.cli.reports import CommandError
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.tables import facts, keys_table, users_table

keys = new_app(help="Create, list and revoke API keys (admins only).")
users = new_app(help="Create, list and remove users (admins only).")

Role = Annotated[
    str,
    typer.Option(
        metavar="client|operator|admin", help="client: own sessions; operator: all sessions; admin: keys and users too."
    ),
]


@keys.command("create")
@service_command
async def create_key(
    connection: Connection,
    name: Annotated[str, typer.Argument(help="Shown in lists: what the key is for.")],
    role: Role = "client",
    principal: Annotated[
        str | None, typer.Option(metavar="ID", help="The key's principal. Default: a new one.")
    ] = None,
    egress_allow: EgressAllow = None,
    egress_deny: EgressDeny = None,
) -> None:
    """Create an API key. It is shown only once.

    The egress options are for the sessions that are created with it.
    """
    body = {"name": name, "role": role, "principal_id": principal, "egress": egress_rules(egress_allow, egress_deny)}
    made = await connection.client.call("POST", "/v1/auth/keys", body=body)
    if connection.as_json:
        show_json(made)
        return
    key = KeyCreated.model_validate(made)
    show(facts([("key", key.key), ("key id", key.key_id), ("role", key.role), ("principal", key.principal_id)]))
    warn("Store the key now: it is not shown again.")


@keys.command("ls")
@service_command
async def list_keys(connection: Connection) -> None:
    """List API keys, revoked ones included; never their secrets."""
    found = await connection.client.call("GET", "/v1/auth/keys")
    if connection.as_json:
        show_json(found)
    else:
        show(keys_table(KeyList.model_validate(found).keys, datetime.now(UTC)))


@keys.command("revoke")
@service_command
async def revoke_key(
    connection: Connection, key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="From 'keys ls'.")]
) -> None:
    """Revoke an API key at once."""
    found = await connection.client.call("DELETE", f"/v1/auth/keys/{quote(key_id, safe='')}")
    if connection.as_json:
        show_json(found)
    else:
        show(keys_table([KeyResponse.model_validate(found)], datetime.now(UTC)))


@users.command("create")
@service_command
async def create_user(connection: Connection, username: str, role: Role = "client") -> None:
    """Create a user who can sign in.

    The password, at least 12 characters, is prompted for, or read from standard input.
    """
    body = {"username": username, "password": _password(), "role": role}
    made = await connection.client.call("POST", "/v1/auth/users", body=body)
    if connection.as_json:
        show_json(made)
    else:
        show(users_table([UserResponse.model_validate(made)], datetime.now(UTC)))


@users.command("ls")
@service_command
async def list_users(connection: Connection) -> None:
    """List users."""
    found = await connection.client.call("GET", "/v1/auth/users")
    if connection.as_json:
        show_json(found)
    else:
        show(users_table(UserList.model_validate(found).users, datetime.now(UTC)))


@users.command("rm")
@service_command
async def remove_user(connection: Connection, username: str) -> None:
    """Remove a user. Their tokens and keys are revoked at once."""
    found = await connection.client.call("DELETE", f"/v1/auth/users/{quote(username, safe='')}")
    if connection.as_json:
        show_json(found)
    else:
        show(users_table([UserResponse.model_validate(found)], datetime.now(UTC)))


def _password() -> str:
    """Not an argument: every user of a machine can read the arguments of every process."""
    if sys.stdin.isatty():
        with prompting():
            typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandError(ExitCode.USAGE, "Standard input holds no password.")
    return password

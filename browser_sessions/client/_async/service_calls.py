"""Operations on the service itself, its keys and its users."""

from __future__ import annotations

from collections.abc import Sequence

from browser_sessions.api.models.account_models import (
    KeyCreated,
    KeyList,
    KeyResponse,
    TokenResponse,
    UserList,
    UserResponse,
)
from browser_sessions.api.models.node_models import HealthzResponse, PoolState, ReadyzResponse
from browser_sessions.api.models.overview_models import OverviewResponse
from browser_sessions.client._async.transport import Transport, parsed
from browser_sessions.client.paths import KEYS, USERS, key_path, user_path
from browser_sessions.client.session_options import EgressOptions, RoleName


class ServiceCalls:
    """Every method raises `ClientError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def healthz(self) -> HealthzResponse:
        """Whether the service is alive, and its version. Needs no key."""
        return parsed(HealthzResponse, await self._transport.send("GET", "/healthz", retry=False))

    async def readyz(self) -> ReadyzResponse:
        """Whether the service is ready for new sessions, and why not. Needs no key."""
        return parsed(ReadyzResponse, await self._transport.send("GET", "/readyz", retry=False, accept=(503,)))

    async def metrics(self) -> str:
        """Metrics in the text format of Prometheus. Needs no key."""
        return (await self._transport.send("GET", "/metrics", headers={"Accept": "text/plain"})).text

    async def overview(self) -> OverviewResponse:
        """Your live sessions and the newest ended ones in one response (operators: everybody's, and the pool).

        `position` is the `last_event_id` with which `events` misses nothing.
        """
        return parsed(OverviewResponse, await self._transport.send("GET", "/v1/browser/overview"))

    async def pool(self) -> PoolState:
        """Capacity, browser processes and the queue (operators)."""
        return parsed(PoolState, await self._transport.send("GET", "/v1/browser/pool"))

    async def token(self, username: str, password: str, *, scope: RoleName | None = None) -> TokenResponse:
        """Signs in with a user name and a password: the response has the `token` of another client, for an hour.

        `scope` is the role to act in; by default the user's own.
        """
        form = {"username": username, "password": password, "scope": scope or ""}
        return parsed(TokenResponse, await self._transport.send("POST", "/v1/auth/token", form=form))

    # -- keys and users (admins) -----------------------------------------------------------------------------------

    async def keys(self) -> Sequence[KeyResponse]:
        """All API keys, revoked ones included, without their secrets (admins)."""
        return parsed(KeyList, await self._transport.send("GET", KEYS)).keys

    async def create_key(
        self,
        name: str,
        *,
        role: RoleName = "client",
        principal_id: str | None = None,
        egress: EgressOptions | None = None,
    ) -> KeyCreated:
        """Creates an API key (admins). Only this response contains its `key`. `egress`: what sessions created with it
        can reach."""
        body = {"name": name, "role": role, "principal_id": principal_id, "egress": egress}
        return parsed(KeyCreated, await self._transport.send("POST", KEYS, body=body))

    async def revoke_key(self, key_id: str) -> KeyResponse:
        """Revokes a key at once (admins)."""
        return parsed(KeyResponse, await self._transport.send("DELETE", key_path(key_id)))

    async def users(self) -> Sequence[UserResponse]:
        """All users (admins)."""
        return parsed(UserList, await self._transport.send("GET", USERS)).users

    async def create_user(self, username: str, password: str, *, role: RoleName = "client") -> UserResponse:
        """Creates a user who signs in with a password (admins)."""
        body = {"username": username, "password": password, "role": role}
        return parsed(UserResponse, await self._transport.send("POST", USERS, body=body))

    async def remove_user(self, username: str) -> UserResponse:
        """Removes a user and revokes their tokens and keys at once (admins)."""
        return parsed(UserResponse, await self._transport.send("DELETE", user_path(username)))

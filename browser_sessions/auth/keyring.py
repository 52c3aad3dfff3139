"""All keys and users, kept in memory so that authentication needs no disk. Changes are stored before they take
effect."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from pwdlib import PasswordHash

from browser_sessions.auth.access_tokens import Tokens
from browser_sessions.auth.credential_leases import Leases
from browser_sessions.auth.secrets_file import SECRET_BYTES, Secrets
from browser_sessions.auth.throttle import SignInThrottle
from browser_sessions.domain.clock import Clock
from browser_sessions.domain.egress_rules import NO_RULES, EgressRules
from browser_sessions.domain.errors import (
    Conflict,
    InvalidField,
    KeyNotFound,
    NameTaken,
    QuotaExceeded,
    Unauthenticated,
)
from browser_sessions.domain.principal import ApiKey, Principal, Role, User

ADMIN: Final = Principal("admin", Role.ADMIN, "admin", "key:admin")
"""The principal of the built-in admin key."""

MAX_CONCURRENT_HASHES: Final = 2
"""One argon2 hash takes 64 MiB and a core for 50 ms."""
MAX_WAITING_HASHES: Final = 20
"""Sign-ins that may wait for their hash, about half a second of work; further ones are rejected, unless the name has
signed in from that address before."""

_ROLES_ASCENDING: Final = (Role.CLIENT, Role.OPERATOR, Role.ADMIN)
"""Each role includes the ones before it (the table of docs/api.md)."""
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/=\-]+) *", re.IGNORECASE)
"""RFC 6750, section 2.1."""
_WRONG_KEY: Final = "The API key is invalid or revoked. Send a valid one as X-API-Key."
_NO_CREDENTIAL: Final = "Send an API key as X-API-Key, or a token from POST /v1/auth/token as Authorization: Bearer."
_WRONG_PASSWORD: Final = "The user name or the password is wrong."  # noqa: S105 - a sentence, not a password


class KeyStore(Protocol):
    """The part of `domain.ports.SessionStore` for keys, users and sign-outs. Every method may raise
    `StoreUnavailable`."""

    async def put_key(self, key: ApiKey) -> None: ...

    async def keys(self) -> list[ApiKey]: ...

    async def put_user(self, user: User) -> None: ...

    async def remove_user(self, username: str) -> bool: ...

    async def users(self) -> list[User]: ...

    async def put_sign_out(self, sign_in: str, expires_at: datetime) -> None: ...

    async def sign_outs(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """A signed token and the role it carries."""

    token: str = field(repr=False)
    scope: Role


class KeyRing:
    """Keys, users and tokens of this service. `principal_of` is synchronous for the sake of the status endpoint."""

    def __init__(self, store: KeyStore, clock: Clock, own: Secrets) -> None:
        self._store = store
        self._clock = clock
        self._admin_digest = _digest(own.admin_key)
        self._admin = ApiKey("admin", ADMIN.principal_id, "built-in admin key", Role.ADMIN, "", own.admin_since)
        self._keys: dict[str, ApiKey] = {}
        self._users: dict[str, User] = {}
        self._by_principal: dict[str, User] = {}
        self._signed_out: set[str] = set()
        self._tokens = Tokens(own.token_secret)
        self._leases = Leases()
        self.on_revoked: Callable[[str], None] = lambda credential: None
        """Called with each credential that is revoked, and with each sign-in that ends."""
        self._hasher = PasswordHash.recommended()
        self._dummy_hash = ""
        """Verified in place of a missing user's hash, so that both take the same time."""
        self._hashing = asyncio.Semaphore(MAX_CONCURRENT_HASHES)
        self._waiting = 0
        self._throttle = SignInThrottle(clock)

    async def load(self) -> None:
        """Loads all keys, users and sign-outs. Raises `StoreUnavailable`."""
        self._keys = {key.key_id: key for key in await self._store.keys()}
        self._users = {user.username: user for user in await self._store.users()}
        self._by_principal = {user.principal_id: user for user in self._users.values()}
        self._signed_out = set(await self._store.sign_outs())

    # -- authentication --------------------------------------------------------------------------------------------

    def principal_of(self, api_key: str | None, authorization: str | None) -> Principal:
        """The principal of a credential; the API key takes precedence. Raises `Unauthenticated`."""
        if api_key is not None:
            return self._of_key(api_key)
        if authorization is None:
            raise Unauthenticated(_NO_CREDENTIAL)
        bearer = _BEARER.fullmatch(authorization)
        if bearer is None:
            raise Unauthenticated(_NO_CREDENTIAL)
        claims = self._tokens.verify(bearer.group(1))
        user = self._by_principal.get(claims.principal_id)
        if user is None:
            raise Unauthenticated("The token's user was removed. Sign in as another user.")
        return Principal(user.principal_id, _lesser(user.role, claims.role), user.username, f"user:{user.username}")

    def _of_key(self, text: str) -> Principal:
        key_id, secret = _split(text)
        key = self._keys.get(key_id)
        if key is not None and hmac.compare_digest(_digest(secret), key.secret_sha256):
            if key.revoked_at is not None:
                raise Unauthenticated(_WRONG_KEY)
            return key.principal
        if hmac.compare_digest(_digest(text), self._admin_digest):
            return ADMIN
        raise Unauthenticated(_WRONG_KEY)

    def named(self, credential: str) -> tuple[Principal, str] | None:
        """The principal of `key:<id>` or `user:<name>`, and a text that changes with its secret; None if it is gone."""
        kind, _, name = credential.partition(":")
        if kind == "user" and (user := self._users.get(name)) is not None:
            return user.principal, user.password_hash
        if kind == "key" and name == self._admin.key_id:
            return ADMIN, self._admin_digest
        if kind == "key" and (key := self._keys.get(name)) is not None and key.revoked_at is None:
            return key.principal, key.secret_sha256
        return None

    def is_valid(self, principal: Principal) -> bool:
        """Whether the credential that the principal used is still valid."""
        found = self.named(principal.credential)
        signed_out = self.is_signed_out(principal.sign_in)
        return found is not None and found[0].principal_id == principal.principal_id and not signed_out

    def egress_rules(self, principal: Principal) -> EgressRules:
        """For the sessions that are created with the principal's credential."""
        kind, _, name = principal.credential.partition(":")
        key = self._keys.get(name) if kind == "key" else None
        return NO_RULES if key is None else key.egress

    @contextmanager
    def lease(self, principal: Principal) -> Iterator[asyncio.Event]:
        """Yields an event that is set when the principal's credential is, or was already, revoked, or they sign out."""
        names = (principal.credential, principal.sign_in) if principal.sign_in else (principal.credential,)
        with self._leases.hold(*names) as revoked:
            if not self.is_valid(principal):
                revoked.set()
            yield revoked

    def check_key(self, text: str) -> str:
        """The credential (`key:<id>`) of an API key. Raises `Unauthenticated`.

        Not limited: a key of 256 bits cannot be guessed, and wrong ones would lock out the address's users.
        """
        return self._of_key(text).credential

    async def sign_in(self, username: str, password: str, scope: str, address: str) -> Grant:
        """A token for a user. Raises `Unauthenticated`, `QuotaExceeded` (too many attempts), `InvalidField` (scope).

        An unknown user takes the same time as a wrong password.
        """
        self._throttle.attempt(username, address)
        if not self._dummy_hash:  # computed before the look-up: the first sign-in waits for it, known user or not
            self._dummy_hash = await self._hash(secrets.token_urlsafe(SECRET_BYTES))
        user = self._users.get(username)
        if self._waiting >= MAX_WAITING_HASHES and not self._throttle.knows(username, address):
            raise QuotaExceeded("Too many sign-ins at the moment. Try again in a second.", retry_after=1.0)
        matches = await self._verify(password, self._dummy_hash if user is None else user.password_hash)
        user = self._users.get(username)  # may have been removed while the hash was computed
        if user is None or not matches:
            raise Unauthenticated(_WRONG_PASSWORD)
        self._throttle.succeeded(username, address)
        role = _requested_role(scope, user.role)
        return Grant(self._tokens.sign(user.principal_id, role), role)

    # -- the console's sign-ins ------------------------------------------------------------------------------------

    def is_signed_out(self, sign_in: str) -> bool:
        return sign_in in self._signed_out

    async def sign_out(self, sign_in: str, expires_at: datetime) -> None:
        """Ends a sign-in of the console and the connections opened with it. `expires_at`: when it would have ended.

        It has ended even if this raises `StoreUnavailable`, until the next start.
        """
        self._signed_out.add(sign_in)
        self._notify(sign_in)
        await self._store.put_sign_out(sign_in, expires_at)

    # -- keys ------------------------------------------------------------------------------------------------------

    def all_keys(self) -> list[ApiKey]:
        """All keys, revoked ones included, newest first; the built-in one last."""
        return [*sorted(self._keys.values(), key=lambda key: (key.created_at, key.key_id), reverse=True), self._admin]

    async def create_key(
        self, name: str, role: Role, principal_id: str | None, egress: EgressRules = NO_RULES
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which is not stored. Raises `InvalidField`, `StoreUnavailable`."""
        if principal_id is not None and principal_id not in self._principals():
            raise InvalidField(
                ("body", "principal_id"),
                "must be the principal_id of an existing key or user; leave it out for a new principal",
            )
        key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(SECRET_BYTES)
        key = ApiKey(
            key_id=key_id,
            principal_id=principal_id or "prn_" + secrets.token_hex(8),
            name=name,
            role=role,
            secret_sha256=_digest(secret),
            created_at=self._clock.wall(),
            egress=egress,
        )
        await self._store.put_key(key)
        self._keys[key_id] = key
        return key, f"bs_{key_id}_{secret}"

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Revokes the key at once. Idempotent.

        Raises `KeyNotFound`, `Conflict` (the built-in one), `StoreUnavailable`.
        """
        if key_id == self._admin.key_id:
            raise Conflict(
                "The built-in admin key cannot be revoked. Restart with another BROWSER_SESSIONS_ADMIN_API_KEY, or "
                "delete its file in the data folder and restart."
            )
        key = self._keys.get(key_id)
        if key is None:
            raise KeyNotFound("There is no such key. List them with GET /v1/auth/keys.")
        if key.revoked_at is None:
            key = replace(key, revoked_at=self._clock.wall())
            await self._store.put_key(key)
            self._keys[key_id] = key
            self._notify(key.principal.credential)
        return key

    # -- users -----------------------------------------------------------------------------------------------------

    def all_users(self) -> list[User]:
        """All users by name."""
        return sorted(self._users.values(), key=lambda user: user.username)

    async def create_user(self, username: str, password: str, role: Role) -> User:
        """Raises `NameTaken`, `StoreUnavailable`."""
        taken = NameTaken(f"The user {username!r} already exists. Remove it first, or choose another name.")
        if username in self._users:
            raise taken
        user = User(
            username=username,
            principal_id="usr_" + secrets.token_hex(8),
            role=role,
            password_hash=await self._hash(password),
            created_at=self._clock.wall(),
        )
        if username in self._users:
            raise taken
        self._users[username] = user  # reserves the name while it is stored
        try:
            await self._store.put_user(user)
        except BaseException:
            del self._users[username]
            raise
        self._by_principal[user.principal_id] = user
        return user

    async def remove_user(self, username: str) -> User:
        """Removes the user and revokes their tokens and keys at once. Raises `KeyNotFound`, `StoreUnavailable`."""
        user = self._users.get(username)
        if user is None:
            raise KeyNotFound("There is no such user. List them with GET /v1/auth/users.")
        for key in [key for key in self._keys.values() if key.principal_id == user.principal_id]:
            await self.revoke_key(key.key_id)
        await self._store.remove_user(username)
        self._users.pop(username, None)
        self._by_principal.pop(user.principal_id, None)
        self._notify(user.principal.credential)
        return user

    def _notify(self, revoked: str) -> None:
        self._leases.revoke(revoked)
        self.on_revoked(revoked)

    def _principals(self) -> set[str]:
        return {ADMIN.principal_id} | {key.principal_id for key in self._keys.values()} | set(self._by_principal)

    # -- password hashing, off the event loop ----------------------------------------------------------------------

    async def _hash(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def _verify(self, password: str, password_hash: str) -> bool:
        self._waiting += 1
        try:
            async with self._hashing:
                return await asyncio.to_thread(self._hasher.verify, password, password_hash)
        finally:
            self._waiting -= 1


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _split(text: str) -> tuple[str, str]:
    """(key id, secret) of `bs_<key id>_<secret>`; empty strings for any other text."""
    parts = text.split("_", 2)
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == "bs" else ("", "")


def _lesser(one: Role, other: Role) -> Role:
    return min(one, other, key=_ROLES_ASCENDING.index)


def _requested_role(scope: str, role: Role) -> Role:
    """The role that the scope names, by default the user's own. Raises `InvalidField`."""
    names: Sequence[str] = scope.split()
    if not names:
        return role
    allowed = [known.value for known in _ROLES_ASCENDING[: _ROLES_ASCENDING.index(role) + 1]]
    if any(name not in allowed for name in names):
        raise InvalidField(("body", "scope"), f"must be one of {', '.join(allowed)}, or empty for the user's own role")
    return max((Role(name) for name in names), key=_ROLES_ASCENDING.index)


__all__ = ["ADMIN", "Grant", "KeyRing", "KeyStore"]

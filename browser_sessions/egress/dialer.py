"""Resolves a destination once, checks every address against the rules, and connects to the checked ones only."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from browser_sessions.egress.addresses import Address, Machine, canonical
from browser_sessions.egress.http.heads import Target
from browser_sessions.egress.resolver import NotResolved, Resolver, is_localhost
from browser_sessions.egress.rules import EgressPolicy, Refusal, Refused
from browser_sessions.egress.stream import ConnectionEnded, Stream
from browser_sessions.egress.upstream import Upstream
from browser_sessions.egress.upstream_handshake import TunnelRefused, UpstreamFailed, basic_credentials, open_tunnel

CONNECT_S: Final = 10.0
"""For all attempts at one destination, an upstream's handshake included."""
_HEAD_START_S: Final = 0.25
"""RFC 8305's recommendation, before the next address is tried too."""
UPSTREAM_NAMES: Final = "BROWSER_SESSIONS_EGRESS_UPSTREAM_RESOLVES_NAMES"


class Denied(Exception):
    """The rules deny the destination; or only some of its addresses, and none of the others (`tried`) is reachable."""

    def __init__(self, refusal: Refusal, tried: str | None = None) -> None:
        super().__init__(refusal.rule)
        self.refusal = refusal
        self.tried = tried


class Unreachable(Exception):
    """The destination is allowed, but there is no connection. The text says why, for people."""


class Untrusted(Exception):
    """The destination's own certificate is not trusted."""


@dataclass(frozen=True, slots=True)
class Connection:
    """To the destination, or to an upstream proxy that takes complete addresses."""

    stream: Stream
    to_proxy: bool = False
    proxy_authorization: bytes | None = None


@dataclass(frozen=True, slots=True)
class Dialer:
    """For one session. `upstream_names`: names go to the upstream unresolved."""

    policy: EgressPolicy
    resolver: Resolver
    machine: Callable[[], Machine]
    upstream: Upstream | None
    upstream_names: bool
    tls: ssl.SSLContext

    async def dial(self, target: Target, *, tunnel: bool) -> Connection:
        """`tunnel`: bytes, not requests, will be sent. Raises `Denied`, `Unreachable`."""
        if refused := self.policy.refusal_of_host(target.host, target.port):
            raise _denied(target, None, refused)
        literal = _literal(target.host)
        upstream = self.upstream
        if upstream is not None and upstream.is_bypassed(target.host, target.port, literal):
            upstream = None
        try:
            async with asyncio.timeout(CONNECT_S):
                if upstream is not None and literal is None and self.upstream_names:
                    return await self._through(upstream, [target.name], target.port, tunnel=tunnel)
                checked = await self._checked(target, self.policy)
                if upstream is None:
                    return Connection(await _reach(target, checked))
                first_of_each_family = [str(address) for address in _families_in_turn(checked.addresses)[:2]]
                return await self._through(upstream, first_of_each_family, target.port, tunnel=True)
        except NotResolved as error:
            raise Unreachable(str(error)) from None
        except TunnelRefused as error:
            hint = "" if tunnel else f" With {UPSTREAM_NAMES} at the server, http: pages of a name need no CONNECT."
            raise Unreachable(f"The session's proxy {error}{hint}") from None
        except UpstreamFailed as error:
            raise Unreachable(f"The session's proxy {error}") from None
        except TimeoutError:
            who = "The session's proxy" if upstream is not None else f"{target.host}:{target.port}"
            raise Unreachable(f"{who} did not respond within {CONNECT_S:g} s.") from None
        except OSError as error:
            who = "the session's proxy" if upstream is not None else f"{target.host}:{target.port}"
            raise Unreachable(f"No connection to {who}: {_reason(error)}.") from None

    async def dial_tls(self, target: Target, tls: ssl.SSLContext) -> Connection:
        """With TLS to the destination, which may show it a client certificate. Also raises `Untrusted`."""
        connection = await self.dial(target, tunnel=True)
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.stream.start_tls(tls, server_hostname=target.host)
        except BaseException as error:
            connection.stream.reset()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise Untrusted(error.verify_message) from None
            if isinstance(error, (OSError, ConnectionEnded)):
                reason = getattr(error, "reason", None) or "no handshake"
                raise Unreachable(f"TLS with {target.host}:{target.port} failed: {reason}.") from None
            raise
        return connection

    async def _checked(self, target: Target, policy: EgressPolicy) -> _Checked:
        """One denied address denies the name; only of localhost, which is ours to resolve, one family is enough."""
        literal = _literal(target.host)
        addresses = (literal,) if literal else await self.resolver.resolve(target.name, target.port)
        machine = self.machine()
        allowed, left_out = [], None
        for address in addresses:
            if (refused := policy.refusal(target.host, address, target.port, machine)) is None:
                allowed.append(address)
            elif not is_localhost(target.host) or (address is addresses[-1] and not allowed):
                raise _denied(target, address, refused)
            else:
                left_out = _denied(target, address, refused)
        return _Checked(allowed, left_out)

    async def _through(self, upstream: Upstream, hosts: Sequence[str], port: int, *, tunnel: bool) -> Connection:
        proxy = Target(upstream.host, upstream.port)
        policy = self.policy.for_upstream()
        if refused := policy.refusal_of_host(proxy.host, proxy.port):
            raise _denied(proxy, None, refused)
        checked = await self._checked(proxy, policy)
        tls = self.tls if upstream.scheme == "https" else None
        for last, host in enumerate(hosts, start=1 - len(hosts)):
            stream = await _reach(proxy, checked, tls=tls)
            if not tunnel and upstream.scheme != "socks5":
                return Connection(stream, to_proxy=True, proxy_authorization=basic_credentials(upstream))
            try:
                await open_tunnel(stream, upstream, host, port)
            except BaseException as error:
                stream.reset()
                if last == 0 or not isinstance(error, UpstreamFailed):
                    raise
            else:
                return Connection(stream)
        raise AssertionError("a name has at least one address")


@dataclass(frozen=True, slots=True)
class _Checked:
    """`addresses` may be dialled; `left_out` is about one that may not."""

    addresses: Sequence[Address]
    left_out: Denied | None


async def _reach(target: Target, checked: _Checked, *, tls: ssl.SSLContext | None = None) -> Stream:
    """Raises `OSError`, or `Denied` if the rules left out the only addresses that might have responded."""
    try:
        return await connect(checked.addresses, target.port, tls=tls, server_hostname=target.host)
    except OSError as error:
        if (left_out := checked.left_out) is None:
            raise
        tried = f"No connection to {target.host}:{target.port} at {checked.addresses[0]}: {_reason(error)}."
        raise Denied(left_out.refusal, tried) from None


async def connect(
    addresses: Sequence[Address], port: int, *, tls: ssl.SSLContext | None = None, server_hostname: str | None = None
) -> Stream:
    """To the first that responds; each gets a head start over the next, families in turn. Raises `OSError`."""
    waiting = _families_in_turn(addresses)
    if len(waiting) == 1:
        return await _connect(waiting[0], port, tls, server_hostname)
    running: set[asyncio.Task[Stream]] = set()
    failure: OSError = ConnectionRefusedError()
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect(waiting.pop(0), port, tls, server_hostname)))
            ended, running = await asyncio.wait(
                running, timeout=_HEAD_START_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            connected = [task.result() for task in ended if task.exception() is None]
            for stream in connected[1:]:
                stream.reset()
            if connected:
                return connected[0]
            for task in ended:
                if not isinstance(error := task.exception(), OSError):
                    await task
                else:
                    failure = error
        raise failure
    finally:
        for task in running:
            task.add_done_callback(_reset_if_connected)
            task.cancel()


async def _connect(address: Address, port: int, tls: ssl.SSLContext | None, server_hostname: str | None) -> Stream:
    _, stream = await asyncio.get_running_loop().create_connection(
        lambda: Stream(tls=tls is not None),
        str(address),
        port,
        ssl=tls,
        server_hostname=server_hostname if tls is not None else None,
    )
    stream.keep_alive()
    return stream


def _reset_if_connected(task: asyncio.Task[Stream]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().reset()


def _families_in_turn(addresses: Sequence[Address]) -> list[Address]:
    first = [address for address in addresses if address.version == addresses[0].version]
    second = [address for address in addresses if address.version != addresses[0].version]
    return [address for pair in zip_longest(first, second) for address in pair if address is not None]


def _literal(host: str) -> Address | None:
    try:
        return canonical(host)
    except ValueError:
        return None


def _reason(error: OSError) -> str:
    """The system's words; asyncio's loop has its own for refused connections."""
    if isinstance(error, ConnectionError) and error.errno is not None:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _denied(target: Target, address: Address | None, refused: Refused) -> Denied:
    text = None if address is None else str(address)
    return Denied(Refusal(target.host, target.port, text, refused.rule, refused.setting))

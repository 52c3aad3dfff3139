"""The exit codes of all commands, and which error has which."""

from __future__ import annotations

from enum import IntEnum

from browser_sessions.client.errors import (
    TYPE_PREFIX,
    ApiError,
    Busy,
    ClientError,
    Forbidden,
    InvalidArgument,
    InvalidRequest,
    NotFound,
    NotReachable,
    Unauthorized,
)


class ExitCode(IntEnum):
    """docs/cli.md explains them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    """As of click and POSIX utilities."""
    NOT_FOUND = 3
    REFUSED = 4
    NO_SERVICE = 5
    INTERRUPTED = 130
    """128 + SIGINT, as in shells."""
    BROKEN_PIPE = 141
    """128 + SIGPIPE: whoever reads the output has left."""


def exit_code(error: ClientError) -> ExitCode:
    if isinstance(error, NotReachable) or (isinstance(error, ApiError) and not is_ours(error)):
        return ExitCode.NO_SERVICE
    if isinstance(error, InvalidRequest | InvalidArgument):
        return ExitCode.USAGE
    if isinstance(error, NotFound):
        return ExitCode.NOT_FOUND
    if isinstance(error, Unauthorized | Forbidden | Busy):
        return ExitCode.REFUSED
    return ExitCode.FAILED


def is_ours(error: ApiError) -> bool:
    """False for an answer of another server, or of a proxy in front of a service that does not run."""
    return error.type.startswith(TYPE_PREFIX) or bool(error.errors)

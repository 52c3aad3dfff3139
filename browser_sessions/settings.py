"""Settings: each is an environment variable `BROWSER_SESSIONS_<NAME>` and a flag of `serve`. Only this module reads
them."""

from __future__ import annotations

import ctypes
import difflib
import ipaddress
import os
import re
import resource
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import psutil
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from browser_sessions.domain.download_ledger import DEFAULT_QUOTA_BYTES
from browser_sessions.domain.errors import SettingsError
from browser_sessions.domain.limits import MAX_TIMEOUT_SECONDS
from browser_sessions.domain.principal import Role
from browser_sessions.domain.text import without_prefix
from browser_sessions.egress.rules import Rules

PREFIX: Final = "BROWSER_SESSIONS_"

_FOR_CLIENTS: Final = frozenset({"URL", "API_KEY"})
"""Read by the command line and the SDK: client/discovery.py."""
_KUBERNETES_VARIABLES: Final = re.compile(r"SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?")
"""Set by Kubernetes in pods of a namespace with a Service named browser-sessions ("environment variables" of
Services)."""

BYTES_PER_SESSION: Final = 64 * 2**20
"""Planned memory of a session: about twice the measured 34 MB (PSS) of a small page, as most pages are larger."""

MAX_DEFAULT_SESSIONS: Final = 500
"""Upper bound of the default, however much memory there is: live pages run out of cores before memory."""

MAX_OPEN_FILES: Final = 65_536
MAX_DEFAULT_CONNECTIONS: Final = 10_000
"""Upper bound of the default, however many file descriptors there are: more than clients and viewers of 500 sessions
need."""


def memory_limit_bytes() -> int:
    """The memory this process may use: the machine's, or its control group's limit if lower."""
    limits = [psutil.virtual_memory().total]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(name).read_text().strip()))
        except (OSError, ValueError):
            continue
    return int(min(limits))


def default_max_sessions() -> int:
    """As many sessions as fit half of the memory, at least 4 and at most `MAX_DEFAULT_SESSIONS`."""
    return max(4, min(MAX_DEFAULT_SESSIONS, memory_limit_bytes() // 2 // BYTES_PER_SESSION))


def raise_open_files_limit() -> None:
    """Raises the soft limit of open files to the hard one, at most `MAX_OPEN_FILES`: systems often set 1024, and each
    connection of a session needs two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def default_max_connections() -> int:
    """Half of the file descriptors that the process may open, at most `MAX_DEFAULT_CONNECTIONS`."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    unlimited = descriptors == resource.RLIM_INFINITY
    return MAX_DEFAULT_CONNECTIONS if unlimited else max(64, min(MAX_DEFAULT_CONNECTIONS, descriptors // 2))


def client_share(max_sessions: int) -> int:
    """What one client may take by default: all but a quarter, so that something is left for others."""
    return max(1, max_sessions - max(1, max_sessions // 4))


def default_data_dir() -> Path:
    """$XDG_DATA_HOME/browser-sessions, by default ~/.local/share/browser-sessions (XDG base directories)."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "browser-sessions"


def _comma_separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """All settings. Names end in their unit where they have one."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", validate_default=True)

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on. Keep loopback unless TLS and a firewall are in front.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one and prints it.")
    data_dir: Path = Field(
        default_factory=default_data_dir, description="Folder for the database, secrets and the browsers' work folders."
    )
    store_url: str | None = Field(
        None,
        description="Database of the records: `sqlite:///path/to/file.db`. Default: `sessions.db` in the data folder.",
    )
    admin_api_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="The built-in admin's key. Default: generated at first start, shown once on a terminal, kept in "
        "the data folder.",
    )
    browser_executable: Path | None = Field(
        None, description="The Chromium to use. Default: Playwright's headless shell, else the system's."
    )
    max_sessions: int = Field(
        default_factory=default_max_sessions,
        ge=1,
        le=10_000,
        description="Live sessions at once on this node. Default: from memory.",
    )
    max_sessions_per_browser: int = Field(
        30,
        ge=1,
        le=500,
        description="Sessions that share one Chromium process: more save memory, but crash together.",
    )
    max_sessions_per_principal: int | None = Field(
        None,
        ge=1,
        description="Live sessions at once for one principal; `none`: only `max_sessions` applies. By default, "
        "operators and admins have no such limit.",
    )
    max_connections: int = Field(
        default_factory=default_max_connections,
        ge=1,
        description="Open connections at once. Default: half of the file descriptors (`ulimit -Hn`).",
    )
    max_connections_per_address: int | None = Field(
        None,
        ge=1,
        description="The same from one address, or one IPv6 network of 64 bits; loopback and `trusted_proxies` have no "
        "such limit. Default: half of `max_connections`.",
    )
    ready_contexts: int = Field(
        1,
        ge=0,
        le=10,
        description="Contexts with a page that each browser keeps ready for creates, about 20 MB each; 0: none.",
    )
    spare_contexts: int = Field(
        8,
        ge=0,
        le=50,
        description="Contexts that each browser prepares with options that recent creates had in common, for the next "
        "ones, at most; about 20 MB each. As many are kept as were lately missing at once; 0: none.",
    )
    max_download_bytes: int = Field(
        DEFAULT_QUOTA_BYTES,
        ge=0,
        description="Total size of a session's downloads, and of its uploads. Kept until it ends, or they are deleted.",
    )
    default_idle_timeout_seconds: float | None = Field(
        300.0, gt=0, le=604_800, description="Idle timeout of sessions that set none."
    )
    default_max_lifetime_seconds: float = Field(
        3600.0, gt=0, le=MAX_TIMEOUT_SECONDS, description="Lifetime of sessions that set none, within the maximum."
    )
    max_lifetime_seconds: float | None = Field(
        86_400.0,
        gt=0,
        le=MAX_TIMEOUT_SECONDS,
        description="The longest lifetime a session may request; `none`: no limit, and sessions may request null.",
    )
    retention_hours: float = Field(24.0, gt=0, le=8760, description="How long an ended session can still be read.")
    require_sandbox: bool = Field(False, description="Refuse to start where Chromium's sandbox cannot be used.")
    drain_seconds: float = Field(10.0, ge=0, le=3600, description="How long live sessions may continue after SIGTERM.")
    public_url: str | None = Field(
        None,
        description="The URL clients use, such as `https://browsers.example.com`. Default: that of their request.",
    )
    allowed_hosts: CommaSeparated = Field(
        (),
        description="Accepted Host names, comma-separated, besides loopback and the public URL's. `*`: all.",
    )
    trusted_proxies: CommaSeparated = Field(
        (), description="Addresses of proxies whose X-Forwarded-* headers are trusted, comma-separated."
    )
    egress: bool = Field(
        True,
        description="Send all traffic of sessions through the egress proxy, which refuses this machine, private "
        "networks and other addresses that are not public. Turn it off only where something else filters.",
    )
    egress_allow: CommaSeparated = Field(
        (),
        description="What sessions may reach besides public addresses: hosts, `*.hosts`, addresses and networks, each "
        "with an optional `:port`, comma-separated.",
    )
    egress_deny: CommaSeparated = Field(
        (),
        description="What no session may reach, in the same form; it takes precedence over what is allowed. `*` is "
        "everything that `EGRESS_ALLOW` does not name.",
    )
    egress_upstream_resolves_names: bool = Field(
        False,
        description="Send host names to a session's own `proxy`, not the addresses that were checked: for proxies that "
        "know other names. What such a name stands for is then not checked here.",
    )
    share_browsers_between_principals: bool = Field(
        False, description="Let sessions of different principals share a Chromium process."
    )
    create_timeout_seconds: float = Field(30.0, gt=0, le=600, description="How long starting a session may take.")
    log_format: Literal["console", "json"] = Field("console", description="Log lines for people or for programs.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Log lines below this level are not written."
    )

    @field_validator("port", mode="before")
    @classmethod
    def _no_service_link(cls, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("tcp://"):
            raise ValueError(
                f"must be a number; {value} is what Kubernetes sets for a Service named browser-sessions: "
                "set enableServiceLinks: false in the pod, or the port itself"
            )
        return value

    @field_validator("allowed_hosts", "trusted_proxies", "egress_allow", "egress_deny", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return _comma_separated(value)

    @field_validator(
        "max_lifetime_seconds",
        "default_idle_timeout_seconds",
        "max_sessions_per_principal",
        "max_connections_per_address",
        mode="before",
    )
    @classmethod
    def _none_by_name(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() in ("none", "null", "") else value

    @field_validator("store_url")
    @classmethod
    def _known_store(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith("sqlite:///") and len(value) > len("sqlite:///")):
            raise ValueError("must be sqlite:///path/to/file.db")
        return value

    @field_validator("public_url")
    @classmethod
    def _whole_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, separator, rest = value.rstrip("/").partition("://")
        if scheme not in ("http", "https") or not separator or not rest or "?" in rest or "#" in rest or "@" in rest:
            raise ValueError(
                "must be an absolute http:// or https:// URL without query, such as https://browsers.example.com"
            )
        return value.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _known_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise ValueError(f"{text!r} must be an address or a network, such as 10.0.0.0/8") from None
        return value

    @field_validator("egress_allow", "egress_deny")
    @classmethod
    def _known_rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Rules.parse(value)
        return value

    @model_validator(mode="after")
    def _lifetimes_agree(self) -> Self:
        if self.max_lifetime_seconds is not None and self.default_max_lifetime_seconds > self.max_lifetime_seconds:
            object.__setattr__(self, "default_max_lifetime_seconds", self.max_lifetime_seconds)
        return self

    @property
    def connections_per_address(self) -> int:
        """The limit in effect."""
        return self.max_connections_per_address or max(1, self.max_connections // 2)

    @property
    def session_quotas(self) -> dict[Role, int]:
        """`max_sessions_per_principal` by role: a value that was set is for all, the default is for clients."""
        if "max_sessions_per_principal" not in self.model_fields_set:
            return {Role.CLIENT: client_share(self.max_sessions)}
        return {} if self.max_sessions_per_principal is None else dict.fromkeys(Role, self.max_sessions_per_principal)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return (
            self.data_dir / "sessions.db" if self.store_url is None else Path(self.store_url.removeprefix("sqlite:///"))
        )

    @property
    def work_dir(self) -> Path:
        """Folder for the browsers' temporary files, unless their user cannot access it: see `Service.work_dir`."""
        return self.data_dir / "work"


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(each) for each in get_args(annotation))


_SECRETS: Final = frozenset(
    PREFIX + name.upper() for name, field in Settings.model_fields.items() if _is_secret(field.annotation)
)
"""Variables that contain a secret."""


def load(**flags: Any) -> Settings:
    """Settings from the environment; `flags` other than None take precedence. Removes secrets from the environment, so
    that child processes do not inherit them.

    Raises `SettingsError`, which names each invalid setting and its valid values.
    """
    try:
        settings = Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        lines = [
            f"{PREFIX}{'_'.join(map(str, part['loc'])).upper()}: {_message(part)}"
            for part in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsError("Some settings are invalid:\n  " + "\n  ".join(lines)) from None
    for variable in [each for each in os.environ if each.upper() in _SECRETS]:
        _forget(variable)
    return settings


def _forget(variable: str) -> None:
    """Removes a variable from the environment, and overwrites its value where /proc/PID/environ shows it: in the memory
    that the process started with."""
    getenv = ctypes.CDLL(None).getenv
    getenv.argtypes, getenv.restype = [ctypes.c_char_p], ctypes.c_void_p
    if address := getenv(os.fsencode(variable)):
        ctypes.memset(address, ord("*"), len(os.fsencode(os.environ[variable])))
    del os.environ[variable]


def unknown(environ: Iterable[str]) -> list[str]:
    """A warning for each variable with our prefix that is not a setting: probably misspelt, and without effect."""
    settings = {name.upper() for name in Settings.model_fields}
    warnings = []
    for variable in sorted(environ):
        name = variable.upper().removeprefix(PREFIX)
        if name == variable.upper() or name in settings | _FOR_CLIENTS or _KUBERNETES_VARIABLES.fullmatch(name):
            continue
        near = difflib.get_close_matches(name, settings, n=1)
        hint = f" Did you mean {PREFIX}{near[0]}?" if near else ""
        warnings.append(f"{variable} is not a setting and has no effect.{hint}")
    return warnings


def _message(error: ErrorDetails) -> str:
    """pydantic counts "items" when a secret is too short."""
    if error["type"] == "too_short":
        return f"must have at least {error['ctx']['min_length']} characters"
    return without_prefix(error["msg"])

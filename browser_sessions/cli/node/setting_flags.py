"""Flags of `serve`, generated from the settings."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from browser_sessions.domain.errors import SettingsError
from browser_sessions.settings import BYTES_PER_SESSION, MAX_DEFAULT_SESSIONS, PREFIX, Settings

DEFAULTS_IN_WORDS: Final[Mapping[str, str]] = {
    "data_dir": "$XDG_DATA_HOME/browser-sessions, which is ~/.local/share/browser-sessions where that is not set",
    "max_sessions": (
        f"half of the memory in sessions of {BYTES_PER_SESSION // 2**20} MiB, at least 4, at most "
        f"{MAX_DEFAULT_SESSIONS}"
    ),
    "max_sessions_per_principal": "three quarters of `max_sessions`",
}
"""Defaults that depend on the machine."""

_KINDS: Final[Mapping[type, str]] = {int: "INTEGER", float: "NUMBER", bool: "BOOLEAN", Path: "PATH", str: "TEXT"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of the settings, described for people."""

    name: str
    kind: str
    allowed: str
    default: str
    description: str
    secret: bool

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """A secret is read from a file: every user of a machine can read the arguments of every process."""
        return "--" + self.name.replace("_", "-") + ("-file" if self.secret else "")

    @property
    def parameter(self) -> str:
        return self.name + ("_file" if self.secret else "")


def described() -> Iterator[Setting]:
    """All settings, in the order of their definition."""
    for name, field in Settings.model_fields.items():
        kinds = [kind for kind in _parts(field.annotation) if kind is not type(None)]
        optional = type(None) in _parts(field.annotation)
        yield Setting(
            name=name,
            kind=_kind(kinds[0]),
            allowed=_allowed(field, optional=optional and name in _NONE_HAS_A_NAME),
            default=_default(name, field),
            description=field.description or "",
            secret=SecretStr in kinds,
        )


def parameters() -> list[inspect.Parameter]:
    """The flags as parameters of a command. Values stay text: the settings validate them."""
    return [_parameter(setting) for setting in described()]


def _parameter(setting: Setting) -> inspect.Parameter:
    annotation: Any
    if setting.kind == "BOOLEAN":
        option = typer.Option(f"{setting.flag}/--no-{setting.flag[2:]}", help=_help(setting), show_default=False)
        annotation = Annotated[bool | None, option]
    else:
        metavar = "FILE" if setting.secret else setting.kind
        annotation = Annotated[str | None, typer.Option(setting.flag, metavar=metavar, help=_help(setting))]
    return inspect.Parameter(setting.parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def values_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from flags: only flags that were given; a secret is read from its file. Raises `SettingsError`."""
    values: dict[str, Any] = {}
    for setting in described():
        value = given.get(setting.parameter)
        if value is None:
            continue
        values[setting.name] = _content(setting, value) if setting.secret else value
    return values


def _content(setting: Setting, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"{setting.flag}: {file} cannot be read: {why}.") from None


def _help(setting: Setting) -> str:
    default = f" Default: {setting.default}." if setting.default and "Default:" not in setting.description else ""
    source = "Read from a file. " if setting.secret else ""
    return f"{source}{setting.description}{default}"


_NONE_HAS_A_NAME: Final = frozenset(
    {"max_lifetime_seconds", "default_idle_timeout_seconds", "max_sessions_per_principal"}
)
"""Settings that accept the word `none`; elsewhere, leaving the flag out means the same."""


_BOUNDS: Final[Mapping[str, str]] = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "min_length": "at least {} characters",
}
"""pydantic's bounds in words."""


def _parts(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return "A,B,..."
    return _KINDS.get(kind, "TEXT")


def _allowed(field: FieldInfo, *, optional: bool) -> str:
    """The bounds in words."""
    words = []
    for bound in field.metadata:
        for name, phrase in _BOUNDS.items():
            limit = getattr(bound, name, None)
            if limit is not None and (name, limit) != ("min_length", 1):
                words.append(phrase.format(limit))
    return ", ".join(words) + (" or `none`" if optional else "")


def _default(name: str, field: FieldInfo) -> str:
    if name in DEFAULTS_IN_WORDS:
        return DEFAULTS_IN_WORDS[name]
    value = field.default
    if value is PydanticUndefined or value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)

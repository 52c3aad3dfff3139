"""Formats Chromium's console, log and exception events as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from browser_sessions.domain.limits import TEXT_CHARACTERS

_FAILED: Final = "Failed to load resource: "
_UNCAUGHT: Final = "Uncaught "


def failure_of(entry: dict[str, Any]) -> str | None:
    """The error of a failed request, if the log entry reports one."""
    text = str(entry.get("text", ""))
    failed = entry.get("source") == "network" and text.startswith(_FAILED)
    return text.removeprefix(_FAILED)[:TEXT_CHARACTERS] if failed else None


def worker_error_of(entry: dict[str, Any]) -> str | None:
    """The uncaught error of a worker, if the log entry of its page reports one."""
    text = str(entry.get("text", ""))
    thrown = entry.get("source") == "worker" and entry.get("level") == "error" and text.startswith(_UNCAUGHT)
    return text.removeprefix(_UNCAUGHT)[:TEXT_CHARACTERS] if thrown else None


def error_of(details: dict[str, Any]) -> str:
    """The exception, with its stack if it has one."""
    thrown = details.get("exception", {})
    text = thrown.get("description") or text_of([thrown] if thrown else []) or str(details.get("text", ""))
    return str(text)[:TEXT_CHARACTERS]


def text_of(arguments: Iterable[dict[str, Any]]) -> str:
    """The arguments of a console call as one line: primitive values as they are, objects by their preview."""
    text = ""
    for argument in arguments:
        text += (" " if text else "") + _value(argument)
        if len(text) > TEXT_CHARACTERS:
            break
    return text[:TEXT_CHARACTERS]


def _value(argument: dict[str, Any]) -> str:
    kind = argument.get("type")
    if kind == "string":
        return str(argument.get("value", ""))[:TEXT_CHARACTERS]
    if "unserializableValue" in argument:
        return str(argument["unserializableValue"])
    preview = argument.get("preview")
    if preview and argument.get("subtype") != "error":
        return _preview(preview)
    if "description" in argument:
        return str(argument["description"])
    if kind == "undefined":
        return "undefined"
    value = argument.get("value")
    return {None: "null", True: "true", False: "false"}.get(value, str(value))


def _preview(preview: dict[str, Any]) -> str:
    listed = preview.get("subtype") == "array"
    parts = [
        str(each.get("value", each.get("type", ""))) if listed else f"{each.get('name')}: {each.get('value', '…')}"
        for each in preview.get("properties", [])
    ]
    if preview.get("overflow"):
        parts.append("…")
    inside = ", ".join(parts)
    if listed:
        return f"[{inside}]"
    name = preview.get("description", "")
    return f"{{{inside}}}" if name == "Object" else f"{name} {{{inside}}}" if inside else str(name)


def where(stack: dict[str, Any] | None) -> tuple[str, int]:
    frames = (stack or {}).get("callFrames") or [{}]
    return str(frames[0].get("url", ""))[:TEXT_CHARACTERS], int(frames[0].get("lineNumber", -1)) + 1

"""Turns a create request into a `SessionSpec`: resolves the device, applies defaults and limits. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import langcodes

from browser_sessions.api.dependencies import ApiOptions
from browser_sessions.api.models.create_body import CreateBrowserSession, ProxyBody
from browser_sessions.domain.errors import InvalidField
from browser_sessions.domain.session_spec import Proxy, SessionSpec
from browser_sessions.egress.upstream import InvalidProxy, Upstream

_SHARED_BY_CONTEXTS: Final = frozenset({"clipboard-read", "clipboard-write", "clipboard-sanitized-write"})
NEAR_NAMES: Final = 3
"""Device names suggested for a mistyped one."""


def resolve(asked: CreateBrowserSession, devices: Mapping[str, Mapping[str, Any]], options: ApiOptions) -> SessionSpec:
    """The caller's values override the device's, those override the defaults. Raises `InvalidField`.

    Without the client certificates, which take time to read.
    """
    values: dict[str, Any] = {}
    if asked.device is not None:
        values |= _device_values(asked.device, devices)
        values = {name: value for name, value in values.items() if name not in asked.model_fields_set}
    if "idle_timeout_seconds" not in asked.model_fields_set:
        values["idle_timeout_seconds"] = options.default_idle_timeout_seconds
    if "max_lifetime_seconds" not in asked.model_fields_set:
        values["max_lifetime_seconds"] = options.default_max_lifetime_seconds
    else:
        _check_lifetime(asked.max_lifetime_seconds, options.max_lifetime_seconds)
    if asked.locale is not None and not langcodes.tag_is_valid(asked.locale):
        raise InvalidField(("body", "locale"), "must be a language tag whose parts are registered, such as de-DE")
    if options.egress:
        _check_proxy(asked.proxy)
    else:
        _check_without_egress(asked)
    if asked.isolation != "browser":
        _check_permissions(asked.permissions)
    return asked.spec(**values)


def _check_proxy(proxy: ProxyBody | None) -> None:
    """Of the proxy that the egress proxy is to use."""
    if proxy is not None:
        try:
            Upstream.parse(Proxy(**proxy.model_dump()))
        except InvalidProxy as error:
            raise InvalidField(("body", "proxy", error.field), str(error)) from None


def _check_without_egress(asked: CreateBrowserSession) -> None:
    """Options that the egress proxy implements, which this server has off."""
    for name in ("egress", "max_traffic_bytes", "client_certificates"):
        if getattr(asked, name):
            raise InvalidField(("body", name), "must be left out: the egress proxy of this server is off")
    proxy = asked.proxy
    if proxy is not None and proxy.server.startswith("socks5") and (proxy.username or proxy.password):
        raise InvalidField(
            ("body", "proxy", "username"),
            "Chromium does not sign in at socks5 proxies: leave it and password out",
        )


def _check_permissions(permissions: Sequence[str]) -> None:
    """Chromium has one clipboard for all contexts of a browser: reading it reads other sessions' data."""
    if shared := _SHARED_BY_CONTEXTS & set(permissions):
        raise InvalidField(
            ("body", "permissions"),
            f"{', '.join(sorted(shared))}: sessions of one browser share its clipboard; use isolation: browser",
        )


def _device_values(name: str, devices: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The values of Playwright's device descriptor, by our names."""
    device = devices.get(name)
    if device is None:
        known = {known.lower(): known for known in devices}
        near = [known[match] for match in difflib.get_close_matches(name.lower(), known, NEAR_NAMES, 0.4)]
        hint = f"; near it are {', '.join(map(repr, near))}" if near else ", such as 'iPhone 15' or 'Pixel 7'"
        raise InvalidField(("body", "device"), f"must be a Playwright device name{hint}")
    return {
        "viewport_width": device["viewport"]["width"],
        "viewport_height": device["viewport"]["height"],
        "user_agent": device["user_agent"],
        "device_scale_factor": float(device["device_scale_factor"]),  # as the field is: 3 and 3.0 are one value
        "is_mobile": device["is_mobile"],
        "has_touch": device["has_touch"],
    }


def _check_lifetime(asked: float | None, longest: float | None) -> None:
    if longest is None or (asked is not None and asked <= longest):
        return
    raise InvalidField(
        ("body", "max_lifetime_seconds"),
        f"must be at most {longest:g} on this server" + ("; null is not allowed here" if asked is None else ""),
    )

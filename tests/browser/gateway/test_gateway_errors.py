"""Parameters that are missing or of a wrong type get the same error through the gateway as from a bare Chromium."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from browser_sessions.gateway.policy.command_policy import HANDLERS
from browser_sessions.gateway.policy.method_table import METHODS, RULES, Level, Verdict
from browser_sessions.gateway.policy.parameter_bounds import BOUNDS
from browser_sessions.gateway.policy.parameter_types import PARAMETERS
from tests.harness.bare_chromium import bare_chromium
from tests.harness.clients.raw_cdp import Raw, raw
from tests.harness.service import Running

pytestmark = pytest.mark.browser

VALUES: Final[tuple[Any, ...]] = (None, 5, -1, 1.5, "x", True, [], [5], {})
FITTING: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "binary": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "any": (object,),
}
FILLERS: Final[dict[str, Any]] = {
    "string": "x",
    "binary": "AAAA",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "any": 1,
}
READ: Final = HANDLERS.keys() | BOUNDS.keys() | PARAMETERS.keys()
"""Methods whose parameters the gateway reads."""

INSIDE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("Target.getTargets", {"filter": [5]}),
    ("Target.getTargets", {"filter": [{"type": 5}]}),
    ("Target.getTargets", {"filter": [{}, {"exclude": None}]}),
    ("Target.setDiscoverTargets", {"discover": True, "filter": [{"type": "page", "exclude": 1}]}),
    ("Browser.getWindowBounds", {"windowId": 2**31}),
    ("Browser.setWindowBounds", {"windowId": -(2**31) - 1, "bounds": {}}),
    ("Browser.setWindowBounds", {"windowId": 1, "bounds": []}),
    ("Browser.grantPermissions", {"permissions": ["midi", 5]}),
    ("Browser.setPermission", {"permission": {}, "setting": "granted"}),
    ("Browser.setPermission", {"permission": {"name": ["midi"]}, "setting": "granted"}),
    ("Browser.setPermission", {"permission": {"name": "midi", "sysex": "yes"}, "setting": "granted"}),
    ("Storage.setCookies", {"cookies": [{"name": 5}]}),
    ("Target.createBrowserContext", {"originsWithUniversalNetworkAccess": [5]}),
    # only right below a page
    ("Target.setAutoAttach", {"autoAttach": True, "waitForDebuggerOnStart": True}),
    ("Target.setAutoAttach", {"autoAttach": False, "waitForDebuggerOnStart": False, "flatten": False}),
    ("Browser.getWindowBounds", {"windowId": 999.0}),
    # what is no error
    ("Browser.getVersion", {"targetId": 5, "browserContextId": 5, "sessionId": 5, "unheardOf": 5}),
    ("Target.setDiscoverTargets", {"discover": False, "filter": []}),
)
"""At browser level: wrong values inside a parameter, and values at the edge."""


class Protocol:
    """Chromium's own description of its commands."""

    def __init__(self, domains: list[dict[str, Any]]) -> None:
        self._types = {f"{d['domain']}.{each['id']}": each for d in domains for each in d.get("types", [])}
        self._commands = {f"{d['domain']}.{each['name']}": each for d in domains for each in d.get("commands", [])}

    def wrong(self, method: str) -> Iterator[dict[str, Any]]:
        """Parameters of which exactly one is missing or of a wrong type; and no parameters at all."""
        domain = method.partition(".")[0]
        parameters = [self._resolved(domain, each) for each in self._commands[method].get("parameters", [])]
        valid = {each["name"]: self._valid(each) for each in parameters if not each.get("optional")}
        if valid:
            yield {}
        for name in valid:
            yield {key: value for key, value in valid.items() if key != name}
        for each in parameters:
            for value in VALUES:
                if not fits(value, each["type"]):
                    yield {**valid, each["name"]: value}

    def _resolved(self, domain: str, param: dict[str, Any]) -> dict[str, Any]:
        """The parameter with what its `$ref` says; objects know their domain, for their own fields."""
        ref = param.get("$ref")
        if ref is None:
            return {"domain": domain, **param}
        name = ref if "." in ref else f"{domain}.{ref}"
        return {"domain": name.partition(".")[0], **self._types[name], **param}

    def _valid(self, param: dict[str, Any]) -> Any:
        if param["name"] == "url":
            return "http://127.0.0.1:9/"
        if param["type"] == "object":
            fields = [self._resolved(param["domain"], each) for each in param.get("properties", [])]
            return {each["name"]: self._valid(each) for each in fields if not each.get("optional")}
        return param["enum"][0] if "enum" in param else FILLERS[param["type"]]


def fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind in ("boolean", "any")
    return isinstance(value, FITTING[kind])


def commands(protocol: Protocol, methods: Iterable[str]) -> Iterator[tuple[str, Level, dict[str, Any]]]:
    """Wrong commands of each method, at every level that it is allowed at."""
    for method in sorted(methods):
        for level in Level:
            rule = RULES.get((method, level))
            if rule is not None and (rule.verdict is not Verdict.REFUSE or rule.own_browser):
                yield from ((method, level, params) for params in protocol.wrong(method))
    yield from ((method, Level.BROWSER, params) for method, params in INSIDE)


async def outcome(client: Raw, method: str, params: dict[str, Any], session_id: str | None) -> object:
    """The error, without the byte position in `data`: Chromium does not get the client's own bytes."""
    error = (await client.ask(method, params, session_id)).get("error")
    return error and (error["code"], error["message"], error.get("data", "").partition(" at position ")[0])


@pytest.mark.parametrize(
    "methods", [READ, pytest.param(METHODS - READ, marks=pytest.mark.slow)], ids=["read", "others"]
)
async def test_wrong_parameters_get_a_bare_chromium_s_error(
    service: Running, tmp_path: Path, methods: Set[str]
) -> None:
    async with bare_chromium(tmp_path / "profile") as address:
        made = await service.create(isolation="browser")
        async with raw(made["connect_url"]) as ours, raw(address) as theirs, httpx.AsyncClient() as http:
            described = await http.get(f"http://{address.split('/')[2]}/json/protocol")
            (_, our_page), (_, their_page) = await ours.page(), await theirs.page()
            tried: set[str] = set()
            different = []
            for method, level, params in commands(Protocol(described.json()["domains"]), methods):
                at, there = (None, None) if level is Level.BROWSER else (our_page, their_page)
                outcomes = await outcome(ours, method, params, at), await outcome(theirs, method, params, there)
                tried.add(method)
                if outcomes[0] != outcomes[1]:
                    different.append((method, level, params, *outcomes))
            assert different == []
            assert len(tried) > 40, sorted(tried)

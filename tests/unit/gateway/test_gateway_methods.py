"""Every method of Chromium's protocol has a rule, every rule on parameters a handler, and the docs list them."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from browser_sessions.gateway.policy.command_policy import HANDLERS
from browser_sessions.gateway.policy.method_table import METHODS, RULES, Level, Verdict
from browser_sessions.gateway.policy.parameter_bounds import BOUNDS
from tests.harness.paths import ROOT

NAMES = (ROOT / "tests" / "data" / "cdp-methods-156.txt").read_text().split()


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gen_cdp_methods", ROOT / "scripts" / "gen_cdp_methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_method_of_chromium_156_has_been_reviewed() -> None:
    assert len(NAMES) == 674
    assert set(NAMES) == METHODS


def test_every_rule_on_parameters_has_a_handler() -> None:
    by_hand = {m for (m, _), rule in RULES.items() if rule.verdict not in (Verdict.PASS, Verdict.REFUSE)}
    assert by_hand <= set(HANDLERS) | set(BOUNDS)
    assert set(HANDLERS) | set(BOUNDS) <= METHODS


def test_every_rule_has_a_reason() -> None:
    assert [method for (method, _), rule in RULES.items() if not rule.reason.strip()] == []


def test_a_dedicated_browser_allows_only_the_named_domains() -> None:
    opened = {method.partition(".")[0] for (method, _), rule in RULES.items() if rule.own_browser}
    assert opened == {"Tracing", "Memory", "SystemInfo"}
    assert [m for (m, _), rule in RULES.items() if rule.own_browser and m.startswith("SystemInfo")] == [
        "SystemInfo.getInfo"
    ]


def test_only_the_methods_listed_here_are_allowed_at_browser_level() -> None:
    """A second list besides the tables, so that allowing a browser-level method takes two deliberate edits."""
    passing = {m for (m, level), r in RULES.items() if level is Level.BROWSER and r.verdict is not Verdict.REFUSE}
    assert passing == {
        "Browser.cancelDownload",
        "Browser.close",
        "Browser.getVersion",
        "Browser.getWindowBounds",
        "Browser.getWindowForTarget",
        "Browser.grantPermissions",
        "Browser.resetPermissions",
        "Browser.setContentsSize",
        "Browser.setDownloadBehavior",
        "Browser.setPermission",
        "Browser.setWindowBounds",
        "IO.close",
        "IO.read",
        "Schema.getDomains",
        "Storage.clearCookies",
        "Storage.getCookies",
        "Storage.setCookies",
        "Target.activateTarget",
        "Target.attachToBrowserTarget",
        "Target.attachToTarget",
        "Target.closeTarget",
        "Target.createBrowserContext",
        "Target.createTarget",
        "Target.detachFromTarget",
        "Target.disposeBrowserContext",
        "Target.getBrowserContexts",
        "Target.getTargetInfo",
        "Target.getTargets",
        "Target.setAutoAttach",
        "Target.setDiscoverTargets",
    }


def test_the_docs_match_the_tables(generator: ModuleType) -> None:
    assert (ROOT / "docs" / "cdp-methods.md").read_text() == generator.render(NAMES)


def test_a_method_that_was_not_reviewed_is_listed_as_refused(generator: ModuleType) -> None:
    assert "| `Page.brandNew` | refused | refused | not reviewed |" in generator.render(["Page.brandNew"])

"""The dashboard and the alert rules use existing metrics."""

from __future__ import annotations

import json
import re

import pytest

from browser_sessions.telemetry import Metrics
from tests.harness.paths import ROOT

DEPLOY = ROOT / "deploy"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-rules.yaml"])
def test_every_used_metric_exists(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    families = Metrics().registry.collect()
    known = {family.name + suffix for family in families for suffix in SUFFIXES.get(family.type, ())}
    used = set(re.findall(r"\bbrowser_sessions_[a-z_]+", text))
    assert len(used) > 5
    assert used - known == set()


NOT_SHOWN = {
    "browser_sessions_browser_contexts",
    "browser_sessions_browsers_retired",
    "browser_sessions_process_max_fds",
    "browser_sessions_process_start_time_seconds",
    "browser_sessions_process_virtual_memory_bytes",
}


def test_the_dashboard_shows_every_metric_but_a_few() -> None:
    text = (DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8")
    assert {family.name for family in Metrics().registry.collect() if family.name not in text} == NOT_SHOWN


def test_every_panel_of_the_dashboard_has_a_query() -> None:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    assert all(panel["targets"][0]["expr"] for panel in dashboard["panels"])

"""The dashboard and the alert rules ask for metrics that there are."""

from __future__ import annotations

import json
import re

import pytest

from browser_sessions.telemetry import Metrics
from tests.harness.paths import ROOT

DEPLOY = ROOT / "deploy"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-rules.yaml"])
def test_every_metric_that_is_asked_for_exists(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    families = Metrics().registry.collect()
    known = {family.name + suffix for family in families for suffix in SUFFIXES.get(family.type, ())}
    asked = set(re.findall(r"\bbrowser_sessions_[a-z_]+", text))
    assert len(asked) > 5
    assert asked - known == set()


def test_the_dashboard_is_json_with_panels_that_each_ask_for_something() -> None:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    assert all(panel["targets"][0]["expr"] for panel in dashboard["panels"])

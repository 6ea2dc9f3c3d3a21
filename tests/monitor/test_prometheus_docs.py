"""The page about metrics, the alert rules and the dashboard speak of metrics that exist."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from netconsd.monitor.prometheus import registry
from netconsd.settings import Settings
from tests.monitor.test_prometheus import full

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "metrics.rst").read_text()
ALERTS = yaml.safe_load((DOCS / "prometheus/alerts.yml").read_text())
DASHBOARD = json.loads((DOCS / "grafana/netconsd.json").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]

METRIC = re.compile(r"\b(?:netconsd|process)_[a-z_]+")


def existing() -> set[str]:
    """The names of all series that the daemon shows."""
    page = generate_latest(registry(full, Settings())).decode()
    return {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}


def test_every_metric_is_on_the_page() -> None:
    """docs/metrics has each of ours, and no other."""
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in existing() if name.startswith("netconsd_")}
    listed = set(re.findall(r"^`(netconsd_[a-z_]+)`", PAGE, re.MULTILINE))
    assert listed == ours


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule(rule: dict[str, Any]) -> None:
    """It speaks of metrics that exist, has a severity and a summary, and the page explains it."""
    names = METRIC.findall(rule["expr"])
    assert set(names) <= existing()
    assert names or rule["expr"].startswith("up{")
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert "{{ $labels.instance }}" in rule["annotations"]["summary"]
    assert re.search(rf"^`{rule['alert']}`\n   [A-Z]", PAGE, re.MULTILINE)


def test_the_page_explains_no_other_rule() -> None:
    """Every rule on the page is in the file, in its order."""
    assert re.findall(r"^`(Netconsd[A-Za-z]+)`$", PAGE, re.MULTILINE) == [rule["alert"] for rule in RULES]


@pytest.mark.parametrize(
    "panel", [panel for panel in PANELS if panel["type"] != "row"], ids=lambda panel: str(panel["title"])
)
def test_a_panel(panel: dict[str, Any]) -> None:
    """It shows metrics that exist, of the instances chosen, and says what they are."""
    assert panel["description"].endswith(".")
    for target in panel["targets"]:
        names = METRIC.findall(target["expr"])
        assert names
        assert set(names) <= existing()
        assert target["expr"].count("instance=~") == len(names)
        assert target["legendFormat"]


def test_the_dashboard_is_whole() -> None:
    """Every panel has a number and a place of its own, and the data source is asked for."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert {variable["type"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "query"}


def test_what_may_be_lost_is_on_the_dashboard_and_alerted() -> None:
    """Whatever is dropped by us, or by the kernel in front of us, is both shown and alerted."""
    shown = {name for panel in PANELS for target in panel.get("targets", ()) for name in METRIC.findall(target["expr"])}
    alerted = {name for rule in RULES for name in METRIC.findall(rule["expr"])}
    dropped = (
        "dropped_by_kernel_datagrams",
        "dropped_queue_full_datagrams",
        "dropped_error_datagrams",
        "dropped_read_error_datagrams",
    )
    for what in (*dropped, "lost_messages", "module_errors", "module_lost_messages", "read_errors"):
        assert f"netconsd_{what}_total" in shown & alerted
    # What somebody asked to be dropped is shown, and alerts nobody.
    assert {
        "netconsd_dropped_not_allowed_datagrams_total",
        "netconsd_dropped_over_rate_datagrams_total",
    } <= shown - alerted

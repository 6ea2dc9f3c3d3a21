"""The alert rules and the dashboard use metrics that exist, and docs/metrics explains the rules."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from modules.store import Store
from netconsd.monitor.prometheus import SnapshotCollector, registry
from netconsd.monitor.snapshot import OwnSnapshot, Snapshot
from netconsd.settings import Settings
from tests.support.snapshots import full_snapshot

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "metrics.rst").read_text()
ALERTS = yaml.safe_load((DOCS / "prometheus/alerts.yml").read_text())
DASHBOARD = json.loads((DOCS / "grafana/netconsd.json").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]

METRIC = re.compile(r"\b(?:netconsd|process)_[a-z_]+")


def with_store() -> Snapshot:
    """A snapshot with the numbers of the module store."""
    metrics = tuple(metric._replace(value=1) for metric in Store(directory=Path("/unused")).metrics())
    return replace(full_snapshot(), own=(OwnSnapshot("store", metrics),))


def existing() -> set[str]:
    """The names of all series of a page."""
    page = generate_latest(registry(with_store, Settings())).decode()
    return {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule(rule: dict[str, Any]) -> None:
    """Its metrics exist, and it has a severity and a summary with the instance."""
    names = METRIC.findall(rule["expr"])
    assert set(names) <= existing()
    assert names or rule["expr"].startswith("up{")
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert "{{ $labels.instance }}" in rule["annotations"]["summary"]


def test_the_page_has_every_metric_of_modules_own() -> None:
    """docs/metrics has the faults and the metrics of the store, with their help."""
    own = {family.name: family for family in SnapshotCollector(with_store, Settings()).collect()}
    without = {family.name for family in SnapshotCollector(full_snapshot, Settings()).collect()}
    words = " ".join(PAGE.split())
    assert len(own) - len(without) == 11
    for name in own.keys() - without:
        total = "_total" if own[name].type == "counter" else ""
        assert f"`{name}{total}` {own[name].documentation.rstrip('.')} " in words


def test_the_page_explains_every_rule() -> None:
    """docs/metrics has the rules of the file, in its order."""
    assert re.findall(r"^`(Netconsd[A-Za-z]+)` +\S", PAGE, re.MULTILINE) == [rule["alert"] for rule in RULES]


@pytest.mark.parametrize(
    "panel", [panel for panel in PANELS if panel["type"] != "row"], ids=lambda panel: str(panel["title"])
)
def test_a_panel(panel: dict[str, Any]) -> None:
    """Its metrics exist and are filtered by instance, and it has a description."""
    assert panel["description"].endswith(".")
    for target in panel["targets"]:
        names = METRIC.findall(target["expr"])
        assert names
        assert set(names) <= existing()
        assert target["expr"].count("instance=~") == len(names)
        assert target["legendFormat"]


def test_the_panels_of_the_dashboard() -> None:
    """Each panel has its own number and place, and Grafana asks for the data source."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert {variable["type"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "query"}


def test_every_loss_is_on_the_dashboard_and_has_an_alert() -> None:
    """Drops by netconsd and by the kernel are on the dashboard and have an alert."""
    shown = {name for panel in PANELS for target in panel.get("targets", ()) for name in METRIC.findall(target["expr"])}
    alerted = {name for rule in RULES for name in METRIC.findall(rule["expr"])}
    dropped = (
        "dropped_by_kernel_datagrams",
        "dropped_queue_full_datagrams",
        "dropped_error_datagrams",
        "dropped_read_error_datagrams",
        "dropped_over_rate_datagrams",
    )
    for metric in (*dropped, "lost_messages", "module_errors", "module_lost_messages", "read_errors"):
        assert f"netconsd_{metric}_total" in shown & alerted
    # Strangers are on the dashboard only.
    assert "netconsd_dropped_not_allowed_datagrams_total" in shown - alerted

"""docs/counters and docs/metrics have the counters and metrics of the code, with the same words."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import InfoMetricFamily

from netconsd.monitor.prometheus import SnapshotCollector
from netconsd.monitor.snapshot import MODULE_COUNTERS
from netconsd.protocol.counters import (
    ACK_COUNTERS,
    CRASH_COUNTERS,
    LISTENER_COUNTERS,
    QUEUE_COUNTERS,
    RECEIVER_COUNTERS,
    SENDER_COUNTERS,
    WORKER_COUNTERS,
    Counter,
)
from netconsd.settings import Settings
from netconsd.streams.copies import Heard, Summary
from tests.support.snapshots import full_snapshot

#: The counters are in docs/counters.
RECEIVERS = tuple(f"netconsd_{row.metric}" for row in RECEIVER_COUNTERS)
DOCS = Path(__file__).parents[2] / "docs"


def table(widths: Sequence[int], rows: Sequence[Sequence[str]]) -> str:
    """A table of a page, with its last column wrapped."""
    border = "  ".join("=" * width for width in widths)
    lines = [border]
    for *cells, text in rows:
        columns = [*([cell] for cell in cells), textwrap.wrap(text, widths[-1])]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in zip_longest(*columns, fillvalue="")
        ]
    return "\n".join([*lines, border]) + "\n"


def check(page: str, expected: str) -> None:
    """Fail with the table to paste into a page that does not have it."""
    text = (DOCS / page).read_text()
    # Compared without the widths of columns: Sphinx checks the layout.
    assert " ".join(expected.split()) in " ".join(text.split()), f"docs/{page} lacks this table:\n\n{expected}"


@pytest.mark.parametrize(
    "counters",
    [
        LISTENER_COUNTERS,
        QUEUE_COUNTERS,
        WORKER_COUNTERS,
        ACK_COUNTERS,
        CRASH_COUNTERS,
        MODULE_COUNTERS,
        RECEIVER_COUNTERS,
    ],
    ids=["listener", "queue", "worker", "acks", "crash", "module", "receiver"],
)
def test_every_counter_is_documented(counters: Sequence[Counter]) -> None:
    """docs/counters has each counter with its metric and its help."""
    prefix = {id(ACK_COUNTERS): "acks_", id(CRASH_COUNTERS): "crash_"}.get(id(counters), "")
    rows = [(f"`{prefix}{row.name}`", f"`netconsd_{row.metric}_total`", row.help.rstrip(".")) for row in counters]
    # The names of modules' metrics are the longest.
    widths = (22, 53, 41) if counters is MODULE_COUNTERS else (26, 46, 44)
    check("counters.rst", table(widths, rows))


def test_the_counters_of_a_sender_are_documented() -> None:
    """docs/counters lists the counters of a single sender."""
    senders = (DOCS / "counters.rst").read_text().partition("\nSenders\n-------\n")[2]
    assert re.findall(r"`(\w+)`", senders.split("\n\n")[1]) == list(SENDER_COUNTERS)


def test_every_other_metric_is_documented() -> None:
    """docs/metrics has each gauge and histogram with its help."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(full_snapshot, Settings()))
    families = [family for family in registry.collect() if family.type != "counter"]
    rows = [
        (f"`{family.name}{'_info' * isinstance(family, InfoMetricFamily)}`", family.documentation.rstrip("."))
        for family in families
    ]
    check("metrics.rst", table((38, 80), rows))


def test_the_metrics_of_receivers_are_documented() -> None:
    """docs/metrics has the metrics of a processor that merges receivers, with their help."""
    summary = Summary([Heard(b"A" * 16)], 1, 2, 3, 4, 5, [])
    without = {family.name for family in SnapshotCollector(full_snapshot, Settings()).collect()}
    merging = replace(full_snapshot(), copies=summary)
    families = list(SnapshotCollector(lambda: merging, Settings()).collect())
    rows = [
        (f"`{family.name}{'_total' * (family.type == 'counter')}`", family.documentation.rstrip("."))
        for family in families
        if family.name not in without and not family.name.startswith(RECEIVERS)
    ]
    check("metrics.rst", table((50, 68), rows))

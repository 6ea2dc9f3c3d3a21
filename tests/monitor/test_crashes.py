"""The counts of crash reports and events: bounded labels, new titles, the last reports, the page."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from prometheus_client import generate_latest

from netconsd.crash.event import EVENTS
from netconsd.monitor.crashes import LAST_REPORTS, TITLES_LIMIT, Crashes
from netconsd.monitor.pages import _last_reports
from netconsd.monitor.prometheus import registry
from netconsd.settings import Settings
from netconsd.testing import crash_report, event
from tests.support.snapshots import full_snapshot


def test_counts() -> None:
    """Reports by kind and severity, those that were fatal, and events by kind, each of which begins at 0."""
    crashes = Crashes()
    crashes.note([crash_report(), event("silent"), crash_report(fatal=True, severity="dead")])
    snapshot = crashes.snapshot()
    assert snapshot.reports == {("memory-fault", "degraded"): 1, ("memory-fault", "dead"): 1}
    assert snapshot.events == dict.fromkeys(EVENTS, 0) | {"silent": 1}
    assert snapshot.fatal == 1


def test_a_word_of_no_set_is_no_label() -> None:
    """Anything else is counted as ``other``, so that no text becomes a label."""
    crashes = Crashes()
    crashes.note([crash_report(kind="x" * 100, severity="y"), event("z")])
    assert crashes.snapshot().reports == {("other", "other"): 1}
    assert crashes.snapshot().events["other"] == 1


def test_new_titles() -> None:
    """A title is new once, and not if an alternative was seen; an incomplete report is never new."""
    crashes = Crashes()
    crashes.note([crash_report("incomplete", incomplete="lines are missing")])
    assert crashes.snapshot().new_titles == 0
    crashes.note([crash_report("a", alternatives=("x",)), crash_report("a"), crash_report("b", alternatives=("x",))])
    assert crashes.snapshot().new_titles == 1
    crashes.note([crash_report("b"), crash_report("incomplete")])
    assert crashes.snapshot().new_titles == 2
    assert [report.new for report in crashes.last()] == [True, False, False, False, True, False]


def test_titles_are_bounded() -> None:
    """The one that was not seen for longest is forgotten, and is new if it comes again."""
    crashes = Crashes()
    report = crash_report()
    crashes.note([replace(report, title=str(number)) for number in range(TITLES_LIMIT)])
    crashes.note([replace(report, title="0"), replace(report, title="further")])
    new = crashes.snapshot().new_titles
    crashes.note([replace(report, title="0")])
    assert crashes.snapshot().new_titles == new
    crashes.note([replace(report, title="1")])
    assert crashes.snapshot().new_titles == new + 1


def test_the_last_reports() -> None:
    """The newest is first, with the name of its sender; they are bounded."""
    asked: list[Any] = []

    def name_of(address: str, port: int, now: float) -> str:
        asked.append((address, port, now))
        return "web01"

    crashes = Crashes(name_of)
    crashes.note([crash_report(str(number), received_at=5.0) for number in range(LAST_REPORTS + 3)])
    last = crashes.last()
    assert [report.title for report in last] == [str(number) for number in range(LAST_REPORTS + 2, 2, -1)]
    assert (last[0].name, last[0].address, last[0].port) == ("web01", "192.0.2.1", 6665)
    assert asked[0] == ("192.0.2.1", 6665, 5.0)


def test_the_page() -> None:
    """/crashes is a JSON list, empty without reports."""
    crashes = Crashes()
    assert json.loads(_last_reports(crashes.last()).body) == []
    crashes.note([crash_report('a "title"')])
    (shown,) = json.loads(_last_reports(crashes.last()).body)
    assert (shown["title"], shown["kind"], shown["new"]) == ('a "title"', "memory-fault", True)


def test_the_metrics() -> None:
    """The counts have their metrics; those for the alerts are there before the first report."""
    crashes = Crashes()
    page = generate_latest(registry(lambda: replace(full_snapshot(), crashes=crashes.snapshot()), Settings())).decode()
    assert "\nnetconsd_fatal_crash_reports_total 0.0\n" in page
    assert "\nnetconsd_new_crash_titles_total 0.0\n" in page
    crashes.note([crash_report(fatal=True), event("booted")])
    page = generate_latest(registry(lambda: replace(full_snapshot(), crashes=crashes.snapshot()), Settings())).decode()
    assert '\nnetconsd_crash_reports_total{kind="memory-fault",severity="degraded"} 1.0\n' in page
    assert '\nnetconsd_events_total{kind="booted"} 1.0\n' in page
    assert "\nnetconsd_new_crash_titles_total 1.0\n" in page

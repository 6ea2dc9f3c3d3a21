"""The line of statistics."""

from __future__ import annotations

import pytest

from netconsd.logger import statistics as linestats
from netconsd.logger.statistics import LineTally, Report
from netconsd.testing import extended_message


def test_the_line() -> None:
    """It says what came in since the last one, how many per second, from how many hosts, and the sums."""
    counters = [LineTally(), LineTally()]
    lost = [0]
    report = Report(counters, lambda: lost[0], 100.0)
    counters[0].note([extended_message("a"), extended_message("b", port=7), extended_message("c", address="192.0.2.2")])
    counters[1].note([extended_message("d", address="2001:db8::1")] * 9)
    counters[1].dropped = 4
    lost[0] = 1
    assert report.line(160.0) == (
        "in 60 s: 12 received from 3 hosts (0.2 per second), 4 dropped, 1 lost; "
        "since the start: 12 received, 4 dropped, 1 lost"
    )
    counters[0].note([extended_message("e")] * 6)
    assert report.line(190.0) == (
        "in 30 s: 6 received from 1 hosts (0.2 per second), 0 dropped, 0 lost; "
        "since the start: 18 received, 4 dropped, 1 lost"
    )
    assert report.line(190.0).startswith("in 0 s: 0 received from 0 hosts (0.0 per second)")


def test_forged_hosts_cost_no_more_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses somebody forges, so many are counted, and the line says that there may be more."""
    assert linestats.HOSTS_LIMIT == 65536
    monkeypatch.setattr(linestats, "HOSTS_LIMIT", 10)
    counters = LineTally()
    report = Report([counters], lambda: 0, 0.0)
    for host in range(30):
        counters.note([extended_message("x", address=f"10.0.0.{host}")])
    assert len(counters.hosts) == 10
    assert "30 received from 10 or more hosts" in report.line(60.0)
    counters.note([extended_message("x")])
    assert "1 received from 1 hosts" in report.line(120.0)

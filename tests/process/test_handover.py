"""Crash reports of machines that another processor had a moment before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netconsd.crash.recogniser import SILENCE
from netconsd.crash.watch import watches
from netconsd.crashes import Report
from netconsd.message import Message, Source
from netconsd.process.handover import GIVEN_AWAY, TAKEN_OVER, Handovers
from netconsd.testing import crash_report, extended_message


class ScriptedLane:
    """Keeps whose reports were to be ended."""

    def __init__(self) -> None:
        self.abandoned: list[tuple[Callable[[Source], bool], str]] = []

    def abandon(self, whose: Callable[[Source], bool], why: str) -> None:
        self.abandoned.append((whose, why))


def test_a_report_soon_after_is_marked() -> None:
    """A report that begins within SILENCE of the partition's first message has a reason; others are unchanged."""
    handovers = Handovers()
    report = replace(crash_report(), incomplete=None)
    handovers.heard(0, report.received_at - SILENCE)
    handovers.heard(0, report.received_at + 1000)
    assert [item.incomplete for item in handovers.marked([report, "event"])[:1]] == [TAKEN_OVER]
    assert handovers.marked([report, "event"])[1] == "event"
    later = replace(report, received_at=report.received_at + 0.1)
    other = replace(report, incomplete="another reason")
    assert handovers.marked([later, other]) == [later, other]


def test_a_partition_that_is_new_is_marked_again() -> None:
    """After a partition was given away and taken again, its reports are marked again."""
    handovers = Handovers()
    lane: Any = ScriptedLane()
    report = replace(crash_report(), incomplete=None)
    handovers.heard(0, report.received_at - 100)
    assert handovers.marked([report]) == [report]
    handovers.ended(0, lane)
    handovers.heard(0, report.received_at)
    assert handovers.marked([report])[0].incomplete == TAKEN_OVER
    ((whose, why),) = lane.abandoned
    assert report.source is not None
    assert (whose(report.source), why) == (True, GIVEN_AWAY)


def test_open_reports_end() -> None:
    """A watch that gives some senders away ends their open reports as incomplete, and continues with the others."""

    def failed() -> None:
        raise AssertionError

    def lines(address: str) -> list[Message]:
        texts = ("BUG: kernel NULL pointer dereference, address: 0000000000000000", "#PF: supervisor read access")
        return [
            extended_message(text, seq=seq, ts_usec=seq, address=address, level=1) for seq, text in enumerate(texts)
        ]

    watch = watches(True, False, failed)()
    assert watch.look(lines("192.0.2.1") + lines("192.0.2.2"), 1.0) == []
    assert watch.open_reports == 2
    found = watch.abandon(lambda source: source.address == "192.0.2.1", GIVEN_AWAY)
    (report,) = found
    assert isinstance(report, Report)
    assert report.source is not None
    assert (report.source.address, report.incomplete) == ("192.0.2.1", GIVEN_AWAY)
    assert watch.open_reports == 1

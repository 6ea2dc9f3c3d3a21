"""Crash reports of machines that another processor had a moment before.

A processor that takes a partition over knows nothing of what the machines said before. The first lines of a crash may
have been the other's; then the rest looks like a crash of its own, or like a lesser one.

1. A report that begins within :data:`netconsd.crash.recogniser.SILENCE` seconds after the first message of its
   partition, which is the longest pause between two lines of one report, is incomplete with a reason, unless it is
   already.
2. A partition that is given away ends its open reports, as incomplete with a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from netconsd.crash.recogniser import SILENCE
from netconsd.crash.report import Report
from netconsd.protocol.message import Source
from netconsd.receive.lanes import Lane
from netconsd.streams.lines import partition_of

#: The reasons of rules 1 and 2, for :attr:`netconsd.crash.report.Report.incomplete`.
TAKEN_OVER: Final = "this processor had just taken the machine over, and does not know what it said before"
GIVEN_AWAY: Final = "another processor has taken the machine over"


class Handovers:
    """The partitions that were taken over a moment ago.

    :meth:`heard` and :meth:`ended` are for the broker's thread, :meth:`marked` for the lanes'.
    """

    def __init__(self, count: Callable[[], int] = lambda: 1) -> None:
        """:param count: returns the number of partitions, at least 1."""
        self.count = count
        # By partition, the end of the time of rule 1, in Unix seconds of the receivers.
        self._unsure: dict[int, float] = {}

    def heard(self, partition: int, received_at: float) -> None:
        """Note the first message of a partition; later ones have no effect."""
        if partition not in self._unsure:
            self._unsure[partition] = received_at + SILENCE

    def ended(self, partition: int, lane: Lane) -> None:
        """End the open reports of a partition that was given away."""
        self._unsure.pop(partition, None)
        lane.abandon(lambda source: self.partition_of(source) == partition, GIVEN_AWAY)

    def partition_of(self, source: Source) -> int:
        """Return the partition of a machine."""
        return partition_of(source.address, self.count())

    def marked(self, found: list[Any]) -> list[Any]:
        """Return what a watcher found, with the reports of rule 1 marked."""
        return [self._marked(item) if isinstance(item, Report) else item for item in found]

    def _marked(self, report: Report) -> Report:
        if report.incomplete is not None or report.source is None:
            return report
        until = self._unsure.get(self.partition_of(report.source))
        if until is None or report.received_at > until:
            return report
        return replace(report, incomplete=TAKEN_OVER)

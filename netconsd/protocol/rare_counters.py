"""The counters of one sender that few senders have.

A million senders that send in order have none of these, and need no memory for them.
"""

from __future__ import annotations


class RareCounters:
    """Counters of :data:`~netconsd.protocol.counters.SENDER_COUNTERS`, all 0; allocated when the first is counted."""

    __slots__ = ("boots", "dropped_duplicate", "dropped_over_rate", "incomplete", "late", "likely_lost", "replays")

    def __init__(self) -> None:
        self.boots = 0
        self.dropped_duplicate = 0
        self.dropped_over_rate = 0
        self.incomplete = 0
        self.late = 0
        self.likely_lost = 0
        self.replays = 0

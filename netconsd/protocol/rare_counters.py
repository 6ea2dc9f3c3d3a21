"""What is counted of one sender beyond what every sender has: made with the first of it, and counted twice.

A million senders that send in order have none of it, and so no memory for it.
"""

from __future__ import annotations

from netconsd.protocol.counters import WorkerCounters

__all__ = ["RareCounters"]


class RareCounters:
    """A part of the counters of :class:`~netconsd.protocol.counters.WorkerCounters`, of one sender; each method counts
    there as well."""

    __slots__ = (
        *(
            "_counters",
            "released_early",
            "dropped_duplicate",
            "dropped_empty",
            "fragments",
            "incomplete",
            "late",
            "dropped_over_rate",
            "malformed",
        ),
        *("reassembled", "replayed", "resets", "dropped_superseded"),
    )

    def __init__(self, counters: WorkerCounters) -> None:
        self._counters = counters
        self.released_early = 0
        self.dropped_duplicate = 0
        self.dropped_empty = 0
        self.fragments = 0
        self.incomplete = 0
        self.late = 0
        self.dropped_over_rate = 0
        self.malformed = 0
        self.reassembled = 0
        self.replayed = 0
        self.resets = 0
        self.dropped_superseded = 0

    def count_released_early(self) -> None:
        self._counters.released_early += 1
        self.released_early += 1

    def count_dropped_duplicate(self) -> None:
        self._counters.dropped_duplicate += 1
        self.dropped_duplicate += 1

    def count_dropped_empty(self) -> None:
        self._counters.dropped_empty += 1
        self.dropped_empty += 1

    def count_fragment(self) -> None:
        self._counters.fragments += 1
        self.fragments += 1

    def count_incomplete(self) -> None:
        self._counters.incomplete += 1
        self.incomplete += 1

    def count_late(self) -> None:
        self._counters.late += 1
        self.late += 1

    def count_dropped_over_rate(self) -> None:
        self._counters.dropped_over_rate += 1
        self.dropped_over_rate += 1

    def count_malformed(self) -> None:
        self._counters.malformed += 1
        self.malformed += 1

    def count_reassembled(self) -> None:
        self._counters.reassembled += 1
        self.reassembled += 1

    def count_replayed(self) -> None:
        self._counters.replayed += 1
        self.replayed += 1

    def count_reset(self) -> None:
        self._counters.resets += 1
        self.resets += 1

    def count_dropped_superseded(self) -> None:
        self._counters.dropped_superseded += 1
        self.dropped_superseded += 1

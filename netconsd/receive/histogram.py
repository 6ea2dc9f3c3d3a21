"""A histogram with fixed bounds: it keeps a few numbers, however many values it counts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts each value once, under the first bound that the value does not exceed.

    One thread observes; any thread may copy. A copy made during an observation can have a value in ``counts`` that is
    not in ``sum`` yet.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        """:param bounds: in ascending order; values above the last bound have a count of their own."""
        self.bounds = tuple(bounds)
        #: One count per bound, and one for the values above all bounds.
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value ``times`` times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def copy(self) -> Histogram:
        """Return a copy that later observations do not change."""
        copied = Histogram(self.bounds)
        copied.sum = self.sum
        copied.counts = self.counts.copy()
        return copied

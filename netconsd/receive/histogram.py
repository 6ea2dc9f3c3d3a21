"""How often a value lay between fixed bounds: few numbers, however many values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts values by the first bound that they do not exceed.

    One thread observes; any thread may copy. A copy made meanwhile can have a value in ``counts`` that is not in
    ``sum`` yet.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """
        :param bounds: ascending; what is above the last one is counted as well.
        """
        self.bounds = tuple(bounds)
        #: One for each bound, and one for what is above them all.
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, as often as that."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def copy(self) -> Histogram:
        """What it is now, and stays."""
        copied = Histogram(self.bounds)
        copied.sum = self.sum
        copied.counts = self.counts.copy()
        return copied

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

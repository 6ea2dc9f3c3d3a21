"""The time without progress of something that has work. Pure: the time is an argument."""

from __future__ import annotations

# A module that has had messages and made no progress for this time hangs: disks and networks rarely stall for longer.
HANGING_SECONDS = 10.0


class Progress:
    """The seconds since a count last changed, by looking at it now and then.

    A change is noticed at the next look, so the result may be too small by the time between two looks. For one thread.
    """

    __slots__ = ("_done", "_since")

    def __init__(self) -> None:
        self._done = -1
        self._since = 0.0

    def look(self, done: int, has_work: bool, now: float) -> float:
        """Return the seconds without progress; 0 without work.

        :param done: a count that changes with each progress.
        :param has_work: whether there is something to do. The time counts from the first look that saw it.
        :param now: monotonic seconds.
        """
        if not has_work:
            self._done = -1
            return 0.0
        if done != self._done:
            self._done, self._since = done, now
        return now - self._since

"""Says in the log that datagrams are being lost, and when that is over. Pure: time and log are arguments."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

__all__ = ["TELL_SECONDS", "Overload"]

# An overload must not fill the log. So it is told at most once in so many seconds; and when nothing was lost for as
# long, it is over.
TELL_SECONDS = 60.0

Counts = Sequence[int]


class Overload:
    """Tells, of what it is shown now and then: the beginning at once, then what goes on once a minute, and the end."""

    def __init__(self, log: Logger, dropped: Counts, shed: Counts) -> None:
        """
        :param dropped: what the kernel has dropped of each listener so far.
        :param shed: what has found the queue of each worker full so far.
        """
        self._log = log
        self._seen = self._told = self._before = (tuple(dropped), tuple(shed))
        self._lost_at = self._told_at = float("-inf")
        self._began_at: float | None = None

    def look(self, dropped: Counts, shed: Counts, now: float) -> None:
        """Compare with what was there before, and tell what is to be told.

        :param now: monotonic seconds.
        """
        counts = (tuple(dropped), tuple(shed))
        if counts != self._seen:
            self._seen = counts
            self._lost_at = now
            if self._began_at is None:
                self._began_at = now
        if counts != self._told and now - self._told_at >= TELL_SECONDS:
            self._warn(counts)
            self._told = counts
            self._told_at = now
        elif self._began_at is not None and now - self._lost_at >= TELL_SECONDS:
            self._log.info(
                "No datagram has been lost for {quiet:.0f} seconds; {count} were in the {seconds:.0f} seconds before",
                quiet=TELL_SECONDS,
                count=_sum(counts) - _sum(self._before),
                seconds=self._lost_at - self._began_at + 1,
            )
            self._before = counts
            self._began_at = None

    def _warn(self, counts: tuple[Counts, Counts]) -> None:
        dropped, listeners = _growth(self._told[0], counts[0])
        shed, workers = _growth(self._told[1], counts[1])
        parts = []
        if dropped:
            parts.append(
                f"the kernel dropped {dropped} at listener {listeners}, because the receive buffer was full "
                "(see --rcvbuf and --listeners) or their checksum wrong"
            )
        if shed:
            parts.append(
                f"{shed} found the queue of worker {workers} full, because a module is too slow for them: see --queue, "
                "--workers and --rate"
            )
        self._log.warn("Datagrams are being lost: {parts}", parts="; ".join(parts))


def _growth(before: Counts, after: Counts) -> tuple[int, str]:
    """By how much the counts have grown, and which of them."""
    grown = [new - old for old, new in zip(before, after, strict=True)]
    return sum(grown), ", ".join(str(number) for number, count in enumerate(grown) if count)


def _sum(counts: tuple[Counts, Counts]) -> int:
    return sum(counts[0]) + sum(counts[1])

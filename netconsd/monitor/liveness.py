"""Whether the workers get on with their work, as a watchdog asks. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

__all__ = ["Liveness", "status"]


class Lane(Protocol):
    """What of :class:`netconsd.receive.lanes.Lane` is used here."""

    number: int
    running: bool
    counters: Any

    @property
    def backlog(self) -> int:
        """Places of the queue that are taken, the batch in hand included."""

    @property
    def waiting(self) -> int:
        """Datagrams of the queue that were not looked at."""

    @property
    def senders(self) -> int:
        """Senders remembered."""


class Liveness:
    """Remembers when each worker was last seen to get on."""

    def __init__(self, timelimit: float) -> None:
        """
        :param timelimit: seconds without any progress after which a worker that has work counts as hanging. A worker
            hands out up to some thousand messages at a time, and only then is there progress to be seen.
        """
        self._timelimit = timelimit
        # By the number of a worker that has work: what it had done, and when that was first seen.
        self._seen: dict[int, tuple[int, float]] = {}

    def hanging(self, lanes: Iterable[Lane], now: float) -> list[int]:
        """The numbers of the workers whose thread has ended, or that have had work and not got on for too long.

        :param now: monotonic seconds.
        """
        return [lane.number for lane in lanes if not lane.running or self._stands_still(lane, now)]

    def _stands_still(self, lane: Lane, now: float) -> bool:
        if not lane.backlog:
            self._seen.pop(lane.number, None)
            return False
        done = int(lane.counters.datagrams)
        before, since = self._seen.get(lane.number, (-1, now))
        if done != before:
            self._seen[lane.number] = done, now
            return False
        return now - since >= self._timelimit


def status(lanes: Sequence[Lane], hanging: Sequence[int] = ()) -> str:
    """One line for whoever asks how the daemon is."""
    messages = sum(int(lane.counters.messages) for lane in lanes)
    line = (
        f"{messages} messages so far; {sum(lane.senders for lane in lanes)} senders; "
        f"{sum(lane.waiting for lane in lanes)} datagrams waiting"
    )
    if hanging:
        names = ", ".join(map(str, hanging))
        line = f"Worker {names} does not get on: a module does not return, or is too slow; {line}"
    return line

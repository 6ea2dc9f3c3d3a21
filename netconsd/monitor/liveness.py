"""Finds workers that hang, for a watchdog. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netconsd.protocol.plural import plural
from netconsd.receive.lanes import Lane


class Liveness:
    """Remembers when each worker last made progress."""

    def __init__(self, timelimit: float) -> None:
        """
        :param timelimit: seconds without progress after which a worker that has work is hanging. A worker hands out up
            to some thousand messages at a time, and makes visible progress only then.
        """
        self._timelimit = timelimit
        # By the number of a worker that has work: its count of datagrams, and the time when that was first seen.
        self._seen: dict[int, tuple[int, float]] = {}

    def hanging(self, lanes: Iterable[Lane], now: float) -> list[int]:
        """Return the numbers of the workers that have work and made no progress for the time limit, or have ended.

        :param now: monotonic seconds.
        """
        return [lane.number for lane in lanes if not lane.running or self._is_stuck(lane, now)]

    def _is_stuck(self, lane: Lane, now: float) -> bool:
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
    """Return one line about the daemon, for the service manager."""
    messages = plural(sum(int(lane.counters.messages) for lane in lanes), "message")
    senders = plural(sum(lane.senders for lane in lanes), "sender")
    queued = plural(sum(lane.waiting for lane in lanes), "queued datagram")
    line = f"{messages} so far; {senders}; {queued}"
    if hanging:
        workers = "Worker" if len(hanging) == 1 else "Workers"
        verb = "is" if len(hanging) == 1 else "are"
        line = f"{workers} {', '.join(map(str, hanging))} {verb} stuck: a module blocks or is too slow; {line}"
    return line

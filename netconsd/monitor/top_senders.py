"""Which senders have the most of something: asked of the workers, on demand.

Each worker ranks its own senders, in its thread, in its turn. Nothing is kept per sender for it but its counters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import attrgetter
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredLock

from netconsd.protocol.counters import SENDER_COUNTERS, SenderCounters
from netconsd.protocol.table import SourceTable
from netconsd.receive.lanes import Lane

# A list for people; what a page of them costs does not depend on how many senders there are.
TOP_LIMIT = 100
# Ranking 100,000 senders keeps a worker from its messages for some 50 ms. Who asks again within these seconds gets the
# last answer, so that a page which somebody reloads all the time costs about a hundredth of it.
KEEP_SECONDS = 5.0
# A worker answers after what is in its queue: seconds, if that is long. One that hangs in a module never does.
ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class TopList:
    """The senders with the most, the first one first; and the workers that did not answer in time."""

    by: str
    senders: tuple[SenderCounters, ...]
    silent: tuple[int, ...] = ()


class TopSenders:
    """Asks the lanes. For the reactor's thread."""

    def __init__(self, lanes: Sequence[Lane], reactor: Any) -> None:
        self._lanes = lanes
        self._reactor = reactor
        self._lock = DeferredLock()
        self._kept: dict[str, tuple[float, TopList]] = {}
        # Lanes that have a question which they have not answered. They get no other: each would stay in their queue.
        self._asked: set[int] = set()

    def get(self, by: str) -> Deferred[TopList]:
        """The :data:`TOP_LIMIT` first by a counter of :data:`~netconsd.protocol.counters.SENDER_COUNTERS`.

        It fires within :data:`ANSWER_SECONDS` for each call that is before it, and may be some seconds old.

        :raises ValueError: if there is no such counter.
        """
        if by not in SENDER_COUNTERS:
            raise ValueError(f"{by!r} is not one of {', '.join(SENDER_COUNTERS)}")
        return self._lock.run(lambda: Deferred.fromCoroutine(self._get(by)))

    async def _get(self, by: str) -> TopList:
        now = self._reactor.seconds()
        kept = self._kept.get(by)
        if kept is not None and now - kept[0] < KEEP_SECONDS:
            return kept[1]
        answers: dict[int, list[SenderCounters]] = {}
        asked = [self._ask(lane, by, answers) for lane in self._lanes if lane.number not in self._asked]
        await DeferredList(asked, consumeErrors=True)
        found = [sender for answer in answers.values() for sender in answer]
        senders = nlargest(TOP_LIMIT, found, key=attrgetter(by))
        silent = tuple(lane.number for lane in self._lanes if lane.number not in answers)
        top = TopList(by, tuple(senders), silent)
        self._kept[by] = now, top
        return top

    def _ask(self, lane: Lane, by: str, answers: dict[int, list[SenderCounters]]) -> Deferred[None]:
        answered: Deferred[None] = Deferred()
        self._asked.add(lane.number)

        def answer(senders: list[SenderCounters]) -> None:
            self._asked.discard(lane.number)
            if not answered.called:
                answers[lane.number] = senders
                answered.callback(None)

        lane.ask(_question(by, lambda senders: self._reactor.callFromThread(answer, senders)))
        return answered.addTimeout(ANSWER_SECONDS, self._reactor)


def _question(by: str, reply: Callable[[list[SenderCounters]], object]) -> Callable[[SourceTable], object]:
    return lambda table: reply(table.top(TOP_LIMIT, by))

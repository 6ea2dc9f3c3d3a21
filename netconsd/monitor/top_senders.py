"""The senders with the highest values of a counter, ranked on demand.

Each worker ranks its own senders, in its thread, between two batches. Ranking uses the counters that each sender has
anyway, and no further memory per sender.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from operator import attrgetter
from time import monotonic, time
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredLock

from netconsd.names import Names
from netconsd.protocol.counters import SENDER_COUNTERS, SenderCounters
from netconsd.receive.lanes import Lane

# Senders in a list. It is for people, and its length must not depend on the number of senders.
TOP_LIMIT = 100
# Ranking 100,000 senders takes a worker 50 ms. A list is cached for these seconds, times the number of counters that
# were asked for recently, so that pages that are reloaded all the time take a hundredth of the worker's time.
KEEP_SECONDS = 5.0
# A worker answers after the batches in its queue, which can take seconds; while a module hangs, it does not answer.
ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class TopList:
    """Senders, the highest value first, and the numbers of the workers that did not answer in time."""

    by: str
    senders: tuple[SenderCounters, ...]
    silent: tuple[int, ...] = ()


class TopSenders:
    """Collects the ranking of all lanes. Methods are for the reactor's thread."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        reactor: Any,
        names: Names | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._lanes = lanes
        self._names = names or Names()
        self._reactor = reactor
        self._clock = clock
        self._lock = DeferredLock()
        self._cache: dict[str, tuple[float, TopList]] = {}
        # Lanes with an open question. They get no second one, because questions of a lane that hangs would pile up.
        self._asked: set[int] = set()

    def get(self, by: str) -> Deferred[TopList]:
        """The first :data:`TOP_LIMIT` senders by a counter of :data:`~netconsd.protocol.counters.SENDER_COUNTERS`.

        Calls are answered one after another, each within :data:`ANSWER_SECONDS`; a list is at most :data:`KEEP_SECONDS`
        old, times the number of counters by which senders were ranked in that time.

        :raises ValueError: if senders have no counter of that name.
        """
        if by not in SENDER_COUNTERS:
            raise ValueError(f"{by!r} is not one of {', '.join(SENDER_COUNTERS)}")
        return self._lock.run(lambda: Deferred.fromCoroutine(self._get(by)))

    async def _get(self, by: str) -> TopList:
        now = self._clock()
        longest = KEEP_SECONDS * len(SENDER_COUNTERS)
        self._cache = {name: kept for name, kept in self._cache.items() if now - kept[0] < longest}
        cached = self._cache.get(by)
        if cached is not None and now - cached[0] < KEEP_SECONDS * len(self._cache):
            return cached[1]
        answers: dict[int, list[SenderCounters]] = {}
        questions = [self._ask(lane, by, answers) for lane in self._lanes if lane.number not in self._asked]
        await DeferredList(questions, consumeErrors=True)
        ranked = [sender for answer in answers.values() for sender in answer]
        now_unix = time()
        senders = [
            replace(sender, name=self._names.known(sender.address, sender.port, now_unix))
            for sender in nlargest(TOP_LIMIT, ranked, key=attrgetter(by))
        ]
        silent = tuple(lane.number for lane in self._lanes if lane.number not in answers)
        top = TopList(by, tuple(senders), silent)
        self._cache[by] = now, top
        return top

    def _ask(self, lane: Lane, by: str, answers: dict[int, list[SenderCounters]]) -> Deferred[None]:
        answered: Deferred[None] = Deferred()
        self._asked.add(lane.number)

        def answer(senders: list[SenderCounters]) -> None:
            self._asked.discard(lane.number)
            if not answered.called:
                answers[lane.number] = senders
                answered.callback(None)

        lane.ask(lambda table: self._reactor.callFromThread(answer, table.top(TOP_LIMIT, by)))
        return answered.addTimeout(ANSWER_SECONDS, self._reactor)

"""The list of senders: ranked by each worker, cached, and complete except for workers that hang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from netconsd.monitor.top_senders import ANSWER_SECONDS, KEEP_SECONDS, TOP_LIMIT, TopList, TopSenders
from netconsd.names import Names
from netconsd.protocol.counters import SENDER_COUNTERS, SenderCounters, WorkerCounters
from netconsd.protocol.table import SourceTable
from netconsd.testing import extended, extended_message, source


class Reactor(Clock):
    """A clock that tests advance; calls from threads are made at once."""

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:  # noqa: N802
        function(*arguments)


class Lane:
    """Stands for a lane: answers at once, or on ``answer`` if it hangs."""

    def __init__(self, number: int, *senders: int) -> None:
        self.number = number
        self.table = SourceTable(WorkerCounters(), limit=1000, reorder_time=0.2, gc_interval=0.0, age=0.0)
        for sender, count in enumerate(senders):
            key = source(f"10.{number}.{sender >> 8}.{sender & 255}").key
            self.table.feed([key] * count, [extended("", seq=seq) for seq in range(1, count + 1)], 0.0, 0.0)
        self.questions: list[Callable[[SourceTable], object]] = []
        self.hangs = False
        self.asked = 0

    def ask(self, question: Callable[[SourceTable], object]) -> None:
        self.asked += 1
        self.questions.append(question)
        if not self.hangs:
            self.answer()

    def answer(self) -> None:
        while self.questions:
            self.questions.pop(0)(self.table)


def make(*lanes: Any, names: Names | None = None) -> tuple[Reactor, TopSenders]:
    """A ranking of these lanes, and its clock."""
    reactor = Reactor()
    return reactor, TopSenders(lanes, reactor, names, reactor.seconds)


def result_of(deferred: Deferred[TopList]) -> TopList:
    """The result of a Deferred that has fired."""
    results: list[TopList] = []
    deferred.addCallback(results.append)
    assert results, "it has not fired"
    return results[0]


def ranks(top: TopList) -> list[tuple[str, int]]:
    """Address and datagrams of each sender."""
    return [(sender.address, sender.datagrams) for sender in top.senders]


def test_the_senders_of_all_workers_are_ranked_together() -> None:
    """The sender with the highest value is the first, whichever worker has it."""
    _, top = make(Lane(0, 1, 5), Lane(1, 3))
    assert ranks(result_of(top.get("datagrams"))) == [("10.0.0.1", 5), ("10.1.0.0", 3), ("10.0.0.0", 1)]
    assert isinstance(result_of(top.get("datagrams")).senders[0], SenderCounters)


def test_the_names_of_senders() -> None:
    """A sender has the name that printer and logger show, and an empty one if none is known."""
    names = Names()
    names.learn([extended_message("text", address="10.0.0.1", userdata={"host": "web01"})])
    _, top = make(Lane(0, 1, 5), names=names)
    assert [sender.name for sender in result_of(top.get("datagrams")).senders] == ["web01", ""]


def test_the_list_is_bounded() -> None:
    """The list has :data:`TOP_LIMIT` entries for any number of senders."""
    _, top = make(Lane(0, *[1] * 150), Lane(1, *[2] * 150))
    ranking = result_of(top.get("datagrams"))
    assert len(ranking.senders) == TOP_LIMIT
    assert {sender.datagrams for sender in ranking.senders} == {2}


def test_the_list_is_cached() -> None:
    """For :data:`KEEP_SECONDS` the workers are not asked again."""
    lane = Lane(0, 1)
    reactor, top = make(lane)
    first = result_of(top.get("datagrams"))
    reactor.advance(KEEP_SECONDS * 0.99)
    assert result_of(top.get("datagrams")) is first
    assert lane.asked == 1
    reactor.advance(KEEP_SECONDS * 0.02)
    assert result_of(top.get("datagrams")) is not first
    assert lane.asked == 2


def test_the_workers_share_of_all_counters() -> None:
    """However many counters are asked for, the workers are asked once in KEEP_SECONDS on the average; a counter that
    nobody asks for any more does not count."""
    lane = Lane(0, 1)
    reactor, top = make(lane)
    for _ in range(2000):
        for by in SENDER_COUNTERS:
            assert result_of(top.get(by)).by == by
        reactor.advance(KEEP_SECONDS / 20)
    assert lane.asked <= 100 + len(SENDER_COUNTERS)
    lane.asked = 0
    reactor.advance(KEEP_SECONDS * len(SENDER_COUNTERS))
    for _ in range(10):
        result_of(top.get("lost"))
        reactor.advance(KEEP_SECONDS)
    assert lane.asked == 10


def test_a_worker_that_hangs_is_named() -> None:
    """After :data:`ANSWER_SECONDS` the list has the other workers' senders, and the number of the worker that hangs."""
    stuck = Lane(1, 3)
    stuck.hangs = True
    reactor, top = make(Lane(0, 1), stuck)
    answer = top.get("datagrams")
    reactor.advance(ANSWER_SECONDS * 0.99)
    assert isinstance(answer.result, Deferred)
    reactor.advance(ANSWER_SECONDS * 0.02)
    ranking = result_of(answer)
    assert (ranks(ranking), ranking.silent) == ([("10.0.0.0", 1)], (1,))
    assert not reactor.getDelayedCalls()


def test_a_worker_that_hangs_has_at_most_one_question() -> None:
    """Requests do not add questions to the queue of a worker that hangs; after its answer its senders are listed."""
    stuck = Lane(0, 3)
    stuck.hangs = True
    reactor, top = make(stuck)
    answer = top.get("datagrams")
    reactor.advance(ANSWER_SECONDS)
    assert result_of(answer).silent == (0,)
    for _ in range(10):
        reactor.advance(KEEP_SECONDS)
        assert result_of(top.get("datagrams")).silent == (0,)
    assert len(stuck.questions) == 1
    stuck.hangs = False
    stuck.answer()
    reactor.advance(KEEP_SECONDS)
    assert result_of(top.get("datagrams")).silent == ()


def test_two_requests_at_once() -> None:
    """Two requests for different lists are answered one after the other."""
    slow = Lane(0, 2)
    slow.hangs = True
    _, top = make(slow)
    answers = [top.get("datagrams"), top.get("lost")]
    assert len(slow.questions) == 1
    slow.hangs = False
    slow.answer()
    assert [result_of(answer).by for answer in answers] == ["datagrams", "lost"]


def test_a_counter_that_senders_do_not_have() -> None:
    """The error names the counters of senders."""
    _, top = make()
    with pytest.raises(ValueError, match=rf"^'x' is not one of {', '.join(SENDER_COUNTERS)}$"):
        top.get("x")

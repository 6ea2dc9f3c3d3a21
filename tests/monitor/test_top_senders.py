"""The top list: each worker ranks its own senders, once in a while, and one that hangs is not waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from netconsd.monitor.top_senders import ANSWER_SECONDS, KEEP_SECONDS, TOP_LIMIT, TopList, TopSenders
from netconsd.protocol.counters import SenderCounters, WorkerCounters
from netconsd.protocol.table import SourceTable
from netconsd.testing import extended, source


class Reactor(Clock):
    """Time that is moved by hand; what threads want is called at once."""

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:  # noqa: N802
        function(*arguments)


class Lane:
    """In place of a lane: answers when it is told to."""

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


def make(*lanes: Any) -> tuple[Reactor, TopSenders]:
    """A top list and its clock."""
    reactor = Reactor()
    return reactor, TopSenders(lanes, reactor)


def got(deferred: Deferred[TopList]) -> TopList:
    """What it has fired with."""
    results: list[TopList] = []
    deferred.addCallback(results.append)
    assert results, "it waits"
    return results[0]


def places(top: TopList) -> list[tuple[str, int]]:
    """Address and datagrams of each."""
    return [(sender.address, sender.datagrams) for sender in top.senders]


def test_the_senders_of_all_workers_are_ranked_together() -> None:
    """Whoever has the most comes first, whichever worker has it."""
    _, top = make(Lane(0, 1, 5), Lane(1, 3))
    assert places(got(top.get("datagrams"))) == [("10.0.0.1", 5), ("10.1.0.0", 3), ("10.0.0.0", 1)]
    assert isinstance(got(top.get("datagrams")).senders[0], SenderCounters)


def test_the_list_is_bounded() -> None:
    """However many senders there are, the list has so many entries."""
    _, top = make(Lane(0, *[1] * 150), Lane(1, *[2] * 150))
    found = got(top.get("datagrams"))
    assert len(found.senders) == TOP_LIMIT
    assert {sender.datagrams for sender in found.senders} == {2}


def test_who_asks_again_gets_the_last_answer() -> None:
    """Reloading the page costs the workers nothing, until the answer is some seconds old; each counter is by itself."""
    lane = Lane(0, 1)
    reactor, top = make(lane)
    first = got(top.get("datagrams"))
    reactor.advance(KEEP_SECONDS * 0.99)
    assert got(top.get("datagrams")) is first
    assert lane.asked == 1
    assert got(top.get("lost")).by == "lost"
    reactor.advance(KEEP_SECONDS * 0.02)
    assert got(top.get("datagrams")) is not first
    assert lane.asked == 3


def test_a_worker_that_hangs_is_named_and_not_waited_for() -> None:
    """After some seconds the others' senders are there, and it is said which worker's are not."""
    stuck = Lane(1, 3)
    stuck.hangs = True
    reactor, top = make(Lane(0, 1), stuck)
    answer = top.get("datagrams")
    reactor.advance(ANSWER_SECONDS * 0.99)
    assert isinstance(answer.result, Deferred)
    reactor.advance(ANSWER_SECONDS * 0.02)
    found = got(answer)
    assert (places(found), found.silent) == ([("10.0.0.0", 1)], (1,))
    assert not reactor.getDelayedCalls()


def test_a_worker_that_hangs_has_one_question_at_most() -> None:
    """However often it is asked for, the queue of a worker that hangs does not grow; when it answers, it is back."""
    stuck = Lane(0, 3)
    stuck.hangs = True
    reactor, top = make(stuck)
    answer = top.get("datagrams")
    reactor.advance(ANSWER_SECONDS)
    assert got(answer).silent == (0,)
    for _ in range(10):
        reactor.advance(KEEP_SECONDS)
        assert got(top.get("datagrams")).silent == (0,)
    assert len(stuck.questions) == 1
    stuck.hangs = False
    stuck.answer()
    reactor.advance(KEEP_SECONDS)
    assert got(top.get("datagrams")).silent == ()


def test_two_at_a_time_wait_for_each_other() -> None:
    """Two who ask for different lists at once both get theirs."""
    slow = Lane(0, 2)
    slow.hangs = True
    _, top = make(slow)
    answers = [top.get("datagrams"), top.get("lost")]
    assert len(slow.questions) == 1
    slow.hangs = False
    slow.answer()
    assert [got(answer).by for answer in answers] == ["datagrams", "lost"]


def test_what_is_not_counted_cannot_be_asked_for() -> None:
    """Nothing but the counters of senders."""
    _, top = make()
    with pytest.raises(ValueError, match=r"^'x' is not one of datagrams, octets, messages, .*, released_early$"):
        top.get("x")

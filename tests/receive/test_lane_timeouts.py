"""An idle lane wakes up at its deadlines only, a lane sends acknowledgements, and no exception ends a lane."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs

from netconsd.protocol.acks import ACK_SECONDS
from netconsd.protocol.message import Message
from netconsd.protocol.table import SourceTable
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import legacy, source
from tests.support.scripted_lane import (
    ALICE,
    BOB,
    PATIENCE,
    Delivered,
    SameThread,
    Scripted,
    lane_with,
    lines,
    put,
    records,
    run,
)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """The queue of all lanes that the test creates."""
    script = Scripted()
    monkeypatch.setattr("netconsd.receive.lanes.SimpleQueue", lambda: script)
    return script


# Deadlines.


def test_an_idle_lane_does_not_wake_up(scripted: Scripted) -> None:
    """Without held messages and expiry, the thread sleeps until a datagram arrives."""
    lane = lane_with(Delivered(), gc_interval=0.0)
    put(lane, *records([1]))
    run(lane)
    assert scripted.timeouts == [None, None]


def test_held_messages_are_delivered_at_their_deadline(scripted: Scripted) -> None:
    """A message after a gap is delivered when the reorder time is over, although no datagram follows."""
    delivered = Delivered()
    lane = lane_with(delivered, clock=lambda: scripted.now, reorder=0.5, gc_interval=0.0)
    scripted.now = 100.0
    put(lane, *records([1, 3]), now=99.75)
    put(lane, *records([5]), sender=BOB, now=100.0)
    put(lane, *records([7]), sender=BOB, now=100.0)
    scripted.items += [Scripted.NOTHING, Scripted.NOTHING]
    run(lane)
    # Held are: nothing; 3; still 3; 7; nothing.
    assert scripted.timeouts == [None, 0.25, 0.25, 0.25, 0.25, None]
    assert delivered.texts == ["1", "5", "3", "7"]
    assert delivered.sizes == [1, 1, 1, 1]


def test_a_deadline_that_has_passed_is_not_waited_for(scripted: Scripted) -> None:
    """A lane that is behind polls its queue with a timeout of 0, not with a negative one."""
    delivered = Delivered()
    lane = lane_with(delivered, clock=lambda: 1000.0, reorder=0.5, gc_interval=0.0)
    put(lane, *records([1, 3]), now=1.0)
    scripted.put(Scripted.NOTHING)
    run(lane)
    assert scripted.timeouts == [None, 0.0, None]
    assert delivered.texts == ["1", "3"]


def test_a_busy_lane_delivers_at_deadlines(scripted: Scripted) -> None:
    """Held messages are delivered at their deadline although the queue is never empty."""
    delivered = Delivered()
    lane = lane_with(delivered, reorder=0.5)
    put(lane, *records([1, 3]), now=0.0)
    for quarter in range(1, 5):
        put(lane, legacy("busy"), sender=BOB, now=quarter / 4)
    run(lane)
    assert delivered.texts == ["1", "busy", "busy", "3", "busy", "busy"]


def test_silent_senders_are_forgotten(scripted: Scripted) -> None:
    """A lane without traffic forgets a sender that was silent for the age."""
    lane = lane_with(Delivered(), clock=lambda: scripted.now, gc_interval=10.0, gc_age=30.0)
    put(lane, *lines([1]))
    scripted.items += [Scripted.NOTHING] * 3
    run(lane)
    assert scripted.timeouts == [None, 10.0, 10.0, 10.0, None]
    assert lane.counters.senders_expired == 1
    assert lane.senders == 0


def test_no_sender_is_forgotten_without_an_interval(scripted: Scripted) -> None:
    """With an interval of 0 no sender expires, however long the silence."""
    lane = lane_with(Delivered(), gc_interval=0.0, gc_age=30.0)
    put(lane, *lines([1]), now=0.0)
    put(lane, *lines([1]), sender=BOB, now=1e6)
    run(lane)
    assert scripted.timeouts == [None, None, None]
    assert lane.senders == 2


def test_each_lane_has_a_share_of_the_table() -> None:
    """A lane's table holds its share of ``max_sources``, rounded up; evictions are counted."""
    lane = Lane(0, Delivered(), Settings(workers=3, max_sources=10), clock=lambda: 0.0, thread=SameThread)
    senders = [source(f"192.0.2.{number}").key for number in range(6)]
    lane.put(senders, lines(range(6)), 0.0, 0.0)
    run(lane)
    assert lane.senders == 4
    assert lane.counters.senders_evicted == 2


# Exceptions.


class Flawed(Delivered):
    """Raises in the calls with these numbers."""

    def __init__(self, error: BaseException, *calls: int) -> None:
        super().__init__()
        self._error = error
        self._calls = calls

    def __call__(self, worker: int, messages: list[Message]) -> None:
        super().__call__(worker, messages)
        if len(self.sizes) - 1 in self._calls:
            raise self._error


def logged_failures(events: Iterable[LogEvent]) -> list[str]:
    """The type names of the logged exceptions."""
    return [event["log_failure"].type.__name__ for event in events if "log_failure" in event]


# SystemExit would end a thread silently.
ERRORS = [ZeroDivisionError("a bug"), SystemExit(1), MemoryError()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exception_in_deliver_does_not_end_a_lane(error: BaseException) -> None:
    """An exception in ``deliver`` is logged with the worker's number, and the next batch is delivered."""
    delivered = Flawed(error, 0)
    lane = lane_with(delivered)
    put(lane, *lines([0, 1]))
    put(lane, *lines([2]))
    with capturedLogs() as events:
        run(lane)
    assert delivered.texts == ["0", "1", "2"]
    assert logged_failures(events) == [type(error).__name__]
    assert "Worker 3" in events[0]["log_format"].format(**events[0])
    assert lane.backlog == 0


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_lane_stops_although_the_last_delivery_raises(error: BaseException) -> None:
    """An exception in ``deliver`` at the stop is logged, and the lane ends, so that the daemon does not hang."""
    delivered = Flawed(error, 1)
    lane = lane_with(delivered, reorder=60.0)
    put(lane, *records([1, 3]))
    lane.stop()
    ended = threading.Event()
    with capturedLogs() as events:
        # In another thread, so that a lane that does not end fails the test instead of blocking it.
        threading.Thread(target=lane._run, args=(ended.set,), daemon=True).start()
        assert ended.wait(PATIENCE)
    assert delivered.texts == ["1", "3"]
    assert logged_failures(events) == [type(error).__name__]


class Table:
    """A table of senders with a bug in one of its methods; the compiled class cannot be patched."""

    def __init__(self, table: SourceTable, **methods: Any) -> None:
        self._table = table
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


def test_a_bug_in_the_table_does_not_end_a_lane() -> None:
    """A bug during a batch is logged, the batch releases its places, and the next batch is delivered."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=2)
    put(lane, *lines([0, 1]))
    table = lane._table
    calls: list[int] = []

    def feed_with_a_bug(*arguments: Any) -> int:
        calls.append(len(calls))
        if len(calls) == 1:
            put(lane, *lines([9]))
            raise IndexError("a bug")
        return table.feed_part(*arguments)

    vars(lane)["_table"] = Table(table, feed_part=feed_with_a_bug)
    with capturedLogs() as events:
        assert lane._turn()
        assert lane.backlog == 0
        put(lane, *lines([2]))
        run(lane)
    assert logged_failures(events) == ["IndexError"]
    assert delivered.texts == ["2"]
    assert lane.queue_counters.dropped_queue_full == 1


def test_a_bug_at_a_deadline_does_not_end_a_lane(scripted: Scripted) -> None:
    """A bug in the release of held messages is logged, and the next batch is delivered."""
    delivered = Delivered()
    lane = lane_with(delivered, clock=lambda: 1000.0)
    put(lane, *records([1, 3]), sender=ALICE)
    scripted.put(Scripted.NOTHING)
    put(lane, *lines([5]), sender=BOB, now=1000.0)

    def advance_with_a_bug(now: float) -> list[Message]:
        raise IndexError("a bug")

    vars(lane)["_table"] = Table(lane._table, advance=advance_with_a_bug)
    with capturedLogs() as events:
        run(lane)
    assert logged_failures(events) == ["IndexError"]
    assert sorted(delivered.texts) == ["1", "3", "5"]


# Acknowledgements.


def lane_with_replies(deliver: object, scripted: Scripted, sent: list[tuple[bytes, bytes]]) -> Lane:
    """A lane that appends its acknowledgements to a list."""

    def reply(key: bytes, ack: bytes) -> bool:
        sent.append((key, ack))
        return True

    assert callable(deliver)
    settings = Settings(workers=1, gc_interval=0.0)
    return Lane(0, deliver, settings, reply=reply, clock=lambda: scripted.now, thread=SameThread)


def test_a_lane_acknowledges_after_delivery(scripted: Scripted) -> None:
    """A lane acknowledges a batch after its messages were delivered, and a delayed acknowledgement when it is due."""
    sent: list[tuple[bytes, bytes]] = []
    seen: list[int] = []

    def deliver(worker: int, messages: list[Message]) -> None:
        seen.append(len(sent))

    lane = lane_with_replies(deliver, scripted, sent)
    put(lane, *records([1]))
    put(lane, *records([2]))
    scripted.put(Scripted.NOTHING)
    run(lane)
    assert seen == [0, 1]
    assert sent == [(ALICE, b"ncrx1"), (ALICE, b"ncrx2")]
    assert scripted.timeouts == [None, None, ACK_SECONDS, None]


def test_a_lane_acknowledges_at_its_end(scripted: Scripted) -> None:
    """A lane that stops sends the delayed acknowledgements after its held messages were delivered."""
    sent: list[tuple[bytes, bytes]] = []
    delivered = Delivered()
    lane = lane_with_replies(delivered, scripted, sent)
    put(lane, *records([1]))
    put(lane, *records([3]))
    run(lane)
    assert delivered.texts == ["1", "3"]
    assert sent == [(ALICE, b"ncrx1"), (ALICE, b"ncrx3 2")]


def test_without_a_reply_there_are_no_acknowledgements() -> None:
    """Without a reply function a lane has no acknowledgements."""
    assert Lane(0, Delivered(), Settings()).acks is None

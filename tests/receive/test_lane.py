"""A lane delivers in order, bounds its queue, and ends after everything was delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs

from netconsd.protocol.message import Message
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import source
from tests.support.scripted_lane import ALICE, BOB, Delivered, Scripted, lane_with, lines, put, records, run

LoggedFailures = Callable[[], list[type[BaseException]]]


@pytest.fixture
def errors() -> Iterator[LoggedFailures]:
    """Returns the types of the logged exceptions."""
    with capturedLogs() as events:
        yield lambda: [event["log_failure"].type for event in events if "log_failure" in event]


# Delivery.


def test_messages_are_delivered_in_order_with_one_call_per_batch() -> None:
    """Each batch is one call with the worker's number, and each sender's messages are in order."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, *records(range(1, 4)))
    lane.put([BOB, ALICE, BOB], [*records([1]), *records([4]), *records([2])], 0.0, 0.0)
    run(lane)
    assert delivered.workers == [3, 3]
    assert delivered.sizes == [3, 3]
    assert [m.text for m in delivered.messages if m.source.key == ALICE] == ["1", "2", "3", "4"]
    assert [m.text for m in delivered.messages if m.source.key == BOB] == ["1", "2"]


def test_messages_carry_the_time_of_their_batch() -> None:
    """``received_at`` is the Unix time of the batch, not the time of the lane."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, *records([1]), received_at=1.5e9)
    put(lane, *records([2]), received_at=1.6e9)
    run(lane)
    assert [message.received_at for message in delivered.messages] == [1.5e9, 1.6e9]


def test_a_batch_without_a_message_makes_no_call() -> None:
    """``deliver`` is never called with an empty list."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, b"")
    put(lane, *records([1]))
    put(lane, *records([1]))
    run(lane)
    assert delivered.sizes == [1]


def test_senders_are_counted() -> None:
    """``senders`` is the number of different pairs of address and port."""
    lane = lane_with(Delivered())
    lane.put([ALICE, BOB, ALICE, source("192.0.2.1", 6666).key], lines(range(4)), 0.0, 0.0)
    run(lane)
    assert lane.senders == lane.counters.senders_new == 3


# Questions and delays.


def test_a_question_is_answered_in_order() -> None:
    """A function is called with the table after all batches queued before it, and before all later ones."""
    lane = lane_with(Delivered())
    sizes: list[int] = []
    put(lane, *lines([1]))
    lane.ask(lambda table: sizes.append(len(table)))
    put(lane, *lines([2]), sender=BOB)
    run(lane)
    assert sizes == [1]
    assert lane.counters.datagrams == 2


def test_a_question_that_raises_drops_nothing(errors: LoggedFailures) -> None:
    """An exception in the function is logged, and the next batch is delivered."""
    delivered = Delivered()
    lane = lane_with(delivered)
    lane.ask(lambda table: 1 // 0)
    put(lane, *lines([1]))
    run(lane)
    assert errors() == [ZeroDivisionError]
    assert delivered.texts == ["1"]


def test_the_delay_from_receipt_to_delivery() -> None:
    """The delay of a call's first message counts for each of its messages, independent of the system's clock."""
    now = [100.0]
    lane = lane_with(Delivered(), clock=lambda: now[0], reorder=0.25)
    put(lane, *records([1, 2]), received_at=1.5e9, now=99.5)
    put(lane, *records([4]), received_at=1.5e9, now=100.0)
    run(lane)
    assert sum(lane.delays.counts) == lane.counters.messages == 3
    # Number 4 was held for 3 until the stop, which is at the time of its arrival.
    assert lane.delays.sum == 2 * 0.5
    assert lane.delays.counts[lane.delays.bounds.index(0.5)] == 2


def test_the_delay_of_a_held_message() -> None:
    """The delay of a held message begins with the arrival of its datagram."""
    script = Scripted()
    lane = lane_with(Delivered(), clock=lambda: script.now, reorder=0.25)
    vars(lane)["_queue"] = script
    put(lane, *records([1, 3]), received_at=1.5e9)
    script.put(Scripted.NOTHING)
    run(lane)
    assert sum(lane.delays.counts) == 2
    assert lane.delays.sum == 0.25


def test_a_clock_that_steps_back_does_not_cause_a_negative_delay() -> None:
    """A message received before the clock was set back has a delay of 0, not less."""
    lane = lane_with(Delivered(), reorder=60.0)
    put(lane, *records([1, 3]), received_at=1.5e9)
    put(lane, *lines([2]), sender=BOB, received_at=1.4e9)
    run(lane)
    assert (sum(lane.delays.counts), lane.delays.sum) == (3, 0.0)


def test_datagrams_dropped_by_an_exception_are_counted(errors: LoggedFailures) -> None:
    """If ``deliver`` raises, each datagram of the rest of its batch is counted in ``dropped_error``."""

    def fail(worker: int, messages: list[Message]) -> None:
        raise ValueError

    lane = lane_with(fail)
    put(lane, *[b"0123456\n" * 5000] * 5)
    put(lane, *lines([1]))
    run(lane)
    assert errors() == [ValueError] * 2
    counters = lane.counters
    # Each call of ``deliver`` has 8192 messages: the first call is after the second datagram.
    assert (counters.datagrams, counters.dropped_error) == (3, 3)
    assert counters.datagrams + counters.dropped_error == lane.queue_counters.queued
    assert lane.backlog == 0


# The bound of the queue.


def test_a_full_queue_drops_and_counts_the_newest() -> None:
    """A full queue drops and counts datagrams from the end of a batch; the others are delivered in order."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=5)
    put(lane, *lines(range(3)))
    put(lane, *lines(range(3, 7)))
    put(lane, *lines([7]))
    assert (lane.queue_counters.queued, lane.queue_counters.dropped_queue_full) == (5, 3)
    assert lane.backlog == 5
    run(lane)
    assert delivered.texts == ["0", "1", "2", "3", "4"]
    assert lane.backlog == 0


def test_a_finished_batch_releases_its_places() -> None:
    """A full queue accepts datagrams again as soon as the lane has finished a batch."""
    lane: Lane

    class More(Delivered):
        def __call__(self, worker: int, messages: list[Message]) -> None:
            super().__call__(worker, messages)
            backlogs.append(lane.backlog)
            if len(self.sizes) == 2:
                put(lane, *lines([4, 5, 6]))
                lane.stop()

    backlogs: list[int] = []
    delivered = More()
    lane = lane_with(delivered, queue=4)
    put(lane, *lines([0, 1]))
    put(lane, *lines([2, 3, 99]))
    lane.start(lambda: None)
    # A batch keeps its places until it was delivered, so that the memory held by a slow module is bounded as well.
    assert backlogs == [4, 2, 2]
    assert delivered.texts == ["0", "1", "2", "3", "4", "5"]
    assert (lane.queue_counters.queued, lane.queue_counters.dropped_queue_full) == (6, 2)
    assert lane.backlog == 0


def test_a_full_queue_accepts_the_stop() -> None:
    """A lane with a full queue ends after ``stop``, when all queued datagrams are delivered."""
    delivered = Delivered()
    ended: list[bool] = []
    lane = lane_with(delivered, queue=1)
    put(lane, *lines([0, 1]))
    run(lane, lambda: ended.append(True))
    assert delivered.texts == ["0"]
    assert ended == [True]


@pytest.mark.parametrize(
    ("size", "places"), [(1, 1), (1000, 1), (1023, 1), (1024, 2), (2047, 2), (2048, 3), (65507, 64)]
)
def test_large_datagrams_take_more_places(size: int, places: int) -> None:
    """A datagram takes a place for each KiB that it has begun, so that the queue's bound is a bound on memory."""
    lane = lane_with(Delivered())
    put(lane, b"x", b"x" * size, b"x")
    assert lane.backlog == places + 2
    run(lane)
    assert lane.backlog == 0


def test_no_datagram_overtakes_a_large_one_that_does_not_fit() -> None:
    """All datagrams from the first that does not fit are dropped, so that no later, smaller one overtakes it."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=4)
    put(lane, b"small\n", b"x" * 5000 + b"\n", b"small, too\n")
    assert (lane.queue_counters.queued, lane.queue_counters.dropped_queue_full) == (1, 2)
    assert lane.backlog == 1
    run(lane)
    assert delivered.texts == ["small"]


def test_an_empty_queue_accepts_a_datagram_of_any_size() -> None:
    """A datagram larger than the whole queue is accepted when the queue is empty."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=1)
    put(lane, b"x" * 5000 + b"\n", b"another\n")
    assert (lane.queue_counters.queued, lane.queue_counters.dropped_queue_full) == (1, 1)
    put(lane, b"one more\n")
    assert (lane.queue_counters.queued, lane.queue_counters.dropped_queue_full) == (1, 2)
    run(lane)
    assert delivered.texts == ["x" * 5000]


@given(st.lists(st.lists(st.integers(0, 5000), max_size=8), max_size=8), st.integers(1, 12))
def test_the_queue_never_exceeds_its_bound(batches: list[list[int]], limit: int) -> None:
    """No batches exceed the bound, and each datagram is either queued or dropped."""
    lane = lane_with(Delivered(), queue=limit)
    # An empty queue accepts a datagram that is larger than its bound.
    largest = max((1 + size // 1024 for sizes in batches for size in sizes), default=0)
    for sizes in batches:
        put(lane, *(b"x" * size for size in sizes))
        assert 0 <= lane.backlog <= max(limit, largest)
    assert lane.queue_counters.queued + lane.queue_counters.dropped_queue_full == sum(map(len, batches))
    run(lane)
    assert lane.backlog == 0
    assert lane.counters.datagrams == lane.queue_counters.queued


# Stopping.


def test_the_stop_delivers_queued_and_held_messages() -> None:
    """Before it ends, a lane delivers all earlier batches, then held records, fragments and unfinished lines."""
    delivered = Delivered()
    lane = lane_with(delivered, reorder=60.0)
    put(lane, *records([1, 3, 4]), b"6,9,5,-,ncfrag=0/99;the first half", sender=ALICE)
    put(lane, b"no newline", sender=BOB)
    put(lane, *records([6]), sender=ALICE)
    run(lane)
    assert [message.text for message in delivered.messages if message.source.key == BOB] == ["no newline"]
    texts = [message.text for message in delivered.messages if message.source.key == ALICE]
    assert texts[:4] == ["1", "3", "4", "6"]
    assert texts[4].startswith("the first half")
    assert len(texts) == 5


def test_finished_is_called_last() -> None:
    """``finished`` is called once, after the last delivery."""
    events: list[object] = []
    lane = lane_with(lambda worker, messages: events.append(messages[0].text), reorder=60.0)
    put(lane, *records([1, 3]))
    run(lane, lambda: events.append("finished"))
    assert events == ["1", "3", "finished"]


def test_nothing_runs_before_the_start() -> None:
    """A lane has no thread before ``start``, because the daemon forks in between."""
    delivered = Delivered()
    before = set(threading.enumerate())
    lane = Lane(0, delivered, Settings())
    put(lane, *lines([1]))
    # Threads of earlier tests may end meanwhile.
    assert set(threading.enumerate()) <= before
    assert not delivered.messages


def test_a_batch_that_cannot_be_queued_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If queueing a batch raises, the lane counts none of its datagrams, so that the caller counts them."""
    lane = Lane(0, lambda number, messages: None, Settings())

    def fail(item: object) -> None:
        raise MemoryError

    monkeypatch.setattr(lane, "_queue", SimpleNamespace(put=fail))
    with pytest.raises(MemoryError):
        lane.put([ALICE, ALICE], [b"a\n", b"b\n"], 0.0, 0.0)
    assert (lane.queue_counters.dropped_queue_full, lane.queue_counters.queued, lane.backlog) == (0, 0, 0)

"""A lane: order, the bound of its queue, and the stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs

from netconsd.protocol.counters import inconsistencies, total
from netconsd.protocol.message import Message
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import source
from tests.support.scripted_lane import ALICE, BOB, Delivered, Scripted, lane_with, lines, put, records, run

LoggedFailures = Callable[[], list[type[BaseException]]]


@pytest.fixture
def errors() -> Iterator[LoggedFailures]:
    """The exceptions that are logged."""
    with capturedLogs() as events:
        yield lambda: [event["log_failure"].type for event in events if "log_failure" in event]


# Through the lane.


def test_messages_come_in_order_one_call_per_batch() -> None:
    """Each batch is one call with the worker's number, and every sender's messages are in its order."""
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
    """``received_at`` is the Unix time that came with the batch, not that of the lane."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, *records([1]), received_at=1.5e9)
    put(lane, *records([2]), received_at=1.6e9)
    run(lane)
    assert [message.received_at for message in delivered.messages] == [1.5e9, 1.6e9]


def test_a_batch_without_a_message_makes_no_call() -> None:
    """``deliver`` never gets an empty list."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, b"")
    put(lane, *records([1]))
    put(lane, *records([1]))
    run(lane)
    assert delivered.sizes == [1]


def test_the_counters_add_up() -> None:
    """Every datagram is under one heading and every message has an origin, as the ledger says."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, b"", *records([1, 1, 2, 9]), b"7,10,5,-,ncfrag=0/20;half of it,", b"two\nlines\nand a bit", b"1,2,3,-,x")
    run(lane)
    counters = lane.counters
    assert counters.datagrams == lane.queue_counters.queued == 8
    assert inconsistencies(total([counters])) == []
    assert counters.messages == len(delivered.messages)
    assert (counters.dropped_empty, counters.dropped_duplicate, counters.fragments, counters.whole) == (1, 1, 1, 3)


def test_senders_are_remembered() -> None:
    """``senders`` says how many different ones, by address and port, the lane knows."""
    lane = lane_with(Delivered())
    lane.put([ALICE, BOB, ALICE, source("192.0.2.1", 6666).key], lines(range(4)), 0.0, 0.0)
    run(lane)
    assert lane.senders == lane.counters.senders_new == 3


# What it tells.


def test_a_question_is_answered_in_its_turn() -> None:
    """A function gets the table after what was queued before it, and before what was queued after it."""
    lane = lane_with(Delivered())
    known: list[int] = []
    put(lane, *lines([1]))
    lane.ask(lambda table: known.append(len(table)))
    put(lane, *lines([2]), sender=BOB)
    run(lane)
    assert known == [1]
    assert lane.counters.datagrams == 2


def test_a_question_that_fails_costs_nothing(errors: LoggedFailures) -> None:
    """What the function raises is logged, and the lane goes on."""
    delivered = Delivered()
    lane = lane_with(delivered)
    lane.ask(lambda table: 1 // 0)
    put(lane, *lines([1]))
    run(lane)
    assert errors() == [ZeroDivisionError]
    assert delivered.texts == ["1"]


def test_the_delay_from_receipt_to_delivery() -> None:
    """It is that of the first message of a call, counted for each of them, whatever the system's clock says."""
    now = [100.0]
    lane = lane_with(Delivered(), clock=lambda: now[0], reorder=0.25)
    put(lane, *records([1, 2]), received_at=1.5e9, now=99.5)
    put(lane, *records([4]), received_at=1.5e9, now=100.0)
    run(lane)
    assert lane.delays.count == lane.counters.messages == 3
    # Number 4 waited for 3 until the stop, at the time at which it came.
    assert lane.delays.sum == 2 * 0.5
    assert lane.delays.counts[lane.delays.bounds.index(0.5)] == 2


def test_the_delay_of_what_waited_for_order() -> None:
    """A message that was held back is as old as its datagram."""
    script = Scripted()
    lane = lane_with(Delivered(), clock=lambda: script.now, reorder=0.25)
    vars(lane)["_queue"] = script
    put(lane, *records([1, 3]), received_at=1.5e9)
    script.put(Scripted.NOTHING)
    run(lane)
    assert lane.delays.count == 2
    assert lane.delays.sum == 0.25


def test_a_clock_that_steps_back_makes_no_negative_delay() -> None:
    """A message received before the clock was set back has no delay at all, rather than one below zero."""
    lane = lane_with(Delivered(), reorder=60.0)
    put(lane, *records([1, 3]), received_at=1.5e9)
    put(lane, *lines([2]), sender=BOB, received_at=1.4e9)
    run(lane)
    assert (lane.delays.count, lane.delays.sum) == (3, 0.0)


def test_what_an_exception_skips_is_counted(errors: LoggedFailures) -> None:
    """If ``deliver`` raises, the rest of its batch is not looked at, and each datagram of it is in ``skipped``."""

    def fail(worker: int, messages: list[Message]) -> None:
        raise ValueError

    lane = lane_with(fail)
    put(lane, *[b"0123456\n" * 5000] * 5)
    put(lane, *lines([1]))
    run(lane)
    assert errors() == [ValueError] * 2
    counters = lane.counters
    # 8192 messages are handed out at a time: after the second datagram.
    assert (counters.datagrams, counters.dropped_error) == (3, 3)
    assert counters.datagrams + counters.dropped_error == lane.queue_counters.queued
    assert lane.backlog == 0


# The bound of the queue.


def test_a_full_queue_sheds_the_newest_and_counts() -> None:
    """What the queue has no room for is dropped from the end, counted, and the rest comes in order."""
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


def test_a_batch_that_just_fits_is_kept_whole() -> None:
    """The bound itself may be reached."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=4)
    put(lane, *lines(range(4)))
    assert (lane.queue_counters.queued, lane.queue_counters.dropped_queue_full) == (4, 0)
    run(lane)
    assert len(delivered.texts) == 4


def test_there_is_room_again_when_the_lane_has_worked() -> None:
    """A queue that was full takes datagrams again as soon as the lane has finished a batch."""
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
    # A batch takes its places until it has been delivered, so that what a slow module holds up is bounded, too.
    assert backlogs == [4, 2, 2]
    assert delivered.texts == ["0", "1", "2", "3", "4", "5"]
    assert (lane.queue_counters.queued, lane.queue_counters.dropped_queue_full) == (6, 2)
    assert lane.backlog == 0


def test_a_full_queue_still_takes_the_word_to_stop() -> None:
    """A lane whose queue is full ends when told to, after everything in the queue."""
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
    """The bound of a queue is one on memory: a datagram takes a place for each KiB that it has begun."""
    lane = lane_with(Delivered())
    put(lane, b"x", b"x" * size, b"x")
    assert lane.backlog == places + 2
    run(lane)
    assert lane.backlog == 0


def test_behind_a_large_datagram_that_does_not_fit_nothing_passes() -> None:
    """The newest are shed from the first that has no room on: a small one behind it could overtake it otherwise."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=4)
    put(lane, b"small\n", b"x" * 5000 + b"\n", b"small, too\n")
    assert (lane.queue_counters.queued, lane.queue_counters.dropped_queue_full) == (1, 2)
    assert lane.backlog == 1
    run(lane)
    assert delivered.texts == ["small"]


def test_into_an_empty_queue_fits_a_datagram_of_any_size() -> None:
    """What is larger than the whole queue is not shed for ever: alone, it gets in."""
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
    """Whatever is put, no more places are taken than there are, and each datagram is either queued or shed."""
    lane = lane_with(Delivered(), queue=limit)
    # One that is larger than the whole queue gets in when that is empty.
    largest = max((1 + size // 1024 for sizes in batches for size in sizes), default=0)
    for sizes in batches:
        put(lane, *(b"x" * size for size in sizes))
        assert 0 <= lane.backlog <= max(limit, largest)
    assert lane.queue_counters.queued + lane.queue_counters.dropped_queue_full == sum(map(len, batches))
    run(lane)
    assert lane.backlog == 0
    assert lane.counters.datagrams == lane.queue_counters.queued


# Stopping.


def test_stopping_delivers_what_is_queued_and_what_is_held() -> None:
    """Before it ends, a lane delivers the batches put before, then held records, fragments and unfinished lines."""
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


def test_finished_is_the_last_thing() -> None:
    """``finished`` is called once, after the last delivery."""
    events: list[object] = []
    lane = lane_with(lambda worker, messages: events.append(messages[0].text), reorder=60.0)
    put(lane, *records([1, 3]))
    run(lane, lambda: events.append("finished"))
    assert events == ["1", "3", "finished"]


def test_nothing_runs_before_the_start() -> None:
    """A lane that was made has no thread yet: a daemon forks in between."""
    delivered = Delivered()
    before = threading.active_count()
    lane = Lane(0, delivered, Settings())
    put(lane, *lines([1]))
    assert threading.active_count() == before
    assert not delivered.messages


def test_no_memory_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch for which there is no memory is shed and counted, and takes no place in the queue."""
    lane = Lane(0, lambda number, messages: None, Settings())

    def fail(item: object) -> None:
        raise MemoryError

    monkeypatch.setattr(lane, "_queue", SimpleNamespace(put=fail))
    lane.put([ALICE, ALICE], [b"a\n", b"b\n"], 0.0, 0.0)
    assert (lane.queue_counters.dropped_queue_full, lane.queue_counters.queued, lane.backlog) == (2, 0, 0)

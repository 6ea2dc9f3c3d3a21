"""In an overload all bounds hold, other lanes deliver, and afterwards the lane works as before."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.receive.lanes import Lane, Workers
from netconsd.settings import Settings
from netconsd.testing import source
from tests.support.memory import bytes_for
from tests.support.scripted_lane import PATIENCE, Delivered, Mailbox, lane_with, lines, put, run


class Stuck:
    """Receives the messages of all lanes, and blocks one lane until it is released."""

    def __init__(self, lane: int) -> None:
        self.lane = lane
        self.entered = threading.Event()
        self.release = threading.Event()
        self.texts: dict[int, list[str]] = {0: [], 1: []}
        self.wanted = 0
        self.enough = threading.Event()

    def __call__(self, worker: int, messages: list[Message]) -> None:
        if worker == self.lane and not self.release.is_set():
            self.entered.set()
            assert self.release.wait(PATIENCE)
        self.texts[worker] += [message.text for message in messages]
        if len(self.texts[worker]) >= self.wanted:
            self.enough.set()


def test_a_blocked_lane_does_not_delay_another() -> None:
    """While a lane is blocked and its sender continues, another lane delivers all its messages. The blocked lane queues
    up to its bound, and after its release delivers the queued messages and all later ones."""
    stuck = Stuck(0)
    # Not one that makes the calls in the lanes' threads: without the GIL, two that end at once break the Deferred.
    mailbox: Any = Mailbox()
    workers = Workers(stuck, Settings(workers=2, queue=50), reactor=mailbox)
    senders = [source(f"192.0.2.{number}") for number in range(20)]
    loud, quiet = (
        next(sender for sender in senders if workers.lane_for(sender.packed).number == lane) for lane in (0, 1)
    )
    lanes = workers.lanes
    workers.start()
    put(lanes[0], *lines([0]), sender=loud.key)
    assert stuck.entered.wait(PATIENCE)
    for turn in range(100):
        put(lanes[0], *lines(range(10 * turn, 10 * turn + 10)), sender=loud.key)
        assert lanes[0].backlog <= 50
    stuck.wanted = 40
    put(lanes[1], *lines(range(40)), sender=quiet.key)
    assert stuck.enough.wait(PATIENCE)
    assert stuck.texts[1] == [str(number) for number in range(40)]
    assert lanes[1].queue_counters.dropped_queue_full == 0
    # One of the fifty is the batch that the lane is delivering.
    assert (lanes[0].queue_counters.queued, lanes[0].queue_counters.dropped_queue_full) == (50, 951)
    stuck.enough.clear()
    stuck.wanted = 50
    stuck.release.set()
    assert stuck.enough.wait(PATIENCE)
    stuck.enough.clear()
    stuck.wanted = 60
    put(lanes[0], *lines(range(5000, 5010)), sender=loud.key)
    assert stuck.enough.wait(PATIENCE)
    assert lanes[0].queue_counters.dropped_queue_full == 951
    assert stuck.texts[0] == [str(number) for number in [0, *range(49), *range(5000, 5010)]]
    mailbox.wait_for(workers.stop())


@pytest.mark.parametrize("size", [0, 100, 1023, 1024, 2047, 65_507])
@pytest.mark.parametrize("together", [1, 512])
def test_a_place_in_a_queue_has_a_bound_on_memory(size: int, together: int) -> None:
    """A full queue of any datagrams and senders uses at most 1.5 KiB per place."""
    places = 2000

    def full() -> Lane:
        lane = lane_with(Delivered(), queue=places)
        number = 0
        # Twice as many as fit: without a bound the test fails before memory is exhausted.
        for _ in range(1 + 2 * places // together):
            senders = []
            for _ in range(together):
                number += 1
                senders.append(number.to_bytes(18, "big"))
            datagrams = [b"%d" % (index % 10) + bytes(max(0, size - 1)) for index in range(together)]
            lane.put(senders, datagrams, float(number), float(number))
        assert lane.queue_counters.dropped_queue_full
        assert lane.backlog <= places
        return lane

    assert bytes_for(full) < places * 1536 + 20_000


def test_a_queue_of_newlines_has_a_bound_on_messages() -> None:
    """A full queue makes at most 128 messages per place."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=100)
    for _ in range(50):
        put(lane, *[b"\n" * 1000] * 3, b"\n" * 65_507)
    assert lane.backlog == 100
    run(lane)
    assert len(delivered.messages) <= 128 * 100
    assert lane.backlog == 0

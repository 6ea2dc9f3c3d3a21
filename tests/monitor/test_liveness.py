"""Workers that make no progress are reported as hanging."""

from __future__ import annotations

from typing import Any

from netconsd.monitor.liveness import Liveness, status
from tests.support import daemons

FakeLane: Any = daemons.FakeLane


def test_idle_worker_is_well() -> None:
    """A worker with nothing to do is well, however long that lasts."""
    liveness, lane = Liveness(60.0), FakeLane()
    assert [liveness.hanging([lane], now) for now in (0.0, 30.0, 1e6)] == [[], [], []]


def test_worker_that_hangs() -> None:
    """A worker that has work and does not get on for the whole time hangs; the others do not."""
    liveness, lanes = Liveness(60.0), [FakeLane(0), FakeLane(1, backlog=5)]
    assert liveness.hanging(lanes, 100.0) == []
    assert liveness.hanging(lanes, 159.9) == []
    assert liveness.hanging(lanes, 160.0) == [1]


def test_slow_worker_is_well() -> None:
    """A worker that gets on, however slowly and however much is waiting, is well; the time begins anew."""
    liveness, lane = Liveness(60.0), FakeLane(backlog=9)
    for now in (0.0, 50.0, 100.0, 150.0):
        lane.counters.datagrams += 1
        assert liveness.hanging([lane], now) == []
    assert liveness.hanging([lane], 209.0) == []
    assert liveness.hanging([lane], 210.0) == [0]


def test_worker_that_was_idle_before() -> None:
    """The time counts from when work was first seen, not from the last look before that."""
    liveness, lane = Liveness(60.0), FakeLane()
    liveness.hanging([lane], 0.0)
    lane.backlog = 1
    assert liveness.hanging([lane], 59.0) == []
    assert liveness.hanging([lane], 118.9) == []
    assert liveness.hanging([lane], 119.0) == [0]
    lane.backlog = 0
    assert liveness.hanging([lane], 120.0) == []


def test_worker_whose_thread_has_ended() -> None:
    """A worker without a thread is not well, at once."""
    assert Liveness(60.0).hanging([FakeLane(3, running=False)], 0.0) == [3]


def test_status() -> None:
    """The line has the sums, and names who hangs."""
    lanes = [FakeLane(0, senders=2, backlog=9, waiting=3), FakeLane(1, senders=5)]
    lanes[0].counters.messages, lanes[1].counters.messages = 10, 20
    assert status(lanes) == "30 messages so far; 7 senders; 3 queued datagrams"
    assert status(lanes, [1]).startswith("Worker 1 is stuck: ")
    assert "\n" not in status(lanes, [0, 1])

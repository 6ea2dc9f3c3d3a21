"""One thread's share of a load: its count, its rate, its end, and its errors."""

from __future__ import annotations

import errno
import threading
from random import Random
from typing import Any

import pytest

from netconsd.send.blast import BATCH, FULL_TIMES, TICK, Blast
from netconsd.send.fleet import LARGEST, Fleet, Template
from netconsd.send.link import Link


class Script:
    """Replaces source addresses, their sender, a clock and an event. Records send times; only waiting takes time."""

    def __init__(self, *, stop_at: float = 1e9, room: int = 10**9, error: int = 0) -> None:
        self.now = 100.0
        self.sender = self
        self.sent: list[tuple[float, bytes]] = []
        self.waits: list[float] = []
        self.stopped = False
        self.room = room
        self._stop_at = 100.0 + stop_at
        self._error = error

    def clock(self) -> float:
        return self.now

    def packets(self, senders: list[int], datagrams: list[bytes]) -> tuple[list[bytes], list[int]]:
        assert len(senders) == len(datagrams)
        return datagrams, senders

    def send(self, packets: list[bytes], sources: list[int], start: int) -> int:
        if self._error:
            raise OSError(self._error, "script")
        upto = min(len(packets), start + self.room)
        self.sent += [(self.now - 100, packet) for packet in packets[start:upto]]
        return upto

    def is_set(self) -> bool:
        return self.stopped or self.now >= self._stop_at

    def set(self) -> None:
        self.stopped = True

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def run(
    script: Any,
    *,
    count: int = 0,
    rate: float = 0.0,
    link: Link | None = None,
    format: str = "extended",
    size: int | None = None,
) -> Blast:
    """Run a blast of three senders."""
    blast = Blast(
        Fleet(Template(format, size), 3, 0), link or Link(0, 0, 0, Random(1).random), script, count=count, rate=rate,
        stop=script, clock=script.clock,
    )  # fmt: skip
    blast.run()
    return blast


@pytest.mark.parametrize("count", [1, 2, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 5])
def test_count(count: int) -> None:
    """``count`` messages are sent, in order and without a pause, and counted."""
    script = Script()
    blast = run(script, count=count)
    expected = Fleet(Template("extended"), 3, 0).batch(0, count)[1]
    assert [datagram for _, datagram in script.sent] == expected
    assert script.waits == []
    assert (blast.datagrams, blast.octets, blast.senders) == (count, sum(map(len, expected)), min(count, 3))
    assert blast.counters.messages == count
    assert blast.error is None


def test_rate() -> None:
    """At 1000 messages per second, each is sent within two ticks of its time."""
    script = Script()
    run(script, count=2000, rate=1000)
    assert [when for when, _ in script.sent] == pytest.approx([number / 1000 for number in range(2000)], abs=2 * TICK)
    assert set(script.waits) == {TICK}


def test_rate_of_fragmented_messages() -> None:
    """The rate counts messages, not their fragments."""
    script = Script()
    run(script, count=100, rate=1000, format="fragments")
    assert len(script.sent) == 300
    assert script.sent[-1][0] == pytest.approx(0.1, abs=2 * TICK)


def test_stop() -> None:
    """Without a count, ``run`` ends when ``stop`` is set, after sending the held datagrams: the counters are exact."""
    script = Script(stop_at=0.5)
    link = Link(0, 0, 1, Random(1).random)
    blast = run(script, rate=1000, link=link)
    assert blast.counters.messages == pytest.approx(500, abs=2)
    assert len(script.sent) == blast.counters.sent == blast.counters.messages == blast.datagrams


def test_full_queue() -> None:
    """Datagrams that do not fit into the interface's queue are sent later: all arrive, once."""
    script = Script(room=100)
    blast = run(script, count=1000)
    assert [datagram for _, datagram in script.sent] == Fleet(Template("extended"), 3, 0).batch(0, 1000)[1]
    assert len(script.waits) == 4 * 2
    assert blast.error is None


def test_slow_interface() -> None:
    """While the interface takes some datagrams, ``run`` waits for it without limit."""
    script = Script(room=1)
    blast = run(script, count=20, format="fragments", size=LARGEST)
    assert blast.error is None
    assert len(script.sent) == blast.datagrams > FULL_TIMES
    assert len(script.waits) == len(script.sent) - 1


def test_dead_interface() -> None:
    """A queue that stays full for a second is an error."""
    script = Script(room=0)
    blast = run(script, count=10)
    assert blast.error is not None and blast.error.errno == errno.ENOBUFS
    assert len(script.waits) == FULL_TIMES
    assert script.now - 100 == pytest.approx(1.0)


def test_error() -> None:
    """An error of a system call is kept in ``error``, and sets ``stop`` for the other threads."""
    script = Script(error=errno.ENETUNREACH)
    blast = run(script, count=10)
    assert blast.error is not None and blast.error.errno == errno.ENETUNREACH
    assert script.stopped


def test_stop_before_start() -> None:
    """With a threading.Event that is set before the start, nothing is sent."""
    script: Any = Script()
    stop = threading.Event()
    stop.set()
    blast = Blast(
        Fleet(Template("extended"), 3, 0), Link(0, 0, 0, Random(1).random), script, count=0, rate=0, stop=stop
    )
    blast.run()
    assert script.sent == []

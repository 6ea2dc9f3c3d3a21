"""The workers' lane for each address, and their threads."""

from __future__ import annotations

import threading
from collections import Counter
from ipaddress import ip_address
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.receive.lanes import Workers
from netconsd.settings import Settings
from netconsd.testing import legacy, source
from tests.support.scripted_lane import PATIENCE, Delivered, Mailbox, lines, put

# For each address its lane out of 1, 2, 3, 4, 7 and 64.
LANES = {
    "192.0.2.7": (0, 0, 2, 2, 1, 50),
    "10.0.0.1": (0, 1, 2, 3, 2, 39),
    "127.0.0.1": (0, 1, 0, 1, 2, 9),
    "2001:db8::7": (0, 1, 2, 1, 6, 45),
    "::1": (0, 1, 1, 3, 0, 3),
    "198.51.100.255": (0, 0, 1, 0, 2, 40),
}

# Replaces a reactor that is never called.
UNUSED_REACTOR: Any = object()


# Lanes of addresses.


@pytest.mark.parametrize("address", LANES)
def test_the_lane_of_an_address_is_the_same_in_every_run(address: str) -> None:
    """An address has the same lane in every run and on every machine: the one in LANES."""
    packed = source(address).packed
    for count, expected in zip((1, 2, 3, 4, 7, 64), LANES[address], strict=True):
        workers = Workers(Delivered(), Settings(workers=count), reactor=UNUSED_REACTOR)
        assert workers.lane_for(packed) is workers.lanes[expected]


@pytest.mark.parametrize("network", ["10.1.0.0", "2001:db8::"])
@pytest.mark.parametrize("count", [2, 3, 4, 16])
def test_a_fleet_spreads_over_the_lanes(network: str, count: int) -> None:
    """Of 4096 adjacent addresses, every lane has its equal share, within a quarter."""
    workers = Workers(Delivered(), Settings(workers=count), reactor=UNUSED_REACTOR)
    first = ip_address(network)
    shares = Counter(workers.lane_for(source(str(first + offset)).packed).number for offset in range(4096))
    assert len(shares) == count
    assert all(abs(share - 4096 / count) <= 4096 / count / 4 for share in shares.values())


# Workers, with real threads.


def test_each_lane_has_a_thread_and_each_sender_one_lane() -> None:
    """Lanes run concurrently in threads of their own; each sender's messages are delivered in one of them, in order."""
    mailbox: Any = Mailbox()
    threads: dict[int, set[int]] = {}
    texts: dict[bytes, list[str]] = {}
    together = threading.Barrier(3)

    def deliver(worker: int, messages: list[Message]) -> None:
        if worker not in threads:
            # Passes only when all three threads are here.
            together.wait(PATIENCE)
        threads.setdefault(worker, set()).add(threading.get_ident())
        for message in messages:
            texts.setdefault(message.source.key, []).append(message.text)

    workers = Workers(deliver, Settings(workers=3), reactor=mailbox)
    workers.start()
    senders = [source(f"192.0.2.{number}").key for number in range(30)]
    for number in range(20):
        for sender in senders:
            put(workers.lane_for(sender[:16]), legacy(str(number)), sender=sender)
    mailbox.wait_for(workers.stop())
    assert sorted(threads) == [0, 1, 2]
    assert all(len(idents) == 1 for idents in threads.values())
    assert len(set.union(*threads.values())) == 3
    assert texts == {sender: [str(number) for number in range(20)] for sender in senders}


def test_threads_have_names_and_end() -> None:
    """The threads have names, do not keep a process alive, and have ended after the stop."""
    mailbox: Any = Mailbox()
    before = set(threading.enumerate())
    workers = Workers(Delivered(), Settings(workers=2), reactor=mailbox)
    workers.start()
    started = set(threading.enumerate()) - before
    assert {thread.name for thread in started} == {"netconsd-0", "netconsd-1"}
    assert all(thread.daemon for thread in started)
    mailbox.wait_for(workers.stop())
    for thread in started:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_the_stop_waits_for_every_lane() -> None:
    """The Deferred of ``stop`` fires when the last lane is done, in the reactor's thread."""
    mailbox: Any = Mailbox()
    release = threading.Event()
    delivered = Delivered()

    def deliver(worker: int, messages: list[Message]) -> None:
        assert release.wait(PATIENCE)
        delivered(worker, messages)

    workers = Workers(deliver, Settings(workers=2), reactor=mailbox)
    workers.start()
    put(workers.lanes[1], *lines([1]))
    stopped = workers.stop()
    fired_in: list[int] = []
    stopped.addCallback(lambda _: fired_in.append(threading.get_ident()))
    # The idle lane is done at once; this is its call.
    mailbox.calls.get(timeout=PATIENCE)()
    assert not stopped.called
    release.set()
    mailbox.wait_for(stopped)
    assert fired_in == [threading.get_ident()]
    assert delivered.texts == ["1"]


def test_a_stop_without_a_start() -> None:
    """``stop`` of workers that were never started fires at once."""
    assert Workers(Delivered(), reactor=UNUSED_REACTOR).stop().called


def test_a_thread_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system cannot start the last lane's thread, ``start`` raises, and ``stop`` ends the others."""
    mailbox: Any = Mailbox()
    start = threading.Thread.start

    def start_but_one(self: threading.Thread) -> None:
        if self.name == "netconsd-2":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_but_one)
    delivered = Delivered()
    workers = Workers(delivered, Settings(workers=3), reactor=mailbox)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        workers.start()
    put(workers.lanes[0], *lines([1]))
    mailbox.wait_for(workers.stop())
    assert delivered.texts == ["1"]


def test_the_defaults() -> None:
    """Without settings there are as many lanes as in the daemon by default."""
    assert len(Workers(Delivered(), reactor=UNUSED_REACTOR).lanes) == Settings().workers

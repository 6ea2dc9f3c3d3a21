"""Senders behind a network that loses, repeats, reorders, delays and damages datagrams: messages are delivered or
counted."""

from __future__ import annotations

import queue
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from netconsd.monitor.snapshot import take
from netconsd.protocol.counters import COUNTERS, WorkerCounters, inconsistencies, total
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable
from netconsd.protocol.window import WINDOW
from netconsd.receive.lanes import Workers
from netconsd.send.fleet import FIRST_SEQ, FORMATS
from netconsd.settings import Settings
from netconsd.testing import RecordingModule, source
from tests.support.faulty_network import TICK, Arrival, Faults, Proxy
from tests.support.outputs import Synchronous
from tests.support.scripted_lane import SameThread
from tests.support.snapshots import FakeReader
from tests.support.traffic import TEMPLATES, Traffic

REORDER_TIME = 1 / 4
# Within the window: a record further behind would be a reset.
MESSAGES = WINDOW // 2
KEYS = [source(f"192.0.2.{number}").key for number in range(len(TEMPLATES))]
NUMBERS = {source(f"192.0.2.{number}").address: number for number in range(len(TEMPLATES))}

often = st.sampled_from([0.0, 0.0, 0.1, 0.3])
gentle = st.builds(Faults, loss=often, repeat=often, reorder=often, delay=often)
hostile = st.builds(Faults, loss=often, repeat=often, reorder=often, delay=often, cut=often, flip=often, stray=often)
seeds = st.integers(0, 2**32 - 1)


class Pipeline:
    """A table of senders that was fed the arrivals at their times, and all messages that it delivered."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.counters = WorkerCounters()
        self.messages: list[Message] = []
        table = SourceTable(self.counters, limit=len(KEYS), reorder_time=REORDER_TIME, gc_interval=0, age=0)
        for arrival in arrivals:
            while table.next_deadline() <= arrival.at:
                self.messages += table.advance(table.next_deadline())
            self.messages += table.feed([KEYS[arrival.sender]], [arrival.datagram], 5.0, arrival.at)
            self._check(table)
        while table.next_deadline() != NEVER:
            self.messages += table.advance(table.next_deadline())
        self.senders = {NUMBERS[each.address]: each for each in table.top(len(KEYS), "datagrams")}
        assert table.flush() == []
        assert inconsistencies(total([self.counters])) == []

    def _check(self, table: SourceTable) -> None:
        """After each arrival every datagram has one outcome, and every message was delivered or is held."""
        counted = total([self.counters])
        held = counted["records"] + counted["reassembled"] + counted["lines"] - counted["messages"]
        assert counted["messages"] == len(self.messages)
        assert inconsistencies(counted | {"messages": counted["messages"] + held}) == []
        assert held >= 0
        assert held == 0 or table.next_deadline() != NEVER

    @property
    def by_sender(self) -> dict[int, list[Message]]:
        """The messages by sender, in order."""
        messages = defaultdict(list)
        for message in self.messages:
            messages[NUMBERS[message.source.address]].append(message)
        return messages


@given(gentle, seeds, st.integers(1, MESSAGES))
@settings(max_examples=150)
def test_messages_are_delivered_or_counted(faults: Faults, seed: int, messages: int) -> None:
    """With loss, repeats, disorder and delays, a message is delivered if a datagram of it arrives, once if it
    is only one. Repeats and missing seqs are counted."""
    traffic = Traffic(faults, seed, messages)
    for sender, template in enumerate(TEMPLATES):
        arrivals = traffic.of(sender)
        own = Pipeline(arrivals)
        passed = {traffic.sent[arrival.number][1] for arrival in arrivals}
        counters = own.counters
        assert counters.datagrams == len(arrivals)
        if sender == list(FORMATS).index("legacy"):
            # Lines have no seq, so that repeats are delivered.
            assert Counter(message.raw for message in own.messages) == Counter(each.datagram for each in arrivals)
            continue
        delivered = [message for message in own.messages if isinstance(message, ExtendedMessage)]
        assert len(delivered) == len(own.messages)
        assert {message.seq - FIRST_SEQ for message in delivered} == passed
        if len(template) == 1:
            assert len(delivered) == len(passed)
            assert counters.dropped_duplicate == len(arrivals) - len(passed)
        for message in delivered:
            _, pieces = traffic.fleets[sender].message(message.seq - FIRST_SEQ)
            body = b"".join(piece.partition(b";")[2] for piece in pieces)
            assert message.raw == body or message.incomplete
            assert len(template) > 1 or not message.incomplete
        assert_seqs_add_up(delivered, counters)
        if "msgid" in repr(traffic.fleets[sender].message(0)):
            assert counters.lost == counters.missing


def assert_seqs_add_up(delivered: list[ExtendedMessage], counters: WorkerCounters) -> None:
    """Each seq from the first to the last was delivered in order, or is counted as missing."""
    if delivered:
        in_order = [message.seq for message in delivered if not message.out_of_order]
        assert in_order == sorted(set(in_order))
        assert counters.resets == 1
        assert counters.missing == sum(message.missing for message in delivered)
        assert in_order[-1] - in_order[0] + 1 == len(in_order) + counters.missing


@given(hostile, seeds, st.integers(1, MESSAGES))
@settings(max_examples=150)
def test_undamaged_datagrams_are_delivered(faults: Faults, seed: int, messages: int) -> None:
    """With cut datagrams, flipped bits and wrong addresses as well, an undamaged message of one datagram is delivered
    with its seq and bytes, or counted as a duplicate of a damaged one; datagrams, bytes and messages are counted."""
    traffic = Traffic(faults, seed, messages)
    for sender, template in enumerate(TEMPLATES):
        arrivals = traffic.of(sender)
        own = Pipeline(arrivals)
        if arrivals:
            counters = own.senders[sender]
            assert counters.datagrams == own.counters.datagrams == len(arrivals)
            assert counters.bytes == own.counters.bytes == sum(len(arrival.datagram) for arrival in arrivals)
        assert own.counters.messages == len(own.messages)
        if len(template) > 1:
            continue
        text = b"".join(message.raw for message in own.messages)
        records = {(m.seq, m.raw) for m in own.messages if isinstance(m, ExtendedMessage)}
        absent = 0
        for nth in {traffic.sent[each.number][1] for each in arrivals if each.unharmed}:
            (datagram,) = traffic.fleets[sender].message(nth)[1]
            if sender == list(FORMATS).index("legacy"):
                assert datagram in text
            else:
                absent += (FIRST_SEQ + nth, datagram.partition(b";")[2]) not in records
        assert absent <= own.counters.dropped_duplicate


@given(hostile, seeds, st.integers(1, MESSAGES))
@settings(max_examples=150)
def test_senders_do_not_affect_each_other(faults: Faults, seed: int, messages: int) -> None:
    """The messages of each of many senders are those that it has alone, and so are the sums of the counters."""
    traffic = Traffic(faults, seed, messages)
    together = Pipeline(traffic.arrivals)
    alone = [Pipeline(traffic.of(sender)) for sender in range(len(TEMPLATES))]
    for sender, own in enumerate(alone):
        assert together.by_sender.get(sender, []) == own.messages
    assert total([together.counters]) == total(own.counters for own in alone)


class Timeline:
    """In place of a lane's queue: returns each batch at its time, and advances the clock until then."""

    def __init__(self) -> None:
        self.now = 0.0
        self._items: list[Any] = []

    def put(self, item: Any) -> None:
        self._items.append(item)

    def get(self, timeout: float | None) -> Any:
        item = self._items[0]
        # The sentinel is returned when the lane has no deadline.
        due = float("inf") if item is None else max(self.now, item.now)
        if timeout is not None and self.now + timeout <= due:
            self.now += timeout
            raise queue.Empty
        if item is not None:
            self.now = due
        return self._items.pop(0)

    def time(self) -> float:
        return self.now


@given(hostile, seeds)
@settings(max_examples=150)
def test_lanes_and_modules_deliver_the_same_messages(faults: Faults, seed: int) -> None:
    """With two workers and two modules, each module gets the messages that one table delivers; the counters add up."""
    traffic = Traffic(faults, seed, 8)
    modules = {"one": RecordingModule(), "two": RecordingModule()}
    outputs = Synchronous(modules, 2)
    no_reactor: Any = None
    Deferred.fromCoroutine(outputs.start(no_reactor))
    reader: Any = FakeReader()
    listener = reader.counters
    settings = Settings(workers=2, reorder=REORDER_TIME, gc_interval=0.0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("netconsd.receive.lanes.SimpleQueue", Timeline)
        workers = Workers(outputs.deliver, settings, reactor=no_reactor)
    lanes = workers.lanes
    for arrival in traffic.arrivals:
        listener.datagrams += 1
        listener.bytes += len(arrival.datagram)
        key = KEYS[arrival.sender]
        workers.lane_for(key[:16]).put([key], [arrival.datagram], 5.0, arrival.at)
    for lane in lanes:
        timeline: Any = lane._queue
        lane._clock = timeline.time
        lane._ask_mark = None
        lane._make_thread = SameThread
        lane.stop()
        lane.start(lambda: None)
    snapshot = take([reader], lanes, outputs.started, 0.0)
    assert snapshot.inconsistencies() == []
    assert snapshot.received == len(traffic.arrivals)
    together = Pipeline(traffic.arrivals)
    assert {name: sum(worker.counters[name] for worker in snapshot.workers) for name in COUNTERS} == total(
        [together.counters]
    )
    for module in modules.values():
        by_sender = defaultdict(list)
        for message in module.messages:
            by_sender[NUMBERS[message.source.address]].append(message)
        assert {sender: [m.raw for m in messages] for sender, messages in by_sender.items()} == {
            sender: [m.raw for m in messages] for sender, messages in together.by_sender.items()
        }


@pytest.mark.parametrize("fault", ["loss", "repeat", "reorder", "delay", "cut", "flip", "stray"])
def test_the_faults_of_the_proxy(fault: str) -> None:
    """Each fault occurs with about its probability, no other does, and the same seed gives the same arrivals."""
    faults = replace(Faults(), **{fault: 0.3})
    sent = [b"%03d" % number * 10 for number in range(300)]

    def carried() -> list[Arrival]:
        proxy = Proxy(faults, Random(7), 5)
        for number, datagram in enumerate(sent):
            assert proxy.send(number * TICK, number % 5, datagram) == number
        return list(proxy.arrivals())

    arrivals = carried()
    assert arrivals == carried()
    numbers = [each.number for each in arrivals]
    happened = {
        "loss": len(set(range(300)) - set(numbers)),
        "repeat": len(numbers) - len(set(numbers)),
        "reorder": sum(after < before for before, after in pairwise(numbers)),
        "delay": sum(each.at > each.number * TICK + 0.1 for each in arrivals),
        "cut": sum(len(each.datagram) < 30 for each in arrivals),
        "flip": sum(len(each.datagram) == 30 and each.datagram != sent[each.number] for each in arrivals),
        "stray": sum(each.sender != each.number % 5 for each in arrivals),
    }
    assert 40 <= happened.pop(fault) <= 150
    if fault in {"repeat", "delay"}:
        # A late datagram is also out of order.
        del happened["reorder"]
    assert set(happened.values()) == {0}
    assert sum(not each.unharmed for each in arrivals) == (
        sum(each.datagram != sent[each.number] or each.sender != each.number % 5 for each in arrivals)
    )

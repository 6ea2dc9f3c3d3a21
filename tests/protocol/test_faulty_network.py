"""Between senders and us a network that loses, repeats, reorders, delays, cuts, flips bits and mixes up addresses: what
each sender sent is what was delivered and what is counted."""

from __future__ import annotations

import queue
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from netconsd.monitor.snapshot import take
from netconsd.outputs.runner import Outputs
from netconsd.protocol.counters import COUNTERS, WorkerCounters, inconsistencies, total
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable
from netconsd.protocol.window import WINDOW
from netconsd.receive.lanes import Workers
from netconsd.send.fleet import FIRST_SEQ, FORMATS, Fleet, Template
from netconsd.settings import Settings
from netconsd.testing import RecordingModule, source
from tests.support.faulty_network import TICK, Arrival, Faults, Proxy
from tests.support.scripted_lane import SameThread
from tests.support.snapshots import FakeReader
from tests.support.strategies import examples

HOLD = 1 / 4
# Fewer than a sender's repeats are recognised among: what is further behind is another boot by the rules.
MESSAGES = WINDOW // 2
# Seconds between two messages of a sender.
STEP = 1 / 128
TEMPLATES = [Template(format) for format in FORMATS]
KEYS = [source(f"192.0.2.{number}").key for number in range(len(TEMPLATES))]
NUMBERS = {source(f"192.0.2.{number}").address: number for number in range(len(TEMPLATES))}

often = st.sampled_from([0.0, 0.0, 0.1, 0.3])
gentle = st.builds(Faults, loss=often, repeat=often, reorder=often, delay=often)
hostile = st.builds(Faults, loss=often, repeat=often, reorder=often, delay=often, cut=often, flip=often, stray=often)
seeds = st.integers(0, 2**32 - 1)


class Traffic:
    """A sender per format, each with some messages, and what a network made of them."""

    def __init__(self, faults: Faults, seed: int, messages: int) -> None:
        self.messages = messages
        #: Sender and message of each datagram sent: the number of each is its place.
        self.sent: list[tuple[int, int]] = []
        #: Of each sender, each message's datagrams.
        self.fleets = [Fleet(template, 1, 0, sender) for sender, template in enumerate(TEMPLATES)]
        proxy = Proxy(faults, Random(seed), len(self.fleets))
        for nth in range(messages):
            for fleet in self.fleets:
                sender, pieces = fleet.message(nth)
                for piece in pieces:
                    proxy.send(nth * STEP, sender, piece)
                    self.sent.append((sender, nth))
        self.arrivals = list(proxy.arrivals())

    def of(self, sender: int) -> list[Arrival]:
        """What arrived under a sender's address."""
        return [arrival for arrival in self.arrivals if arrival.sender == sender]


class Pipeline:
    """A table of senders, in the time of the arrivals, and all that it delivered."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.counters = WorkerCounters()
        self.messages: list[Message] = []
        table = SourceTable(self.counters, limit=len(KEYS), hold=HOLD, gc_interval=0, age=0)
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
        for sender in self.senders.values():
            assert inconsistencies(asdict(sender)) == []

    def _check(self, table: SourceTable) -> None:
        """At every moment each datagram has one fate, and each message came out, or waits."""
        counted = total([self.counters])
        held = counted["whole"] + counted["reassembled"] + counted["lines"] - counted["messages"]
        assert counted["messages"] == len(self.messages)
        assert inconsistencies(counted | {"messages": counted["messages"] + held}) == []
        assert held >= 0
        assert held == 0 or table.next_deadline() != NEVER

    @property
    def by_sender(self) -> dict[int, list[Message]]:
        """The messages of each sender, in order."""
        found = defaultdict(list)
        for message in self.messages:
            found[NUMBERS[message.source.address]].append(message)
        return found


@given(gentle, seeds, st.integers(1, MESSAGES))
@examples(150)
def test_what_a_sender_sent_is_delivered_or_counted(faults: Faults, seed: int, messages: int) -> None:
    """Loss, repeats, disorder and delays: of each sender, every message of which something came is delivered, once if
    it has one datagram; repeats are counted, and so is what never came between the first and the last."""
    traffic = Traffic(faults, seed, messages)
    for sender, template in enumerate(TEMPLATES):
        arrivals = traffic.of(sender)
        own = Pipeline(arrivals)
        passed = {traffic.sent[arrival.number][1] for arrival in arrivals}
        counters = own.counters
        assert counters.datagrams == len(arrivals)
        if sender == list(FORMATS).index("legacy"):
            # Lines have no numbers: each that came is one, repeats as well.
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
        assert_numbers_are_accounted_for(delivered, counters)
        if "msgid" in repr(traffic.fleets[sender].message(0)):
            assert counters.lost == counters.missing


def assert_numbers_are_accounted_for(delivered: list[ExtendedMessage], counters: WorkerCounters) -> None:
    """From the first number to the last each came in its place, or is counted as missing."""
    if delivered:
        in_order = [message.seq for message in delivered if not message.out_of_order]
        assert in_order == sorted(set(in_order))
        assert counters.resets == 1
        assert counters.missing == sum(message.missing for message in delivered)
        assert in_order[-1] - in_order[0] + 1 == len(in_order) + counters.missing


@given(hostile, seeds, st.integers(1, MESSAGES))
@examples(150)
def test_harm_is_done_to_what_was_harmed(faults: Faults, seed: int, messages: int) -> None:
    """Cut datagrams, flipped bits, wrong addresses on top: what came unharmed, in one datagram, under its own address,
    is delivered with its number and every byte, or it is counted as a repeat, because what was harmed looked like it;
    and each sender's datagrams, bytes and messages are all accounted for."""
    traffic = Traffic(faults, seed, messages)
    for sender, template in enumerate(TEMPLATES):
        arrivals = traffic.of(sender)
        own = Pipeline(arrivals)
        if arrivals:
            account = own.senders[sender]
            assert account.datagrams == own.counters.datagrams == len(arrivals)
            assert account.octets == own.counters.octets == sum(len(each.datagram) for each in arrivals)
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
@examples(150)
def test_senders_do_not_disturb_each_other(faults: Faults, seed: int, messages: int) -> None:
    """Of many senders at once, each gets what it would get alone, message for message; and all together are counted
    as they are one by one."""
    traffic = Traffic(faults, seed, messages)
    together = Pipeline(traffic.arrivals)
    alone = [Pipeline(traffic.of(sender)) for sender in range(len(TEMPLATES))]
    for sender, own in enumerate(alone):
        assert together.by_sender.get(sender, []) == own.messages
    assert total([together.counters]) == total(own.counters for own in alone)


class Timeline:
    """In place of a lane's queue: each batch comes when it is due, and until then the time passes."""

    def __init__(self) -> None:
        self.now = 0.0
        self._items: list[Any] = []

    def put(self, item: Any) -> None:
        self._items.append(item)

    def get(self, timeout: float | None) -> Any:
        item = self._items[0]
        # The end comes when nothing waits any more.
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
@examples(150)
def test_the_same_through_lanes_and_modules(faults: Faults, seed: int) -> None:
    """Listener's accounts, two workers with their queues, and modules: every sender's messages come to each module as
    from its table alone, and the accounts add up."""
    traffic = Traffic(faults, seed, 8)
    modules = {"one": RecordingModule(), "two": RecordingModule()}
    outputs = Outputs(modules, 2)
    nobody: Any = None
    Deferred.fromCoroutine(outputs.start(nobody))
    reader: Any = FakeReader()
    settings = Settings(workers=2, reorder=HOLD, gc_interval=0.0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("netconsd.receive.lanes.SimpleQueue", Timeline)
        workers = Workers(outputs.deliver, settings, reactor=nobody)
    lanes = workers.lanes
    for arrival in traffic.arrivals:
        reader.counters.datagrams += 1
        reader.counters.octets += len(arrival.datagram)
        key = KEYS[arrival.sender]
        workers.lane_for(key[:16]).put([key], [arrival.datagram], 5.0, arrival.at)
    for lane in lanes:
        timeline: Any = lane._queue
        lane._clock = timeline.time
        lane._make_thread = SameThread
        lane.stop()
        lane.start(lambda: None)
    accounts = take([reader], lanes, outputs.started, 0.0)
    assert accounts.inconsistencies() == []
    assert accounts.received == len(traffic.arrivals)
    together = Pipeline(traffic.arrivals)
    assert {name: sum(worker.counters[name] for worker in accounts.workers) for name in COUNTERS} == total(
        [together.counters]
    )
    for module in modules.values():
        got = defaultdict(list)
        for message in module.messages:
            got[NUMBERS[message.source.address]].append(message)
        assert {sender: [m.raw for m in messages] for sender, messages in got.items()} == {
            sender: [m.raw for m in messages] for sender, messages in together.by_sender.items()
        }


@pytest.mark.parametrize("fault", ["loss", "repeat", "reorder", "delay", "cut", "flip", "stray"])
def test_the_proxy_does_what_it_says(fault: str) -> None:
    """Each fault happens about as often as it shall, no other one does, and the same seed does the same again."""
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
        # What is late comes behind others.
        del happened["reorder"]
    assert set(happened.values()) == {0}
    assert sum(not each.unharmed for each in arrivals) == (
        sum(each.datagram != sent[each.number] or each.sender != each.number % 5 for each in arrivals)
    )

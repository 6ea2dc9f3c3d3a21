"""The schedule of acknowledgements."""

from __future__ import annotations

import pytest

from netconsd.protocol.acknowledgement import ACK_BYTES
from netconsd.protocol.acks import (
    ACK_SECONDS,
    ADDRESS_LIMIT,
    ADDRESSES_LIMIT,
    CREDIT_LIMIT,
    RECENT_LIMIT,
    Acks,
)
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable
from netconsd.testing import extended, fragments, source
from tests.support.scripted_lane import ALICE, BOB


class Replies:
    """A table of senders with acknowledgements, and all replies."""

    def __init__(self, *, works: bool = True) -> None:
        self.table = SourceTable(WorkerCounters(), limit=100_000, reorder_time=0.2, gc_interval=0, age=0)
        self.sent: list[tuple[bytes, bytes]] = []
        self.works = works
        self.acks = Acks(self.table, self.reply)

    def reply(self, key: bytes, ack: bytes) -> bool:
        self.sent.append((key, ack))
        return self.works

    def receive(self, key: bytes, *datagrams: bytes, now: float) -> None:
        """A batch of one sender."""
        senders = [key] * len(datagrams)
        self.table.feed(senders, list(datagrams), 0.0, now)
        self.acks.heard(senders, datagrams, now)

    def feed(self, key: bytes, *seqs: int, now: float) -> None:
        self.receive(key, *(extended("x", seq=seq) for seq in seqs), now=now)

    def new(self) -> list[tuple[bytes, bytes]]:
        """The replies since the last call."""
        sent, self.sent = self.sent, []
        return sent


def test_a_batch_is_acknowledged_at_once() -> None:
    """A sender's first batch is acknowledged at once, with one reply."""
    replies = Replies()
    replies.feed(ALICE, 1, 2, 3, now=0.0)
    assert replies.new() == [(ALICE, b"ncrx3")]
    assert replies.acks.next_deadline() == NEVER


def test_the_next_acknowledgement_is_delayed() -> None:
    """Within ACK_SECONDS of a reply there is no other; at their end there is one for all records since."""
    replies = Replies()
    for number in range(1, 5):
        replies.feed(ALICE, number, now=number * ACK_SECONDS / 10)
    assert replies.new() == [(ALICE, b"ncrx1")]
    due = replies.acks.next_deadline()
    assert due == pytest.approx(1.1 * ACK_SECONDS)
    replies.acks.advance(due)
    assert replies.new() == [(ALICE, b"ncrx4")]
    replies.acks.advance(due + ACK_SECONDS)
    assert replies.new() == []
    replies.feed(ALICE, 5, now=due + ACK_SECONDS)
    assert replies.new() == [(ALICE, b"ncrx5")]


def test_a_repeat_is_acknowledged() -> None:
    """A sender that repeats a record, because an acknowledgement was lost, gets another one."""
    replies = Replies()
    for now in (0.0, 1.0, 2.0):
        replies.feed(ALICE, 1, now=now)
    assert replies.new() == [(ALICE, b"ncrx1")] * 3


def test_the_delay_is_per_sender() -> None:
    """A reply to one sender does not delay the reply to another."""
    replies = Replies()
    replies.feed(ALICE, 1, now=0.0)
    replies.feed(BOB, 7, now=0.0)
    assert replies.new() == [(ALICE, b"ncrx1"), (BOB, b"ncrx7")]


# None of these can be acknowledged: answers of a receiver, what the services echo, chargen and daytime send, text.
NO_RECORDS = [
    b"",
    b"text\n",
    b"ncrx7",
    b"ncrx7 3 4\n",
    b"ncrx7\n6,8,8,-;a record after an answer\n",
    b"ncrx7,6,8,8,-;an answer in place of a release\n",
    b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n",
    b"Saturday, November 28, 2026 04:10:00-UTC\r\n",
    b"6,8,8,-,ncfrag=9/3;a fragment outside of its record",
]


@pytest.mark.parametrize("datagram", NO_RECORDS)
@pytest.mark.parametrize("known", [False, True], ids=["a stranger", "a sender of records"])
def test_only_records_are_acknowledged(datagram: bytes, known: bool) -> None:
    """A datagram that is no record gets no answer and no place in the schedule, also from a sender of records."""
    replies = Replies()
    if known:
        replies.feed(ALICE, 7, now=0.0)
        assert replies.new() == [(ALICE, b"ncrx7")]
    for now in (0.001, 1.0, 2.0):
        replies.receive(ALICE, datagram, now=now)
    replies.acks.advance(3.0)
    assert replies.new() == []
    assert replies.acks.next_deadline() == NEVER
    assert replies.acks.counters.dropped == 0


def test_a_sender_that_was_evicted_gets_no_answer() -> None:
    """A sender that is no longer in the table gets no answer."""
    replies = Replies()
    replies.acks.heard([ALICE], [extended("x", seq=1)], 0.0)
    assert replies.new() == []


def test_a_fragment_and_a_repeat_are_acknowledged() -> None:
    """Fragments and duplicates of records are answered."""
    replies = Replies()
    replies.feed(ALICE, 1, now=0.0)
    first, last = fragments(extended("x" * 1500, seq=2))
    replies.receive(ALICE, last, now=1.0)
    replies.receive(ALICE, first, now=2.0)
    replies.feed(ALICE, 1, now=3.0)
    assert replies.new() == [(ALICE, b"ncrx1"), (ALICE, b"ncrx1 2"), (ALICE, b"ncrx2"), (ALICE, b"ncrx2")]


def test_two_receivers_fall_silent() -> None:
    """Two receivers that get a forged record each, with the other's address, send one answer each and no more; so does
    one with its own address."""
    one, other = Replies(), Replies()
    alone = Replies()
    transit = [(one, ALICE, extended("x", seq=1)), (other, BOB, extended("x", seq=2)), (alone, ALICE, extended("x"))]
    peers = {one: (other, BOB), other: (one, ALICE), alone: (alone, ALICE)}
    for turn in range(10):
        sent = []
        for receiver, key, datagram in transit:
            receiver.receive(key, datagram, now=float(turn))
            receiver.acks.advance(turn + 0.5)
            sent += [(*peers[receiver], answer) for _, answer in receiver.new()]
        transit = sent
        assert bool(transit) == (turn == 0)
    assert [receiver.acks.counters.sent for receiver in peers] == [1, 1, 1]


def test_replies_to_forged_senders_are_bounded() -> None:
    """At most RECENT_LIMIT senders get a reply within ACK_SECONDS; the others are counted, and get one later."""
    replies = Replies()
    keys = [source(f"192.0.{number >> 8}.{number & 255}").key for number in range(RECENT_LIMIT + 10)]
    for key in keys:
        replies.feed(key, 1, now=0.0)
    assert len(replies.new()) == RECENT_LIMIT
    assert replies.acks.counters.dropped == 10
    replies.feed(keys[-1], 2, now=ACK_SECONDS)
    assert replies.new() == [(keys[-1], b"ncrx2")]


def test_the_bound_is_per_address() -> None:
    """At most ADDRESS_LIMIT ports of one address get a reply within ACK_SECONDS, and another address gets its own."""
    replies = Replies()
    for port in range(1, 1000):
        replies.feed(source("192.0.2.7", port).key, 1, now=0.0)
    assert len(replies.new()) == ADDRESS_LIMIT
    replies.feed(BOB, 7, now=0.0)
    assert replies.new() == [(BOB, b"ncrx7")]
    for port in range(1, 1000):
        replies.feed(source("192.0.2.7", port).key, 2, now=ACK_SECONDS)
    assert len(replies.new()) == ADDRESS_LIMIT


def test_no_address_is_sent_more_than_it_sent() -> None:
    """Whatever the ports, the gaps and the times, the bytes of the answers never exceed those of the records: not with
    forged gaps, whose answers would have ACK_BYTES."""
    replies = Replies()
    received = sent = 0
    for number in range(3000):
        key = source("192.0.2.7", 1 + number % 40).key
        datagram = extended("", seq=1000 * number, ts_usec=0)
        received += len(datagram)
        replies.receive(key, datagram, now=number * ACK_SECONDS / 3)
        sent += sum(len(answer) for _, answer in replies.new())
        assert sent <= received
    assert replies.acks.counters.sent > 100


def test_an_answer_without_credit_waits() -> None:
    """With little credit no answer is sent, and the credit grows until one names all missing records: a record behind a
    gap that the sender cannot fill is acknowledged some day."""
    replies = Replies()
    base = 10**9
    replies.feed(ALICE, base, base + 40, now=0.0)
    replies.table.advance(1.0)
    replies.new()
    answers: list[bytes] = []
    for now in range(1, 30):
        replies.receive(ALICE, extended("", seq=base + 40), now=float(now))
        answers += [answer for _, answer in replies.new()]
    assert answers[0].startswith(b"ncrx%d %d " % (base + 40, base + 1))
    assert all(len(answer.split()) == 40 for answer in answers)
    assert replies.acks.counters.dropped > 0


def test_an_answer_that_cannot_be_paid_is_dropped() -> None:
    """If even the shortest answer is longer than the bytes that the address sent, it is dropped and counted."""
    replies = Replies()
    top = 2**64 - 1
    replies.receive(ALICE, b"6,%d,0,-;\n" % top, now=0.0)
    assert replies.new() == [(ALICE, b"ncrx%d" % top)]
    fragment = b"6,1,0,-,ncfrag=0/9;x"
    for now in (1.0, 1.1):
        replies.receive(ALICE, fragment, now=now)
    assert replies.acks.counters.dropped == 1
    assert replies.new() == [(ALICE, b"ncrx%d" % top)]


def test_credit_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that sent for a day can be sent CREDIT_LIMIT bytes without sending more, and no more."""
    monkeypatch.setattr("netconsd.protocol.acks.ADDRESS_LIMIT", 1000)
    replies = Replies()
    for number in range(100):
        replies.receive(ALICE, *[extended("x" * 900, seq=1000 + 2 * number)] * 10, now=number * ACK_SECONDS)
    replies.new()
    assert replies.acks._credit[ALICE[:16]] <= CREDIT_LIMIT
    assert CREDIT_LIMIT >= 4 * ACK_BYTES


def test_the_addresses_are_bounded() -> None:
    """The table of addresses has at most ADDRESSES_LIMIT entries; a forgotten address begins without credit."""
    replies = Replies()
    replies.receive(ALICE, *[extended("x" * 900, seq=1)] * 10, now=0.0)
    for number in range(ADDRESSES_LIMIT + 10):
        address = f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}"
        replies.feed(source(address).key, 1, now=float(number))
    acks = replies.acks
    assert len(acks._credit) == ADDRESSES_LIMIT
    assert ALICE[:16] not in acks._credit
    assert len(acks._answered) <= RECENT_LIMIT
    acks.advance(1e9)
    assert (acks._answered, acks._recent) == ({}, {})


def test_a_failed_reply_is_counted() -> None:
    """A reply that the system refuses is counted as failed."""
    replies = Replies(works=False)
    replies.feed(ALICE, 1, now=0.0)
    assert (replies.acks.counters.sent, replies.acks.counters.failed) == (0, 1)

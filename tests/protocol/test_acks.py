"""The schedule of acknowledgements."""

from __future__ import annotations

import pytest

from netconsd.protocol.acks import ACK_SECONDS, RECENT_LIMIT, Acks
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable
from netconsd.testing import extended, source
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

    def feed(self, key: bytes, *seqs: int, now: float) -> None:
        senders = [key] * len(seqs)
        self.table.feed(senders, [extended("x", seq=seq) for seq in seqs], 0.0, now)
        self.acks.heard(senders, now)

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


def test_legacy_text_is_not_acknowledged() -> None:
    """A sender of legacy text, or an unknown one, gets no reply and no place in the schedule."""
    replies = Replies()
    replies.table.feed([ALICE], [b"text\n"], 0.0, 0.0)
    replies.acks.heard([ALICE, BOB], 0.0)
    replies.acks.heard([ALICE, BOB], 0.0)
    assert replies.new() == []
    assert replies.acks.next_deadline() == NEVER


def test_replies_to_forged_senders_are_bounded() -> None:
    """At most RECENT_LIMIT senders get a reply within ACK_SECONDS; the others are counted, and get one later."""
    replies = Replies()
    keys = [source("192.0.2.1", port).key for port in range(1, RECENT_LIMIT + 11)]
    for key in keys:
        replies.feed(key, 1, now=0.0)
    assert len(replies.new()) == RECENT_LIMIT
    assert replies.acks.counters.dropped == 10
    replies.feed(keys[-1], 2, now=ACK_SECONDS)
    assert replies.new() == [(keys[-1], b"ncrx2")]


def test_a_failed_reply_is_counted() -> None:
    """A reply that the system refuses is counted as failed."""
    replies = Replies(works=False)
    replies.feed(ALICE, 1, now=0.0)
    assert (replies.acks.counters.sent, replies.acks.counters.failed) == (0, 1)

"""Acknowledgements: when which sender is answered, and how a lane and the daemon do it."""

from __future__ import annotations

import pytest

from netconsd.protocol.acks import ACK_SECONDS, RECENT_LIMIT, Acks
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import Message
from netconsd.protocol.stream import NEVER
from netconsd.protocol.table import SourceTable
from netconsd.receive.lanes import Lane
from netconsd.settings import Settings
from netconsd.testing import extended, source
from tests.support.scripted_lane import ALICE, BOB, Delivered, SameThread, Scripted, put, records, run


class Answers:
    """A table of senders with acknowledgements, and all that was answered."""

    def __init__(self, *, works: bool = True) -> None:
        self.table = SourceTable(WorkerCounters(), limit=100_000, reorder_time=0.2, gc_interval=0, age=0)
        self.given: list[tuple[bytes, bytes]] = []
        self.works = works
        self.acks = Acks(self.table, self.reply)

    def reply(self, key: bytes, ack: bytes) -> bool:
        self.given.append((key, ack))
        return self.works

    def feed(self, key: bytes, *seqs: int, now: float) -> None:
        senders = [key] * len(seqs)
        self.table.feed(senders, [extended("x", seq=seq) for seq in seqs], 0.0, now)
        self.acks.heard(senders, now)

    def new(self) -> list[tuple[bytes, bytes]]:
        """What was answered since the last look."""
        given, self.given = self.given, []
        return given


def test_a_sender_is_answered_at_once_and_once_per_batch() -> None:
    """The first batch is answered immediately, with one acknowledgement for all of it."""
    answers = Answers()
    answers.feed(ALICE, 1, 2, 3, now=0.0)
    assert answers.new() == [(ALICE, b"ncrx3")]
    assert answers.acks.next_deadline() == NEVER


def test_the_next_answer_waits_and_tells_all() -> None:
    """Within ACK_SECONDS there is no second answer; then there is one, with what is known by then."""
    answers = Answers()
    for number in range(1, 5):
        answers.feed(ALICE, number, now=number * ACK_SECONDS / 10)
    assert answers.new() == [(ALICE, b"ncrx1")]
    due = answers.acks.next_deadline()
    assert due == pytest.approx(1.1 * ACK_SECONDS)
    answers.acks.advance(due)
    assert answers.new() == [(ALICE, b"ncrx4")]
    answers.acks.advance(due + ACK_SECONDS)
    assert answers.new() == []
    answers.feed(ALICE, 5, now=due + ACK_SECONDS)
    assert answers.new() == [(ALICE, b"ncrx5")]


def test_a_repeat_is_answered() -> None:
    """A sender that sends again what is here, because an acknowledgement was lost, gets it again."""
    answers = Answers()
    for now in (0.0, 1.0, 2.0):
        answers.feed(ALICE, 1, now=now)
    assert answers.new() == [(ALICE, b"ncrx1")] * 3


def test_senders_do_not_wait_for_each_other() -> None:
    """The limit is one per sender."""
    answers = Answers()
    answers.feed(ALICE, 1, now=0.0)
    answers.feed(BOB, 7, now=0.0)
    assert answers.new() == [(ALICE, b"ncrx1"), (BOB, b"ncrx7")]


def test_legacy_text_is_not_answered() -> None:
    """A sender that is not known to send records gets no answer, and costs no memory."""
    answers = Answers()
    answers.table.feed([ALICE], [b"text\n"], 0.0, 0.0)
    answers.acks.heard([ALICE, BOB], 0.0)
    answers.acks.heard([ALICE, BOB], 0.0)
    assert answers.new() == []
    assert answers.acks.next_deadline() == NEVER


def test_forged_senders_are_not_all_answered() -> None:
    """No more than RECENT_LIMIT senders are answered in ACK_SECONDS; the others are counted, and served later."""
    answers = Answers()
    keys = [source("192.0.2.1", port).key for port in range(1, RECENT_LIMIT + 11)]
    for key in keys:
        answers.feed(key, 1, now=0.0)
    assert len(answers.new()) == RECENT_LIMIT
    assert answers.acks.counters.dropped == 10
    answers.feed(keys[-1], 2, now=ACK_SECONDS)
    assert answers.new() == [(keys[-1], b"ncrx2")]


def test_what_cannot_be_sent_is_counted() -> None:
    """An answer that the system refuses is counted as failed, and nothing else happens."""
    answers = Answers(works=False)
    answers.feed(ALICE, 1, now=0.0)
    assert (answers.acks.counters.sent, answers.acks.counters.failed) == (0, 1)


def lane_with_replies(deliver: object, scripted: Scripted, given: list[tuple[bytes, bytes]]) -> Lane:
    """A lane that acknowledges."""

    def reply(key: bytes, ack: bytes) -> bool:
        given.append((key, ack))
        return True

    assert callable(deliver)
    settings = Settings(workers=1, gc_interval=0.0)
    return Lane(0, deliver, settings, reply=reply, clock=lambda: scripted.now, thread=SameThread)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """The queue of lanes made from now on."""
    script = Scripted()
    monkeypatch.setattr("netconsd.receive.lanes.SimpleQueue", lambda: script)
    return script


def test_a_lane_acknowledges_what_it_has_delivered(scripted: Scripted) -> None:
    """The acknowledgement goes out when the modules have had the messages, and the outstanding one in time."""
    given: list[tuple[bytes, bytes]] = []
    seen: list[int] = []

    def deliver(worker: int, messages: list[Message]) -> None:
        seen.append(len(given))

    lane = lane_with_replies(deliver, scripted, given)
    put(lane, *records([1]))
    put(lane, *records([2]))
    scripted.put(Scripted.NOTHING)
    run(lane)
    assert seen == [0, 1]
    assert given == [(ALICE, b"ncrx1"), (ALICE, b"ncrx2")]
    assert scripted.timeouts == [None, None, ACK_SECONDS, None]


def test_a_lane_acknowledges_at_its_end(scripted: Scripted) -> None:
    """What is outstanding when the lane stops is sent, and tells of what was held until then."""
    given: list[tuple[bytes, bytes]] = []
    delivered = Delivered()
    lane = lane_with_replies(delivered, scripted, given)
    put(lane, *records([1]))
    put(lane, *records([3]))
    run(lane)
    assert delivered.texts == ["1", "3"]
    assert given == [(ALICE, b"ncrx1"), (ALICE, b"ncrx3 2")]


def test_without_a_reply_there_are_no_acknowledgements() -> None:
    """By default a lane answers nobody."""
    assert Lane(0, Delivered(), Settings()).acks is None

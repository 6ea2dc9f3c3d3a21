"""Streams: fragments, lines, and the flush (docs/wire sections 2 and 5)."""

from __future__ import annotations

from typing import Any

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import Message
from netconsd.protocol.reassembly import PIECE_OVERHEAD
from netconsd.protocol.stream import FRAGMENT_SECONDS, NEVER, REASSEMBLIES_LIMIT, Stream
from netconsd.testing import fragments, legacy, source
from tests.support.stream_harness import REORDER_TIME, Harness, marks, only, record, seqs


class TestFragments:
    """Rule 6."""

    TEXT = "a long record " * 120

    def pieces(self, seq: int, **fields: Any) -> list[bytes]:
        pieces = fragments(record(seq, self.TEXT, **fields))
        assert len(pieces) == 2
        return pieces

    def test_fragments_in_any_order_make_the_record(self) -> None:
        """A complete record in fragments is delivered in order and unmarked."""
        harness = Harness()
        first, second = self.pieces(2, msgid=3)
        harness.records(1)
        assert harness.feed(second) == []
        assert harness.stream.cost >= PIECE_OVERHEAD
        message = only(harness.feed(first))
        assert (message.text, message.incomplete, message.msgid) == (self.TEXT, False, 3)
        assert harness.stream.cost == 0
        assert harness.stream.deadline == NEVER
        assert (harness.counters.fragments, harness.counters.reassembled) == (2, 1)

    def test_missing_bytes_are_shown_at_the_deadline(self) -> None:
        """An incomplete record is delivered at its deadline, marked, with a note for the missing bytes."""
        harness = Harness()
        first, second = self.pieces(2)
        hole = len(second.partition(b";")[2])
        harness.records(1)
        harness.feed(first)
        harness.records(3)
        out = harness.wait(REORDER_TIME)
        assert marks(out) == [(2, "I"), (3, "")]
        assert out[0].text.endswith(f"[netconsd: {hole} bytes lost]")
        assert harness.counters.incomplete == 1

    def test_fragments_are_reassembled_without_a_reorder_time(self) -> None:
        """With a reorder time of 0 fragments are held for FRAGMENT_SECONDS."""
        harness = Harness(reorder_time=0.0)
        first, second = self.pieces(1)
        harness.feed(first)
        assert harness.wait(FRAGMENT_SECONDS * 0.9) == []
        assert only(harness.feed(second)).text == self.TEXT

    def test_fragments_after_the_deadline_are_delivered(self) -> None:
        """Fragments that arrive after their record was delivered are delivered, incomplete and out of order."""
        harness = Harness()
        first, second = self.pieces(2)
        harness.records(1)
        harness.feed(first)
        harness.wait(REORDER_TIME)
        harness.feed(second)
        assert marks(harness.wait(REORDER_TIME)) == [(2, "LI")]
        assert harness.counters.dropped_duplicate == 0

    def test_a_complete_record_after_an_incomplete_one_is_delivered(self) -> None:
        """The complete repeat of a record that was delivered incomplete is late, not a duplicate."""
        harness = Harness()
        first, second = self.pieces(2)
        harness.records(1)
        harness.feed(first)
        harness.wait(REORDER_TIME)
        assert marks(harness.feed(first, second)) == [(2, "L")]
        assert harness.feed(first) == []
        assert harness.counters.dropped_duplicate == 1

    def test_a_repeated_fragment_is_a_duplicate(self) -> None:
        """A fragment whose bytes were all received is dropped and counted; so is one of a delivered or held record."""
        harness = Harness()
        first, second = self.pieces(5)
        harness.records(1)
        harness.feed(first, first)
        assert harness.counters.dropped_duplicate == 1
        harness.feed(second)  # complete, and held behind 2 to 4
        harness.feed(first)
        assert harness.counters.dropped_duplicate == 2
        assert seqs(harness.wait(REORDER_TIME)) == [5]
        harness.feed(second)
        assert harness.counters.dropped_duplicate == 3

    def test_the_same_record_with_another_total_is_its_own_reassembly(self) -> None:
        """A record re-sent with a longer msgid is reassembled separately; the first complete one is delivered."""
        harness = Harness()
        first_try = self.pieces(1, msgid=9)
        second_try = self.pieces(1, msgid=10)
        assert harness.feed(first_try[0], second_try[0]) == []
        assert only(harness.feed(second_try[1])).msgid == 10
        assert harness.wait(REORDER_TIME) == []
        assert harness.counters.dropped_superseded == 1

    def test_a_malformed_fragment_is_text(self) -> None:
        """A malformed fragment is counted and delivered as legacy text; other fragments are unaffected."""
        harness = Harness()
        harness.records(1)
        first, _ = self.pieces(2)
        harness.feed(first)
        harness.feed(b"6,2,200,-,ncfrag=4/7;four")
        message, _ = harness.flush()
        assert message.raw.endswith(b";four")
        assert harness.counters.malformed == 1
        assert harness.counters.legacy == 1

    def test_the_reassemblies_of_a_sender_are_bounded(self) -> None:
        """With more than REASSEMBLIES_LIMIT reassemblies, the oldest is delivered incomplete."""
        harness = Harness()
        for seq in range(REASSEMBLIES_LIMIT):
            assert harness.feed(self.pieces(seq)[0]) == []
        assert marks(harness.feed(self.pieces(REASSEMBLIES_LIMIT)[0])) == [(0, "NI")]
        assert harness.counters.released_early == 1

    def test_a_record_that_was_pushed_out_is_delivered_when_complete(self) -> None:
        """A record that was pushed out incomplete, behind a gap, is delivered as late when it arrives complete."""
        harness = Harness()
        harness.records(0)
        for seq in range(10, 10 + REASSEMBLIES_LIMIT):
            harness.feed(self.pieces(seq)[0])
        assert marks(harness.feed(self.pieces(99)[0])) == [(10, "I")]
        assert marks(harness.feed(*self.pieces(10))) == [(11, "I"), (10, "L")]

    def test_a_reset_delivers_incomplete_records(self) -> None:
        """Incomplete records of the previous boot are delivered before the first record of the next."""
        harness = Harness()
        harness.records(5000)
        harness.feed(self.pieces(5001)[0])
        assert marks(harness.records(5000, ts_usec=1)) == [(5001, "I"), (5000, "B")]

    def test_a_reassembled_message_has_the_time_of_its_first_fragment(self) -> None:
        """``received_at`` is the time of the fragment that arrived first."""
        stream = Stream(source(), WorkerCounters(), REORDER_TIME)
        out: list[Message] = []
        first, second = self.pieces(1)
        stream.feed(second, 7.0, 1.0, out)
        stream.feed(first, 8.0, 1.1, out)
        assert only(out).received_at == 7.0


class TestLegacy:
    """Rule 7."""

    def test_lines_are_delivered_at_once(self) -> None:
        """Finished lines are delivered at once."""
        harness = Harness()
        assert [message.text for message in harness.feed(legacy("one\ntwo", ts_usec=5))] == ["one", "two"]
        assert harness.stream.deadline == NEVER

    def test_a_line_in_two_datagrams_is_joined(self) -> None:
        """A line that the sender cut is one message."""
        harness = Harness()
        assert harness.feed(b"[    1.000000] half a ") == []
        assert harness.stream.cost > 0
        (message,) = harness.feed(b"line\n")
        assert message.text == "half a line"
        assert harness.stream.deadline == NEVER
        assert harness.stream.cost == 0

    def test_an_unfinished_line_is_delivered_after_the_reorder_time(self) -> None:
        """A line without a newline is delivered after the reorder time, not before."""
        harness = Harness()
        harness.feed(b"the last wor")
        assert harness.wait(REORDER_TIME * 0.9) == []
        (message,) = harness.wait(REORDER_TIME * 0.2)
        assert message.raw == b"the last wor"

    def test_lines_are_joined_without_a_reorder_time(self) -> None:
        """With a reorder time of 0 an unfinished line is held for FRAGMENT_SECONDS."""
        harness = Harness(reorder_time=0.0)
        harness.feed(b"half a ")
        assert harness.wait(FRAGMENT_SECONDS * 0.9) == []
        assert harness.feed(b"line\n")[0].text == "half a line"

    def test_an_extended_datagram_ends_an_unfinished_line(self) -> None:
        """An unfinished line is delivered before an extended datagram of the same sender."""
        harness = Harness()
        harness.feed(b"the last wor")
        line, message = harness.records(1)
        assert (line.text, message.text) == ("the last wor", "record 1")

    def test_a_sender_can_use_both_formats(self) -> None:
        """Legacy text between records does not change their order."""
        harness = Harness()
        harness.records(1)
        harness.feed(b"text\n")
        assert marks(harness.records(2)) == [(2, "")]

    def test_an_empty_datagram_is_counted(self) -> None:
        """A datagram without a byte is dropped and counted."""
        harness = Harness()
        assert harness.feed(b"") == []
        assert harness.counters.dropped_empty == 1


class TestFlush:
    """A flush."""

    def test_everything_held_is_delivered_in_order(self) -> None:
        """A flush delivers the unfinished line, incomplete records and held records in order, and leaves nothing."""
        harness = Harness()
        long = fragments(record(5, TestFragments.TEXT))
        harness.records(1, 9, 3)
        harness.feed(long[0])
        harness.feed(b"unfinished")
        out = harness.flush()
        assert out[0].text == "unfinished"
        assert marks(out) == [(3, ""), (5, "I"), (9, "")]
        assert [only([message]).missing for message in out[1:]] == [1, 1, 3]
        assert harness.stream.cost == 0
        assert harness.stream.deadline == NEVER
        assert harness.flush() == []

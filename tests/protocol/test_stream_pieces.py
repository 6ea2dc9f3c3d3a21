"""Streams: what comes in pieces, and the end (docs/wire sections 2 and 5)."""

from __future__ import annotations

from typing import Any

import pytest

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.decode import TOTAL_LIMIT
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
        """A record in fragments takes its place in the order, and is not marked."""
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

    def test_what_is_missing_at_the_deadline_is_shown(self) -> None:
        """An incomplete record is delivered after the reorder time, marked, with its hole shown, before later ones."""
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

    def test_pieces_get_their_time_even_without_a_reorder_time(self) -> None:
        """With a reorder time of 0 fragments are still put together."""
        harness = Harness(reorder_time=0.0)
        first, second = self.pieces(1)
        harness.feed(first)
        assert harness.wait(FRAGMENT_SECONDS * 0.9) == []
        assert only(harness.feed(second)).text == self.TEXT

    def test_pieces_that_come_too_late_are_delivered_too(self) -> None:
        """What was missing of an incomplete record is delivered when it comes, incomplete and out of order."""
        harness = Harness()
        first, second = self.pieces(2)
        harness.records(1)
        harness.feed(first)
        harness.wait(REORDER_TIME)
        harness.feed(second)
        assert marks(harness.wait(REORDER_TIME)) == [(2, "LI")]
        assert harness.counters.dropped_duplicate == 0

    def test_the_whole_record_after_an_incomplete_one_is_delivered(self) -> None:
        """An incomplete record is not taken for the record: its repeat in full is late, not a duplicate."""
        harness = Harness()
        first, second = self.pieces(2)
        harness.records(1)
        harness.feed(first)
        harness.wait(REORDER_TIME)
        assert marks(harness.feed(first, second)) == [(2, "L")]
        assert harness.feed(first) == []
        assert harness.counters.dropped_duplicate == 1

    def test_a_repeated_piece_is_a_duplicate(self) -> None:
        """A piece whose bytes are all there is dropped and counted; so is one of a record delivered or held."""
        harness = Harness()
        first, second = self.pieces(5)
        harness.records(1)
        harness.feed(first, first)
        assert harness.counters.dropped_duplicate == 1
        harness.feed(second)  # now it waits for 2 to 4
        harness.feed(first)
        assert harness.counters.dropped_duplicate == 2
        assert seqs(harness.wait(REORDER_TIME)) == [5]
        harness.feed(second)
        assert harness.counters.dropped_duplicate == 3

    def test_the_same_record_with_another_total_is_its_own_reassembly(self) -> None:
        """A record sent again with a longer msgid does not mix with the first try; the first complete one counts."""
        harness = Harness()
        first_try = self.pieces(1, msgid=9)
        second_try = self.pieces(1, msgid=10)
        assert harness.feed(first_try[0], second_try[0]) == []
        assert only(harness.feed(second_try[1])).msgid == 10
        assert harness.wait(REORDER_TIME) == []
        assert harness.counters.dropped_superseded == 1

    @pytest.mark.parametrize(
        "ncfrag", ["0/0", f"0/{TOTAL_LIMIT + 1}", "0/3", "4/7", "7/7", "8/7", "-1/7", "0", "/", "0/7,ncfrag=0/7"]
    )
    def test_a_fragment_that_contradicts_itself_is_text(self, ncfrag: str) -> None:
        """A malformed fragment is delivered as legacy text, counted, and harms no other."""
        harness = Harness()
        harness.records(1)
        first, _ = self.pieces(2)
        harness.feed(first)
        (message,) = (
            harness.feed(b"6,2,200,-,ncfrag=%b;four" % ncfrag.encode()) or harness.wait(0.0) or harness.flush()[:1]
        )
        assert message.raw.endswith(b";four")
        assert harness.counters.malformed == 1
        assert harness.counters.legacy == 1

    def test_an_empty_fragment_is_text(self) -> None:
        """A piece without a byte is malformed."""
        harness = Harness()
        harness.feed(b"6,2,200,-,ncfrag=0/7;")
        assert harness.counters.malformed == 1

    def test_one_sender_cannot_keep_many_reassemblies(self) -> None:
        """Of more than REASSEMBLIES_LIMIT unfinished records the oldest is delivered as it is."""
        harness = Harness()
        for seq in range(REASSEMBLIES_LIMIT):
            assert harness.feed(self.pieces(seq)[0]) == []
        assert marks(harness.feed(self.pieces(REASSEMBLIES_LIMIT)[0])) == [(0, "RI")]
        assert harness.counters.released_early == 1

    def test_the_pieces_of_a_record_that_was_pushed_out_are_delivered_too(self) -> None:
        """A record that was delivered unfinished for lack of room, behind a gap, is delivered whole when it comes."""
        harness = Harness()
        harness.records(0)
        for seq in range(10, 10 + REASSEMBLIES_LIMIT):
            harness.feed(self.pieces(seq)[0])
        assert marks(harness.feed(self.pieces(99)[0])) == [(10, "I")]
        assert marks(harness.feed(*self.pieces(10))) == [(11, "I"), (10, "L")]

    def test_a_reset_delivers_what_is_unfinished(self) -> None:
        """Unfinished records of the boot before are delivered before the first of the next one."""
        harness = Harness()
        harness.records(5000)
        harness.feed(self.pieces(5001)[0])
        assert marks(harness.records(0)) == [(5001, "I"), (0, "R")]

    def test_a_fragmented_record_has_the_time_of_its_first_piece(self) -> None:
        """``received_at`` is when the message began to arrive."""
        stream = Stream(source(), WorkerCounters(), REORDER_TIME)
        out: list[Message] = []
        first, second = self.pieces(1)
        stream.feed(second, 7.0, 1.0, out)
        stream.feed(first, 8.0, 1.1, out)
        assert only(out).received_at == 7.0


class TestLegacy:
    """Rule 7."""

    def test_lines_are_delivered_at_once(self) -> None:
        """Finished lines wait for nothing."""
        harness = Harness()
        assert [message.text for message in harness.feed(legacy("one\ntwo", ts_usec=5))] == ["one", "two"]
        assert harness.stream.deadline == NEVER

    def test_a_line_in_pieces_is_joined(self) -> None:
        """A line cut by the sender is one message, with the time of its first piece."""
        harness = Harness()
        assert harness.feed(b"[    1.000000] half a ") == []
        assert harness.stream.cost > 0
        (message,) = harness.feed(b"line\n")
        assert message.text == "half a line"
        assert harness.stream.deadline == NEVER
        assert harness.stream.cost == 0

    def test_an_unfinished_line_is_delivered_after_a_while(self) -> None:
        """A line that never ends is delivered after the reorder time."""
        harness = Harness()
        harness.feed(b"the last wor")
        assert harness.wait(REORDER_TIME * 0.9) == []
        (message,) = harness.wait(REORDER_TIME * 0.2)
        assert message.raw == b"the last wor"

    def test_an_unfinished_line_gets_its_time_even_without_a_reorder_time(self) -> None:
        """With a reorder time of 0 the pieces of a line are still joined."""
        harness = Harness(reorder_time=0.0)
        harness.feed(b"half a ")
        assert harness.wait(FRAGMENT_SECONDS * 0.9) == []
        assert harness.feed(b"line\n")[0].text == "half a line"

    def test_an_unfinished_line_ends_where_an_extended_datagram_begins(self) -> None:
        """An extended datagram from the same sender ends the line before it."""
        harness = Harness()
        harness.feed(b"the last wor")
        line, extended_one = harness.records(1)
        assert (line.text, extended_one.text) == ("the last wor", "record 1")

    def test_both_formats_can_come_from_one_sender(self) -> None:
        """Each datagram is read by itself; legacy text does not disturb the order of records."""
        harness = Harness()
        harness.records(1)
        harness.feed(b"text\n")
        assert marks(harness.records(2)) == [(2, "")]

    def test_an_empty_datagram_is_counted(self) -> None:
        """A datagram without a byte yields nothing and is counted."""
        harness = Harness()
        assert harness.feed(b"") == []
        assert harness.counters.dropped_empty == 1


class TestFlush:
    """Nothing is kept at the end."""

    def test_everything_held_is_delivered_in_order(self) -> None:
        """At the end an unfinished line, unfinished records and held records are delivered, nothing is kept."""
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

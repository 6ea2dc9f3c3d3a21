"""Streams: order, gaps, duplicates, late records, resets (docs/wire section 6)."""

from __future__ import annotations

import pytest

from netconsd.protocol.reorder import HELD_BYTES_LIMIT, HELD_LIMIT
from netconsd.protocol.stream import NEVER, REBOOT_USEC
from netconsd.protocol.window import WINDOW
from tests.support.stream_harness import FIRST_TS, REORDER_TIME, TS_PER_SEQ, Harness, marks, only, record, seqs


class TestInOrder:
    """Rule 1."""

    def test_the_first_record_is_a_reset_and_the_rest_is_not(self) -> None:
        """Consecutive seqs are delivered at once; only the first message is marked as a reset."""
        harness = Harness()
        assert marks(harness.records(7, 8, 9)) == [(7, "N"), (8, ""), (9, "")]
        assert all(message.missing == 0 and message.lost is None for message in map(only, ([m] for m in harness.out)))
        assert harness.stream.deadline == NEVER
        assert harness.stream.cost == 0

    def test_a_message_has_the_time_of_its_datagram_and_the_source_of_its_stream(self) -> None:
        """A message has the time of its datagram and the stream's own Source object."""
        harness = Harness()
        message = only(harness.records(1))
        assert message.received_at == 5.0
        assert message.source is harness.stream.source

    def test_the_highest_seq(self) -> None:
        """The highest seq of 64 bits is delivered as any other; seq 0 after it is a replay."""
        top = 2**64 - 1
        harness = Harness()
        assert marks(harness.records(top - 1, top, 0, ts_usec=top)) == [(top - 1, "N"), (top, ""), (0, "RA")]


class TestGaps:
    """Rules 1 and 2."""

    def test_a_gap_is_held_for_the_reorder_time(self) -> None:
        """A record behind a gap is held for exactly the reorder time, then delivered with ``missing``."""
        harness = Harness()
        harness.records(1)
        assert harness.records(4) == []
        assert harness.stream.deadline == harness.now + REORDER_TIME
        assert harness.stream.cost > 0
        assert harness.wait(REORDER_TIME * 0.99) == []
        message = only(harness.wait(REORDER_TIME * 0.02))
        assert (message.seq, message.missing, message.out_of_order) == (4, 2, False)
        assert harness.stream.deadline == NEVER
        assert harness.stream.cost == 0
        assert harness.counters.missing == 2

    def test_a_filled_gap_delivers_at_once_and_in_order(self) -> None:
        """If the missing record arrives in time, all are delivered in order and unmarked."""
        harness = Harness()
        harness.records(1)
        assert harness.records(3, 5, 4) == []
        assert marks(harness.records(2)) == [(2, ""), (3, ""), (4, ""), (5, "")]
        assert harness.counters.missing == 0
        assert harness.stream.deadline == NEVER

    def test_each_record_has_its_own_deadline(self) -> None:
        """A record that arrived later is held until its own reorder time is over."""
        harness = Harness()
        harness.records(1, 3)
        harness.now += REORDER_TIME / 2
        harness.records(5)
        assert seqs(harness.wait(REORDER_TIME / 2)) == [3]
        assert seqs(harness.wait(REORDER_TIME / 2)) == [5]

    def test_an_expired_record_releases_the_lower_ones(self) -> None:
        """When a record expires, the held records with lower seqs are delivered before it, whenever they arrived."""
        harness = Harness()
        harness.records(1, 9)
        harness.now += REORDER_TIME * 0.9
        harness.records(5)
        assert seqs(harness.wait(REORDER_TIME * 0.2)) == [5, 9]

    def test_without_a_reorder_time_nothing_is_held(self) -> None:
        """With a reorder time of 0 a record behind a gap is due at once."""
        harness = Harness(reorder_time=0.0)
        harness.records(1)
        harness.records(5)
        assert harness.stream.deadline <= harness.now
        assert seqs(harness.wait(0.0)) == [5]

    def test_a_record_with_the_next_msgid_is_not_held(self) -> None:
        """A record whose msgid is next is delivered at once, with ``missing``: the records between were never sent."""
        harness = Harness()
        harness.records(10, msgid=7)
        message = only(harness.records(15, msgid=8))
        assert (message.missing, message.lost) == (4, 0)
        assert harness.stream.deadline == NEVER

    def test_msgids_release_held_records(self) -> None:
        """When a gap in msgid is filled, held records with the next msgids are delivered, whatever their seqs."""
        harness = Harness()
        harness.records(10, msgid=1)
        assert harness.records(30, msgid=3) == []
        assert harness.records(40, msgid=4) == []
        assert seqs(harness.records(20, msgid=2)) == [20, 30, 40]
        assert harness.counters.lost == 0

    def test_msgid_wraps(self) -> None:
        """The msgid after 2^32 - 1 is 0, and nothing is lost between them."""
        harness = Harness()
        harness.records(1, msgid=2**32 - 1)
        assert only(harness.records(5, msgid=0)).lost == 0

    def test_a_gap_in_msgid_is_loss(self) -> None:
        """``lost`` is the gap in msgid, ``missing`` the gap in seq."""
        harness = Harness()
        harness.records(10, msgid=7)
        harness.records(20, msgid=11)
        message = only(harness.wait(REORDER_TIME))
        assert (message.missing, message.lost) == (9, 3)
        assert harness.counters.lost == 3

    def test_a_msgid_that_restarts_is_no_loss(self) -> None:
        """A new target counts from 1: the loss is unknown, not four billion messages."""
        harness = Harness()
        harness.records(10, msgid=700)
        assert only(harness.records(11, msgid=1)).lost is None
        assert harness.counters.lost == 0

    def test_loss_is_unknown_without_msgid(self) -> None:
        """``lost`` is None for a message without msgid, and for the first message with one."""
        harness = Harness()
        first, second, third = harness.records(1) + harness.records(2, msgid=1) + harness.records(3, msgid=2)
        assert [only([message]).lost for message in (first, second, third)] == [None, None, 0]

    def test_the_next_msgid_does_not_overtake_a_held_record(self) -> None:
        """A record whose msgid is next is held if a record with a lower seq is held."""
        harness = Harness()
        harness.records(1, msgid=1)
        harness.records(5, msgid=9)
        assert harness.records(8, msgid=2) == []
        assert seqs(harness.wait(REORDER_TIME)) == [5, 8]

    def test_the_number_of_held_records_is_bounded(self) -> None:
        """With more than HELD_LIMIT held records, the lowest is released."""
        harness = Harness()
        harness.records(0)
        assert harness.records(*range(2, 2 * HELD_LIMIT + 2, 2)) == []
        assert harness.counters.released_early == 0
        assert seqs(harness.records(10**6)) == [2]
        assert harness.counters.released_early == 1

    def test_the_bytes_of_held_records_are_bounded(self) -> None:
        """Large datagrams take no more than HELD_BYTES_LIMIT; the lowest are released."""
        harness = Harness()
        harness.records(0)
        size = 60_000
        held = HELD_BYTES_LIMIT // size
        for seq in range(2, 2 * held + 20, 2):
            harness.feed(record(seq, "x" * size))
            assert harness.stream.cost <= HELD_BYTES_LIMIT
        assert harness.counters.released_early >= 1
        assert harness.out[1:] != []


class TestDuplicates:
    """Rule 3."""

    @pytest.mark.parametrize("distance", [0, 1, 5, 6, 7, WINDOW - 1])
    def test_a_repeat_of_a_delivered_record_is_dropped_and_counted(self, distance: int) -> None:
        """A repeat less than WINDOW behind is dropped and counted."""
        harness = Harness()
        harness.records(*range(1, 101))
        assert harness.records(100 - distance) == []
        assert harness.counters.dropped_duplicate == 1
        assert seqs(harness.records(101)) == [101]

    def test_a_repeat_of_a_held_record_is_dropped_and_counted(self) -> None:
        """A repeat of a held record is dropped and counted."""
        harness = Harness()
        harness.records(1, 5)
        harness.records(5)
        assert harness.counters.dropped_duplicate == 1
        assert seqs(harness.wait(REORDER_TIME)) == [5]

    def test_a_repeat_of_a_late_record_is_dropped_and_counted(self) -> None:
        """A late record is remembered, so that its repeat is a duplicate."""
        harness = Harness()
        harness.records(1, 5)
        harness.wait(REORDER_TIME)
        assert marks(harness.records(3)) == [(3, "L")]
        assert harness.records(3) == []
        assert harness.counters.dropped_duplicate == 1

    def test_the_highest_timestamp(self) -> None:
        """The timestamp that means ABSENT inside is delivered as any other, and its repeats are duplicates."""
        harness = Harness()
        top = 2**64 - 1
        assert seqs(harness.records(1, 2, ts_usec=top)) == [1, 2]
        assert harness.records(1, 2, ts_usec=top) == []
        assert harness.counters.dropped_duplicate == 2


class TestLate:
    """Rule 4."""

    def test_a_record_after_its_deadline_is_late(self) -> None:
        """A record that arrives after those behind it were released is out of order; the stream goes on as before."""
        harness = Harness()
        harness.records(1, msgid=1)
        harness.records(4, msgid=3)
        assert only(harness.wait(REORDER_TIME)).lost == 1
        late = only(harness.records(3, msgid=2))
        assert (late.out_of_order, late.seq_reset, late.missing, late.lost) == (True, False, 0, None)
        assert marks(harness.records(5, msgid=4)) == [(5, "")]
        assert harness.counters.late == 1

    def test_records_before_the_first_one_are_late(self) -> None:
        """A record that was overtaken by the sender's first record is late, not a reset."""
        harness = Harness()
        harness.records(100)
        assert marks(harness.records(99, 100 - WINDOW + 1)) == [(99, "L"), (100 - WINDOW + 1, "L")]

    def test_the_window_has_an_end(self) -> None:
        """A record WINDOW behind, of the same boot, begins a replay."""
        harness = Harness()
        harness.records(100)
        assert marks(harness.records(100 - WINDOW)) == [(100 - WINDOW, "RA")]


class TestResets:
    """Rules 5 and 7."""

    def test_a_boot_flushes_the_held_records(self) -> None:
        """The held records are delivered before the first record of a boot, the following records in order."""
        harness = Harness()
        harness.records(5000, 5002)
        harness.now += 2 * FIRST_TS / 1e6
        assert harness.records(0, 1) == []
        assert marks(harness.wait(REORDER_TIME)) == [(5002, ""), (0, "B"), (1, "")]
        assert harness.stream.deadline == NEVER
        assert harness.counters.resets == 2

    def test_a_seq_with_another_timestamp_is_a_boot(self) -> None:
        """A delivered seq with another timestamp is from another boot, even within the window: as in a crash loop."""
        harness = Harness()
        harness.records(*range(390, 400))
        assert marks(harness.records(395, 396, ts_usec=1)) == [(395, "B"), (396, "")]
        assert harness.counters.dropped_duplicate == 0

    def test_a_held_seq_with_another_timestamp_is_a_boot(self) -> None:
        """Two records of one boot do not share a seq: the held one is delivered, the other one is a boot."""
        harness = Harness()
        harness.records(1, 10)
        assert marks(harness.records(10, ts_usec=FIRST_TS + 10 * TS_PER_SEQ + 1)) == [(10, ""), (10, "B")]

    @pytest.mark.parametrize("seq", [401, 450])
    def test_an_earlier_timestamp_may_be_a_boot(self, seq: int) -> None:
        """A higher seq with an earlier timestamp is a boot, if the machine was booted after its last record."""
        harness = Harness()
        harness.records(400, ts_usec=5_000_000)
        harness.now += 6.0
        assert harness.records(seq, ts_usec=4_900_000) == []
        assert marks(harness.wait(REORDER_TIME)) == [(seq, "B")]

    def test_an_earlier_timestamp_alone_is_not_a_boot(self) -> None:
        """Clocks of processors differ: a step back, however far, changes nothing if the machine was up before."""
        harness = Harness()
        harness.records(400, ts_usec=REBOOT_USEC * 3)
        harness.now += 1.0
        assert marks(harness.records(401, ts_usec=REBOOT_USEC * 2)) == [(401, "")]

    def test_a_lower_seq_with_a_far_later_timestamp_is_a_reset(self) -> None:
        """A missing seq within the window is not late if its timestamp is more than REBOOT_USEC later."""
        harness = Harness()
        harness.records(400, ts_usec=1)
        assert marks(harness.records(390, ts_usec=REBOOT_USEC + 2)) == [(390, "R")]

    def test_a_lower_seq_with_a_far_earlier_timestamp_is_a_boot(self) -> None:
        """A machine that ran for days reboots, and its seqs are still below the old ones: the record is not late."""
        harness = Harness()
        harness.records(1160, ts_usec=REBOOT_USEC * 1000)
        harness.now += 20.0
        harness.records(1150, 1151, ts_usec=8_000_000)
        assert marks(harness.wait(REORDER_TIME)) == [(1150, "B"), (1151, "")]

    def test_a_record_re_sent_in_an_emergency_is_late(self) -> None:
        """A record re-sent with ``ncemg=1`` is late, however long ago it was logged (rule 10)."""
        harness = Harness()
        harness.records(1160, ts_usec=REBOOT_USEC * 1000)
        assert marks(harness.feed(b"6,1150,8000000,-,ncemg=1;late\n")) == [(1150, "L")]

    def test_a_forged_seq_does_not_silence_the_sender(self) -> None:
        """After a forged record with the highest seq, the sender's own records are delivered at once."""
        harness = Harness()
        harness.records(10)
        harness.records(2**64 - 1, ts_usec=1)
        assert seqs(harness.wait(REORDER_TIME)) == [2**64 - 1]
        assert marks(harness.records(11, 12)) == [(11, "R"), (12, "")]

    def test_duplicates_after_a_reset(self) -> None:
        """Records delivered since a reset are remembered."""
        harness = Harness()
        harness.records(*range(5000, 5100))
        harness.now += 2 * FIRST_TS / 1e6
        harness.records(*range(100))
        assert harness.wait(REORDER_TIME) != []
        assert harness.records(*range(40, 100)) == []
        assert harness.counters.dropped_duplicate == 60

    def test_loss_is_unknown_after_a_reset(self) -> None:
        """The msgids before and after a reset are not compared."""
        harness = Harness()
        harness.records(1, msgid=90)
        assert only(harness.records(1, ts_usec=FIRST_TS, msgid=95)).lost is None


def test_replayed_messages_are_counted() -> None:
    """A message with the replay notice is marked and counted."""
    harness = Harness()
    message = only(harness.feed(b"** replaying previous printk message **\n" + record(1)))
    assert message.replayed
    assert harness.counters.replayed == 1


def test_forged_seqs_do_not_overflow_the_counter_of_a_sender() -> None:
    """The counter of missing seqs of one sender ends at 2^63 - 1; that of the worker wraps at 2^64."""
    harness = Harness()
    for time in range(3):
        harness.records(0, 2**64 - 1, ts_usec=time * 2 * REBOOT_USEC)
        harness.wait(REORDER_TIME)
    assert harness.stream.count("missing") == 2**63 - 1
    assert harness.counters.missing == 3 * (2**64 - 2) % 2**64

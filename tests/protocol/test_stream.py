"""Streams: order, gaps, duplicates, late records, resets (docs/wire section 6)."""

from __future__ import annotations

import pytest

from netconsd.protocol.reorder import HELD_BYTES_LIMIT, HELD_LIMIT
from netconsd.protocol.stream import NEVER, REBOOT_USEC
from netconsd.protocol.window import WINDOW
from tests.support.stream_harness import REORDER_TIME, TS_PER_SEQ, Harness, marks, only, record, seqs


class TestInOrder:
    """Rule 1."""

    def test_the_first_record_is_a_reset_and_the_rest_is_not(self) -> None:
        """Contiguous numbers are delivered at once; only the first message is marked as a reset."""
        harness = Harness()
        assert marks(harness.records(7, 8, 9)) == [(7, "R"), (8, ""), (9, "")]
        assert all(message.missing == 0 and message.lost is None for message in map(only, ([m] for m in harness.out)))
        assert harness.stream.deadline == NEVER
        assert harness.stream.cost == 0

    def test_time_received_and_source_are_the_datagrams(self) -> None:
        """A message has the time of its datagram, and the stream's own source object."""
        harness = Harness()
        message = only(harness.records(1))
        assert message.received_at == 5.0
        assert message.source is harness.stream.source

    def test_the_highest_number_can_be_reached(self) -> None:
        """The last number of 64 bits is an ordinary one, and what comes after it is a reset."""
        top = 2**64 - 1
        harness = Harness()
        assert marks(harness.records(top - 1, top, 0, ts_usec=top)) == [(top - 1, "R"), (top, ""), (0, "R")]


class TestGaps:
    """Rules 1 and 2."""

    def test_a_gap_is_held_for_the_reorder_time(self) -> None:
        """What follows a gap waits until the reorder time is over, not longer, and then says how many are missing."""
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
        """When the missing record comes in time, everything goes on in order and nothing is marked."""
        harness = Harness()
        harness.records(1)
        assert harness.records(3, 5, 4) == []
        assert marks(harness.records(2)) == [(2, ""), (3, ""), (4, ""), (5, "")]
        assert harness.counters.missing == 0
        assert harness.stream.deadline == NEVER

    def test_each_record_waits_no_longer_than_its_own_time(self) -> None:
        """A second gap that opened later is waited for longer than the first."""
        harness = Harness()
        harness.records(1, 3)
        harness.now += REORDER_TIME / 2
        harness.records(5)
        assert seqs(harness.wait(REORDER_TIME / 2)) == [3]
        assert seqs(harness.wait(REORDER_TIME / 2)) == [5]

    def test_a_record_that_came_later_but_belongs_before_goes_along(self) -> None:
        """When a record's time is over, those with lower numbers are delivered before it, whenever they came."""
        harness = Harness()
        harness.records(1, 9)
        harness.now += REORDER_TIME * 0.9
        harness.records(5)
        assert seqs(harness.wait(REORDER_TIME * 0.2)) == [5, 9]

    def test_without_a_reorder_time_nothing_waits(self) -> None:
        """With a reorder time of 0 the deadline of a gap is now."""
        harness = Harness(reorder_time=0.0)
        harness.records(1)
        harness.records(5)
        assert harness.stream.deadline <= harness.now
        assert seqs(harness.wait(0.0)) == [5]

    def test_consecutive_msgids_end_the_wait_before_it_begins(self) -> None:
        """When msgid says that nothing was lost, suppressed records are not waited for; they are counted as missing."""
        harness = Harness()
        harness.records(10, msgid=7)
        message = only(harness.records(15, msgid=8))
        assert (message.missing, message.lost) == (4, 0)
        assert harness.stream.deadline == NEVER

    def test_msgids_end_the_wait_of_records_that_are_held(self) -> None:
        """When a late record fills its place, held ones whose msgid follows go along, whatever their numbers."""
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
        """``lost`` is the gap in msgid, ``missing`` the gap in numbers."""
        harness = Harness()
        harness.records(10, msgid=7)
        harness.records(20, msgid=11)
        message = only(harness.wait(REORDER_TIME))
        assert (message.missing, message.lost) == (9, 3)
        assert harness.counters.lost == 3

    def test_a_msgid_that_starts_anew_is_no_loss(self) -> None:
        """A target that was made anew counts from 1: that is unknown, not four billion lost messages."""
        harness = Harness()
        harness.records(10, msgid=700)
        assert only(harness.records(11, msgid=1)).lost is None
        assert harness.counters.lost == 0

    def test_loss_is_unknown_without_msgid(self) -> None:
        """``lost`` is None on a message without msgid, and on the first with one."""
        harness = Harness()
        first, second, third = harness.records(1) + harness.records(2, msgid=1) + harness.records(3, msgid=2)
        assert [only([message]).lost for message in (first, second, third)] == [None, None, 0]

    def test_a_msgid_that_contradicts_the_numbers_waits_its_turn(self) -> None:
        """A record whose msgid is next but whose number lies above a held one is not put before that."""
        harness = Harness()
        harness.records(1, msgid=1)
        harness.records(5, msgid=9)
        assert harness.records(8, msgid=2) == []
        assert seqs(harness.wait(REORDER_TIME)) == [5, 8]

    def test_too_many_held_records_end_the_wait(self) -> None:
        """A sender can have HELD_LIMIT records waiting; one more, and the lowest gap is given up."""
        harness = Harness()
        harness.records(0)
        assert harness.records(*range(2, 2 * HELD_LIMIT + 2, 2)) == []
        assert harness.counters.released_early == 0
        assert seqs(harness.records(10**6)) == [2]
        assert harness.counters.released_early == 1

    def test_too_many_held_bytes_end_the_wait(self) -> None:
        """A sender can have HELD_BYTES_LIMIT waiting, so large datagrams fill the memory no more than small ones."""
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
        """An exact repeat, up to WINDOW numbers back, is dropped and counted."""
        harness = Harness()
        harness.records(*range(1, 101))
        assert harness.records(100 - distance) == []
        assert harness.counters.dropped_duplicate == 1
        assert seqs(harness.records(101)) == [101]

    def test_a_repeat_of_a_held_record_is_dropped_and_counted(self) -> None:
        """An exact repeat of a record that waits is dropped and counted."""
        harness = Harness()
        harness.records(1, 5)
        harness.records(5)
        assert harness.counters.dropped_duplicate == 1
        assert seqs(harness.wait(REORDER_TIME)) == [5]

    def test_a_repeat_of_a_late_record_is_dropped_and_counted(self) -> None:
        """A late record is remembered as the others are."""
        harness = Harness()
        harness.records(1, 5)
        harness.wait(REORDER_TIME)
        assert marks(harness.records(3)) == [(3, "L")]
        assert harness.records(3) == []
        assert harness.counters.dropped_duplicate == 1

    def test_a_record_with_the_highest_time_stamp_is_delivered(self) -> None:
        """The time stamp that stands for "not delivered" inside is an ordinary one outside, and repeats are found."""
        harness = Harness()
        top = 2**64 - 1
        assert seqs(harness.records(1, 2, ts_usec=top)) == [1, 2]
        assert harness.records(1, 2, ts_usec=top) == []
        assert harness.counters.dropped_duplicate == 2


class TestLate:
    """Rule 4."""

    def test_a_record_whose_place_was_given_up_is_delivered_and_marked(self) -> None:
        """A late record is out of order; it does not move the stream back, and its loss is not told twice."""
        harness = Harness()
        harness.records(1, msgid=1)
        harness.records(4, msgid=3)
        assert only(harness.wait(REORDER_TIME)).lost == 1
        late = only(harness.records(3, msgid=2))
        assert (late.out_of_order, late.seq_reset, late.missing, late.lost) == (True, False, 0, None)
        assert marks(harness.records(5, msgid=4)) == [(5, "")]
        assert harness.counters.late == 1

    def test_records_before_the_first_one_are_late(self) -> None:
        """A record that was overtaken by the sender's first is late, not another boot."""
        harness = Harness()
        harness.records(100)
        assert marks(harness.records(99, 100 - WINDOW + 1)) == [(99, "L"), (100 - WINDOW + 1, "L")]

    def test_the_window_has_an_end(self) -> None:
        """A number WINDOW or more behind is a reset."""
        harness = Harness()
        harness.records(100)
        assert marks(harness.records(100 - WINDOW)) == [(100 - WINDOW, "R")]


class TestResets:
    """Rule 5."""

    def test_a_reboot_flushes_what_is_held_and_starts_anew(self) -> None:
        """Numbers that jump far back start anew; what was held comes before, the new records follow in order."""
        harness = Harness()
        harness.records(5000, 5002)
        out = harness.records(0, 1)
        assert marks(out) == [(5002, ""), (0, "R"), (1, "")]
        assert harness.stream.deadline == NEVER
        assert harness.counters.resets == 2

    def test_a_crash_loop_is_seen_by_the_time_stamps(self) -> None:
        """The same number with another time stamp is another boot, even within the window."""
        harness = Harness()
        harness.records(*range(390, 400))
        assert marks(harness.records(395, 396, ts_usec=1)) == [(395, "R"), (396, "")]
        assert harness.counters.dropped_duplicate == 0

    def test_the_same_number_with_another_time_stamp_while_held_is_another_boot(self) -> None:
        """Two records cannot share a number within a boot: the held one is delivered, then counting restarts."""
        harness = Harness()
        harness.records(1, 10)
        assert marks(harness.records(10, ts_usec=10 * TS_PER_SEQ + 1)) == [(10, ""), (10, "R")]

    @pytest.mark.parametrize("seq", [401, 450])
    def test_a_clock_that_goes_far_back_is_a_reboot(self, seq: int) -> None:
        """A higher number with a time stamp far before the last one's comes from another boot."""
        harness = Harness()
        harness.records(400, ts_usec=REBOOT_USEC * 3)
        assert marks(harness.records(seq, ts_usec=REBOOT_USEC * 2 - 1)) == [(seq, "R")]

    def test_a_clock_that_steps_back_a_little_is_not(self) -> None:
        """Clocks of processors differ: a step back of up to REBOOT_USEC changes nothing."""
        harness = Harness()
        harness.records(400, ts_usec=REBOOT_USEC * 3)
        assert marks(harness.records(401, ts_usec=REBOOT_USEC * 2)) == [(401, "")]

    def test_a_lower_number_far_later_is_a_reboot_not_late(self) -> None:
        """A number within the window that was not delivered, with a time stamp far after the last, is another boot."""
        harness = Harness()
        harness.records(400, ts_usec=1)
        assert marks(harness.records(390, ts_usec=REBOOT_USEC + 2)) == [(390, "R")]

    def test_a_lower_number_far_earlier_is_a_reboot_not_late(self) -> None:
        """A machine that ran for days reboots and has not reached the old numbers yet: that is no late record."""
        harness = Harness()
        harness.records(1160, ts_usec=REBOOT_USEC * 1000)
        assert marks(harness.records(1150, 1151, ts_usec=8_000_000)) == [(1150, "R"), (1151, "")]

    def test_what_a_reliable_sender_sends_again_can_be_later(self) -> None:
        """A record of an emergency re-transmission is late, however long ago it was logged."""
        harness = Harness()
        harness.records(1160, ts_usec=REBOOT_USEC * 1000)
        assert marks(harness.feed(b"6,1150,8000000,-,ncemg=1;late\n")) == [(1150, "L")]

    def test_a_forged_jump_cannot_silence_the_sender(self) -> None:
        """After a forged record with the highest number, the sender's own records are still delivered, at once."""
        harness = Harness()
        harness.records(10)
        harness.records(2**64 - 1, ts_usec=1)
        assert seqs(harness.wait(REORDER_TIME)) == [2**64 - 1]
        assert marks(harness.records(11, 12)) == [(11, "R"), (12, "")]

    def test_repeats_are_found_after_a_reset(self) -> None:
        """What was delivered since the reset is remembered as well as before."""
        harness = Harness()
        harness.records(*range(5000, 5100))
        harness.records(*range(100))
        assert harness.records(*range(40, 100)) == []
        assert harness.counters.dropped_duplicate == 60

    def test_loss_is_unknown_after_a_reset(self) -> None:
        """The msgid is not compared across a reset."""
        harness = Harness()
        harness.records(5000, msgid=90)
        assert only(harness.records(1, msgid=95)).lost is None


def test_replayed_messages_are_counted() -> None:
    """A message that the sender says it sent before keeps that mark, and is counted."""
    harness = Harness()
    message = only(harness.feed(b"** replaying previous printk message **\n" + record(1)))
    assert message.replayed
    assert harness.counters.replayed == 1


def test_forged_numbers_do_not_overflow_a_senders_counter() -> None:
    """What is missing by forged numbers, again and again, ends at the largest number of 64 bits with a sign."""
    harness = Harness()
    for time in range(3):
        harness.records(0, 2**64 - 1, ts_usec=time * 2 * REBOOT_USEC)
        harness.wait(REORDER_TIME)
    assert harness.stream.missing == 2**63 - 1
    assert harness.counters.missing > 2**65

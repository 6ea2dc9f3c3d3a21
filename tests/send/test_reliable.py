"""The sender of the reliable variant: its bounds, what it reads, and what it makes of hostile answers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.acknowledgement import ACK_BYTES
from netconsd.protocol.window import WINDOW
from netconsd.send.reliable import (
    AGAIN_SECONDS,
    AHEAD,
    ANSWER_SECONDS,
    HEADER_LIMIT,
    PROBE_SECONDS,
    RECORD_LIMIT,
    ReliableSender,
    read_acknowledgement,
)
from netconsd.testing import extended, fragments
from tests.support.strategies import examples, numbers


def record(seq: int, text: str = "x") -> bytes:
    """A record as /dev/kmsg has it."""
    return extended(text, seq=seq)


def sender_of(*seqs: int, slots: int = 100) -> ReliableSender:
    """A sender that was given these records."""
    sender = ReliableSender(slots)
    for seq in seqs:
        assert sender.add(record(seq))
    return sender


def answered(*seqs: int, slots: int = 100) -> ReliableSender:
    """A sender whose first record was acknowledged at 0.0, so that it sends the others as it may."""
    sender = sender_of(*seqs, slots=slots)
    sender.take(0.0)
    sender.acknowledge(b"ncrx%d" % seqs[0], 0.0)
    return sender


class TestReadAcknowledgement:
    """The text of docs/wire section 7."""

    @pytest.mark.parametrize(
        ("datagram", "found"),
        [
            (b"ncrx0", (0, [])),
            (b"ncrx18446744073709551615", (2**64 - 1, [])),
            (b"ncrx20 11 12", (20, [11, 12])),
            (b"ncrx20 11\n", (20, [11])),
            (b"ncrx20\0", (20, [])),
        ],
    )
    def test_good(self, datagram: bytes, found: tuple[int, list[int]]) -> None:
        """The last number and the missing ones; a final newline or NUL does no harm."""
        assert read_acknowledgement(datagram) == found

    @pytest.mark.parametrize(
        "datagram",
        [
            *(b"", b"ncrx", b"ncrx 1", b"ncrx-1", b"NCRX1", b" ncrx1", b"ncrx1 ", b"ncrx1  2", b"ncrx1,2", b"ncrx1 x"),
            *(b"ncrx18446744073709551616", b"ncrx1 18446744073709551616", b"ncrx" + b"1" * 21, b"ncrx1_0"),
            *("ncrx\u0661".encode(), b"ncrx1" + b" 2" * ACK_BYTES, b"ncrx1\n\n", b"6,1,2,-;text\n"),
        ],
    )
    def test_bad(self, datagram: bytes) -> None:
        """Anything else, numbers beyond 64 bits and what is too long is no acknowledgement."""
        assert read_acknowledgement(datagram) is None

    @given(numbers, st.lists(numbers, max_size=40))
    @examples(200)
    def test_what_is_written_is_read(self, last: int, missing: list[int]) -> None:
        """Every acknowledgement is read as it was meant."""
        text = b" ".join([b"ncrx%d" % last, *(b"%d" % seq for seq in missing)])
        assert read_acknowledgement(text) == (last, missing)

    @given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda tail: b"ncrx1" + tail))
    @examples(300)
    def test_anything(self, datagram: bytes) -> None:
        """Whatever arrives, nothing is raised, and numbers are of 64 bits."""
        found = read_acknowledgement(datagram)
        assert found is None or max([found[0], *found[1]]) < 2**64


class TestRecords:
    """What a sender takes."""

    @pytest.mark.parametrize(
        "data",
        [
            *(b"", b"text\n", b"6,1,2", b"6,1;x", b"6,1,2,-,ncfrag=0/9;x", b"6,1,2,-,ncfrag=9/1;x"),
            b"6,1,2,-," + b"x" * HEADER_LIMIT + b";x",
            b"6,1,2,-;" + b"x" * RECORD_LIMIT,
        ],
    )
    def test_what_is_no_record(self, data: bytes) -> None:
        """What has no header, a header that is not the kernel's, or more bytes than the kernel allows, is refused."""
        sender = ReliableSender()
        assert not sender.add(data)
        assert (sender.refused, len(sender), sender.take(0.0)) == (1, 0, [])

    def test_records_come_in_order(self) -> None:
        """A number that does not go up is refused."""
        sender = sender_of(5)
        assert not sender.add(record(5))
        assert not sender.add(record(4))
        assert (sender.refused, len(sender)) == (2, 1)

    def test_the_largest_record_is_cut(self) -> None:
        """A record of several KiB goes out in pieces of at most 1000 bytes, also in an emergency."""
        sender = ReliableSender()
        data = record(1, "x" * 8000)
        assert sender.add(data)
        assert sender.take(0.0) == fragments(data)
        again = sender.take(ANSWER_SECONDS)
        assert again == fragments(data.replace(b",-;", b",-,ncemg=1;"))
        assert max(map(len, again)) == 1000

    def test_the_ring_is_bounded(self) -> None:
        """One record more than there are slots pushes out the oldest, which is counted, whether it was sent or not."""
        sender = sender_of(*range(1, 4), slots=3)
        assert sender.room == 0
        sender.add(record(4))
        assert (len(sender), sender.dropped) == (3, 1)
        assert sender.take(0.0) == [record(2)]
        sender.add(record(5))
        assert (len(sender), sender.dropped) == (3, 2)
        sender.take(0.0)
        sender.acknowledge(b"ncrx3", 0.0)
        assert sender.room == 1

    def test_in_an_emergency_there_is_always_room(self) -> None:
        """When nobody answers, what is new is worth more than what is old."""
        sender = sender_of(*range(1, 4), slots=3)
        sender.take(0.0)
        sender.take(ANSWER_SECONDS)
        assert sender.emergency
        assert sender.room == 3


class TestPace:
    """How much is sent, and when."""

    def test_no_more_than_the_receiver_can_order(self) -> None:
        """At most AHEAD numbers are under way: fewer than the receiver remembers."""
        assert AHEAD < WINDOW
        sender = answered(*range(1, 100))
        assert sender.take(0.0) == [record(seq) for seq in range(2, 2 + AHEAD)]
        sender.acknowledge(b"ncrx11", 0.0)
        assert sender.take(0.0) == [record(seq) for seq in range(2 + AHEAD, 12 + AHEAD)]

    def test_it_is_the_numbers_that_count(self) -> None:
        """A record whose number is far ahead waits until those before it are acknowledged."""
        sender = answered(1, 2, 3 + AHEAD)
        assert sender.take(0.0) == [record(2)]
        sender.acknowledge(b"ncrx2", 0.0)
        assert sender.take(0.0) == [record(3 + AHEAD)]

    def test_what_is_missing_is_sent_again_but_not_for_every_answer(self) -> None:
        """A missing record goes out again, marked, once in AGAIN_SECONDS, however often it is asked for."""
        sender = answered(*range(1, 6))
        sender.take(0.0)
        marked = record(3).replace(b",-;", b",-,ncemg=1;")
        sender.acknowledge(b"ncrx2 3", 0.01)
        assert sender.take(0.01) == []
        for _ in range(3):
            sender.acknowledge(b"ncrx5 3", AGAIN_SECONDS)
        assert sender.take(AGAIN_SECONDS) == [marked]
        sender.acknowledge(b"ncrx5 3", 1.5 * AGAIN_SECONDS)
        assert sender.take(1.5 * AGAIN_SECONDS) == []
        assert len(sender) == 1

    def test_silence_is_probed(self) -> None:
        """Without an answer the oldest record goes out again, and nothing new; after the answer the rest follows."""
        sender = answered(*range(1, 5))
        sender.take(0.0)
        assert sender.deadline == PROBE_SECONDS
        assert sender.take(PROBE_SECONDS) == [record(2).replace(b",-;", b",-,ncemg=1;")]
        sender.add(record(5))
        assert sender.take(PROBE_SECONDS) == []
        sender.acknowledge(b"ncrx2", PROBE_SECONDS + 0.01)
        again = [data.replace(b",ncemg=1", b"") for data in sender.take(PROBE_SECONDS + 0.01)]
        assert again == [record(3), record(4), record(5)]


class TestAfterAnEmergency:
    """Rule 5."""

    def test_answers_to_what_was_sent_before_are_not_believed(self) -> None:
        """The answer that ends an emergency acknowledges nothing, nor do those that follow at once: they may be of a
        receiver that was just started, for a record in the middle. Then the first record goes alone, unmarked."""
        sender = answered(*range(1, 40))
        sender.take(0.0)
        sender.take(ANSWER_SECONDS)
        before = sender.emergency
        sender.acknowledge(b"ncrx30", ANSWER_SECONDS + 1.0)
        assert (before, sender.emergency) == (True, False)
        sender.acknowledge(b"ncrx31", ANSWER_SECONDS + 1.0)
        assert sender.take(ANSWER_SECONDS + 1.0) == []
        assert sender.acknowledged == 1
        later = ANSWER_SECONDS + 1.0 + PROBE_SECONDS
        assert sender.deadline == later
        assert sender.take(later) == [record(2)]
        assert sender.take(later + PROBE_SECONDS) == [record(2)]


class TestHostile:
    """Whoever can forge the receiver's address can stop the transmission, but nothing worse."""

    @pytest.mark.parametrize("answer", [b"ncrx5", b"ncrx18446744073709551615", b"ncrx%d" % (2 + WINDOW)])
    def test_what_was_not_sent_cannot_be_acknowledged(self, answer: bytes) -> None:
        """An acknowledgement of more than was sent is ignored and counted."""
        sender = answered(1, 2, 3)
        sender.take(0.0)
        sender.acknowledge(answer, 0.1)
        assert (len(sender), sender.implausible, sender.acknowledged) == (2, 1, 1)

    def test_garbage_is_counted(self) -> None:
        """What is no acknowledgement changes nothing."""
        sender = answered(1, 2)
        sender.take(0.0)
        sender.acknowledge(b"garbage", 0.1)
        assert (len(sender), sender.malformed) == (1, 1)

    @given(
        st.lists(
            st.tuples(
                st.floats(0, 3),
                st.one_of(
                    st.binary(max_size=30),
                    st.tuples(st.integers(0, 130), st.lists(st.integers(0, 130), max_size=60)).map(
                        lambda ack: b" ".join([b"ncrx%d" % ack[0], *(b"%d" % seq for seq in ack[1])])
                    ),
                ),
            ),
            max_size=40,
        )
    )
    @examples(200)
    def test_any_answers(self, answers: list[tuple[float, bytes]]) -> None:
        """Any answers at any time: nothing is raised, no more is sent than AHEAD new records and the missing ones per
        answer, and the deadline is never so early that nothing could be done."""
        sender = sender_of(*range(100))
        now = 0.0
        for pause, answer in answers:
            now += pause
            sender.acknowledge(answer, now)
            assert len(sender.take(now)) <= 2 * AHEAD + 1
            for _ in range(10):
                if sender.deadline > now:
                    break
                sender.take(now)
            assert sender.deadline > now

    def test_the_longest_answers_cost_little(self) -> None:
        """A thousand answers of the greatest length are read in well under a second."""
        sender = answered(*range(1, 100))
        sender.take(0.0)
        answer = b"ncrx1" + b" 9" * ((ACK_BYTES - 5) // 2)
        begin = time.process_time()
        for _ in range(1000):
            sender.acknowledge(answer, 0.1)
            sender.take(0.1)
        assert time.process_time() - begin < 1.0

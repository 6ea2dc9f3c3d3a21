"""The sender of the reliable variant: its bounds, its pace, and hostile answers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
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
from tests.support.strategies import numbers


def record(seq: int, text: str = "x") -> bytes:
    """A record as /dev/kmsg has it."""
    return extended(text, seq=seq)


def sender_of(*seqs: int, slots: int = 100) -> ReliableSender:
    """A sender to which these records were added."""
    sender = ReliableSender(slots)
    for seq in seqs:
        assert sender.add(record(seq))
    return sender


def acknowledged_once(*seqs: int, slots: int = 100) -> ReliableSender:
    """A sender whose first record was acknowledged at 0.0, so that it may send others."""
    sender = sender_of(*seqs, slots=slots)
    sender.take(0.0)
    sender.acknowledge(b"ncrx%d" % seqs[0], 0.0)
    return sender


class TestReadAcknowledgement:
    """The text of docs/wire section 7."""

    @pytest.mark.parametrize(
        ("datagram", "expected"),
        [
            (b"ncrx0", (0, [])),
            (b"ncrx18446744073709551615", (2**64 - 1, [])),
            (b"ncrx20 11 12", (20, [11, 12])),
            (b"ncrx20 11\n", (20, [11])),
            (b"ncrx20\0", (20, [])),
        ],
    )
    def test_good(self, datagram: bytes, expected: tuple[int, list[int]]) -> None:
        """The last number and the missing ones; a final newline or NUL is accepted."""
        assert read_acknowledgement(datagram) == expected

    @pytest.mark.parametrize(
        "datagram",
        [
            *(b"", b"ncrx", b"ncrx 1", b"ncrx-1", b"NCRX1", b" ncrx1", b"ncrx1 ", b"ncrx1  2", b"ncrx1,2", b"ncrx1 x"),
            *(b"ncrx18446744073709551616", b"ncrx1 18446744073709551616", b"ncrx" + b"1" * 21, b"ncrx1_0"),
            *("ncrx\u0661".encode(), b"ncrx1" + b" 2" * ACK_BYTES, b"ncrx1\n\n", b"6,1,2,-;text\n"),
        ],
    )
    def test_bad(self, datagram: bytes) -> None:
        """Another text, a number beyond 64 bits, or a datagram that is too long is no acknowledgement."""
        assert read_acknowledgement(datagram) is None

    @given(numbers, st.lists(numbers, max_size=40))
    @settings(max_examples=200)
    def test_any_numbers(self, last: int, missing: list[int]) -> None:
        """Any 64-bit numbers are read back."""
        text = b" ".join([b"ncrx%d" % last, *(b"%d" % seq for seq in missing)])
        assert read_acknowledgement(text) == (last, missing)

    @given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda tail: b"ncrx1" + tail))
    @settings(max_examples=300)
    def test_any_bytes(self, datagram: bytes) -> None:
        """For any bytes nothing is raised, and numbers have 64 bits."""
        numbers = read_acknowledgement(datagram)
        assert numbers is None or max([numbers[0], *numbers[1]]) < 2**64


class TestRecords:
    """The records that a sender accepts and keeps."""

    @pytest.mark.parametrize(
        "data",
        [
            *(b"", b"text\n", b"6,1,2", b"6,1;x", b"6,1,2,-,ncfrag=0/9;x", b"6,1,2,-,ncfrag=9/1;x"),
            b"6,1,2,-," + b"x" * HEADER_LIMIT + b";x",
            b"6,1,2,-;" + b"x" * RECORD_LIMIT,
        ],
    )
    def test_invalid_record(self, data: bytes) -> None:
        """Data without a valid header, or with more bytes than the kernel allows, is refused."""
        sender = ReliableSender()
        assert not sender.add(data)
        assert (sender.refused, len(sender), sender.take(0.0)) == (1, 0, [])

    def test_order(self) -> None:
        """A seq that does not rise is refused."""
        sender = sender_of(5)
        assert not sender.add(record(5))
        assert not sender.add(record(4))
        assert (sender.refused, len(sender)) == (2, 1)

    def test_largest_record(self) -> None:
        """A record of several KiB is sent in fragments of at most 1000 bytes, also in an emergency."""
        sender = ReliableSender()
        data = record(1, "x" * 8000)
        assert sender.add(data)
        assert sender.take(0.0) == fragments(data)
        again = sender.take(ANSWER_SECONDS)
        assert again == fragments(data.replace(b",-;", b",-,ncemg=1;"))
        assert max(map(len, again)) == 1000

    def test_slots(self) -> None:
        """With all slots in use, a new record drops the oldest, sent or not, and counts it."""
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

    def test_room_in_an_emergency(self) -> None:
        """In an emergency new records may replace all old ones."""
        sender = sender_of(*range(1, 4), slots=3)
        sender.take(0.0)
        sender.take(ANSWER_SECONDS)
        assert sender.emergency
        assert sender.room == 3


class TestPace:
    """The number of records in flight, and the time of repeats."""

    def test_records_in_flight(self) -> None:
        """At most AHEAD records are in flight, fewer than the receiver's window."""
        assert AHEAD < WINDOW
        sender = acknowledged_once(*range(1, 100))
        assert sender.take(0.0) == [record(seq) for seq in range(2, 2 + AHEAD)]
        sender.acknowledge(b"ncrx11", 0.0)
        assert sender.take(0.0) == [record(seq) for seq in range(2 + AHEAD, 12 + AHEAD)]

    def test_gap_in_the_numbers(self) -> None:
        """A record whose seq is AHEAD or more above the oldest in flight is not sent yet."""
        sender = acknowledged_once(1, 2, 3 + AHEAD)
        assert sender.take(0.0) == [record(2)]
        sender.acknowledge(b"ncrx2", 0.0)
        assert sender.take(0.0) == [record(3 + AHEAD)]

    def test_missing_record(self) -> None:
        """A missing record is sent again, marked, once per AGAIN_SECONDS, however often it is requested."""
        sender = acknowledged_once(*range(1, 6))
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

    def test_silence(self) -> None:
        """Without an answer only the oldest record is sent again; after the answer the others follow."""
        sender = acknowledged_once(*range(1, 5))
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

    def test_answers_to_earlier_records(self) -> None:
        """The answer that ends an emergency acknowledges nothing, nor do those right after it: a receiver that was just
        started may have sent them for a record in the middle. Then the first record is sent alone, unmarked."""
        sender = acknowledged_once(*range(1, 40))
        sender.take(0.0)
        sender.take(ANSWER_SECONDS)
        before = sender.emergency
        sender.acknowledge(b"ncrx30", ANSWER_SECONDS + 1.0)
        assert (before, sender.emergency) == (True, False)
        sender.acknowledge(b"ncrx31", ANSWER_SECONDS + 1.0)
        assert sender.take(ANSWER_SECONDS + 1.0) == []
        later = ANSWER_SECONDS + 1.0 + PROBE_SECONDS
        assert sender.deadline == later
        assert sender.take(later) == [record(2)]
        assert sender.take(later + PROBE_SECONDS) == [record(2)]


class TestHostile:
    """Forged answers can stop the transmission, and do no other harm."""

    @pytest.mark.parametrize("answer", [b"ncrx5", b"ncrx18446744073709551615", b"ncrx%d" % (2 + WINDOW)])
    def test_records_not_sent(self, answer: bytes) -> None:
        """An acknowledgement of records that were not sent is ignored."""
        sender = acknowledged_once(1, 2, 3)
        sender.take(0.0)
        sender.acknowledge(answer, 0.1)
        assert len(sender) == 2

    def test_garbage(self) -> None:
        """A datagram that is no acknowledgement changes nothing."""
        sender = acknowledged_once(1, 2)
        sender.take(0.0)
        sender.acknowledge(b"garbage", 0.1)
        assert len(sender) == 1

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
    @settings(max_examples=200)
    def test_any_answers(self, answers: list[tuple[float, bytes]]) -> None:
        """For any answers at any time nothing is raised, at most AHEAD new and AHEAD missing records are sent per
        answer, and the deadline is never in the past."""
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

    def test_cost_of_the_longest_answers(self) -> None:
        """A thousand answers of the maximum length take less than a second."""
        sender = acknowledged_once(*range(1, 100))
        sender.take(0.0)
        answer = b"ncrx1" + b" 9" * ((ACK_BYTES - 5) // 2)
        begin = time.process_time()
        for _ in range(1000):
            sender.acknowledge(answer, 0.1)
            sender.take(0.1)
        assert time.process_time() - begin < 1.0

"""The text of acknowledgements to senders of the reliable variant (docs/wire section 7)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.protocol.acknowledgement import ACK_BYTES, acknowledgement
from netconsd.protocol.reorder import HELD_LIMIT
from netconsd.protocol.suspects import BURST_SECONDS
from netconsd.protocol.window import WINDOW
from netconsd.testing import fragments
from tests.support.strategies import datagrams
from tests.support.stream_harness import FIRST_TS, REORDER_TIME, Harness, marks, record, seqs


def ack(harness: Harness) -> tuple[int, list[int]]:
    """The last seq and the missing seqs of the acknowledgement."""
    text = acknowledgement(harness.stream)
    assert text is not None
    assert text.startswith(b"ncrx")
    last, *missing = text[4:].decode().split(" ")
    return int(last), [int(seq) for seq in missing]


def fed(*numbers: int, **fields: Any) -> Harness:
    """A harness that was fed these records."""
    harness = Harness()
    harness.records(*numbers, **fields)
    return harness


def test_nothing_is_acknowledged_before_the_first_record() -> None:
    """A stream without a record, or with legacy text only, has no acknowledgement."""
    harness = Harness()
    assert acknowledgement(harness.stream) is None
    harness.feed(b"text\n")
    assert acknowledgement(harness.stream) is None


def test_the_form() -> None:
    """``ncrx``, the last delivered seq, and the missing seqs, each after a space; no final newline."""
    assert acknowledgement(fed(7).stream) == b"ncrx7"
    assert acknowledgement(fed(7, 8, 11).stream) == b"ncrx8 9 10"


def test_held_records_are_neither_acknowledged_nor_missing() -> None:
    """The seqs of the gaps are missing; the held records between them are not, and the last seq is before them."""
    assert ack(fed(1, 4, 5, 8)) == (1, [2, 3, 6, 7])


def test_a_gap_is_missing_after_the_reorder_time() -> None:
    """After the reorder time the last seq advances, and the skipped seqs stay missing until they arrive late."""
    harness = fed(1, 4)
    harness.wait(REORDER_TIME)
    assert ack(harness) == (4, [2, 3])
    assert marks(harness.records(3)) == [(3, "L")]
    assert ack(harness) == (4, [2])
    harness.records(2)
    assert ack(harness) == (4, [])


def test_a_seq_outside_the_window_is_not_missing() -> None:
    """A seq is missing while it would be late, and not when it is WINDOW or more behind."""
    harness = fed(1, 3)
    harness.wait(REORDER_TIME)
    harness.records(*range(4, WINDOW + 2))
    assert ack(harness) == (WINDOW + 1, [2])
    harness.records(WINDOW + 2)
    assert ack(harness) == (WINDOW + 2, [])
    assert marks(harness.records(2)) == [(2, "L")]


def test_seqs_before_the_first_record_are_not_missing() -> None:
    """No seq before a sender's first record, or before that of a boot, is missing."""
    harness = fed(5000, 5001)
    assert ack(harness) == (5001, [])
    harness.now += 2 * FIRST_TS / 1e6
    harness.records(10, 11)
    harness.wait(REORDER_TIME)
    assert ack(harness) == (11, [])


def test_a_record_with_a_missing_fragment_is_missing() -> None:
    """A record whose fragments are missing is missing, before and after it was delivered incomplete."""
    harness = fed(1)
    first, last = fragments(record(2, "x" * 1500))
    harness.feed(last)
    assert ack(harness) == (1, [2])
    harness.wait(REORDER_TIME)
    assert marks(harness.out[-1:]) == [(2, "I")]
    assert ack(harness) == (2, [2])
    assert marks(harness.feed(first, last)) == [(2, "L")]
    assert ack(harness) == (2, [])


def test_an_incomplete_first_record_is_missing() -> None:
    """A sender's first record is missing if it was delivered incomplete."""
    harness = Harness()
    harness.feed(fragments(record(2, "x" * 1500))[1])
    harness.wait(REORDER_TIME)
    assert ack(harness) == (2, [2])


def test_the_highest_seqs() -> None:
    """Nothing overflows at the end of 64 bits."""
    top = 2**64 - 1
    harness = fed(top - 3, ts_usec=5)
    harness.records(top, ts_usec=5)
    assert ack(harness) == (top - 3, [top - 2, top - 1])
    harness.wait(REORDER_TIME)
    assert ack(harness) == (top, [top - 2, top - 1])


def test_a_huge_gap_costs_no_more_than_a_datagram() -> None:
    """After a forged seq 2^64 ahead the acknowledgement has at most ACK_BYTES, and names the first missing seqs."""
    harness = fed(1, 2**64 - 1, ts_usec=5)
    last, missing = ack(harness)
    assert last == 1
    assert missing == list(range(2, 2 + len(missing)))
    text = acknowledgement(harness.stream)
    assert text is not None
    assert ACK_BYTES - 4 < len(text) <= ACK_BYTES
    begin = time.process_time()
    for _ in range(200):
        acknowledgement(harness.stream)
    # It takes 0.02 s; a list of a million numbers for each would take ten.
    assert time.process_time() - begin < 2.0


@pytest.mark.parametrize("digits", [1, 13, 14, 18])
def test_a_full_window(digits: int) -> None:
    """All missing seqs of the window are named; if they are so high that they do not fit, the newest of them."""
    base = 10**digits
    harness = fed(base, base + WINDOW - 1, ts_usec=5)
    harness.wait(REORDER_TIME)
    last, missing = ack(harness)
    skipped = list(range(base + 1, base + WINDOW - 1))
    assert missing == skipped[-len(missing) :]
    assert last == base + WINDOW - 1
    assert (len(missing) == len(skipped)) == (digits < 14)
    harness.records(10**19 + 2 * WINDOW, ts_usec=5)
    text = acknowledgement(harness.stream)
    assert text is not None
    assert len(text) <= ACK_BYTES


@pytest.mark.parametrize("room", range(48))
def test_little_room(room: int) -> None:
    """Each record up to the acknowledged one was received or is named; without room for that, the answer is empty."""
    harness = fed(99, 102, 104, 110)
    harness.wait(REORDER_TIME)
    harness.records(112)
    text = acknowledgement(harness.stream, room)
    assert text is not None
    assert len(text) <= room
    if not text:
        assert room < len(b"ncrx110 100 101 103 105 106 107 108 109")
        return
    last, *missing = map(int, text[4:].split())
    received = {99, 102, 104, 110}
    assert last == 110
    assert [seq for seq in range(99, last + 1) if seq not in {*received, *missing}] == []
    assert not received & set(missing)


def test_nothing_can_be_acknowledged_before_seq_0() -> None:
    """If the first record has seq 0 and is incomplete, and there is no room to name it, the answer is empty."""
    harness = Harness()
    harness.feed(fragments(record(0, "x" * 1500))[1])
    harness.wait(REORDER_TIME)
    assert acknowledgement(harness.stream) == b"ncrx0 0"
    assert acknowledgement(harness.stream, 6) == b""


def test_a_full_stream() -> None:
    """With as many held records as possible, each behind a gap, the bound holds."""
    harness = fed(0, *range(2, 2 * HELD_LIMIT, 2))
    text = acknowledgement(harness.stream)
    assert text is not None
    assert len(text) <= ACK_BYTES
    assert text.startswith(b"ncrx0 1 3 5 7 ")


@given(st.lists(st.one_of(datagrams, st.integers(0, 200).map(record), st.just(None)), max_size=40))
@settings(max_examples=300)
def test_any_datagrams(arrivals: list[bytes | None]) -> None:
    """After any datagrams, an acknowledgement is well-formed, in order and within the bound."""
    harness = Harness()
    for arrival in arrivals:
        if arrival is None:
            harness.wait(REORDER_TIME)
        else:
            harness.feed(arrival)
        text = acknowledgement(harness.stream)
        if text is not None:
            last, missing = ack(harness)
            assert len(text) <= ACK_BYTES
            assert missing == sorted(set(missing))
            assert 0 <= last < 2**64


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.sets(st.integers(0, 60)))
@settings(max_examples=300)
def test_the_missing_seqs_are_those_not_received(numbers: list[int], pauses: set[int]) -> None:
    """Of records in any order, exactly those between the first and the highest that were not received are missing; when
    they arrive, the highest is acknowledged."""
    first = 1000
    harness = fed(first)
    for index, number in enumerate(numbers):
        if index in pauses:
            harness.wait(REORDER_TIME)
        harness.records(first + number)
    received = {first, *(first + number for number in numbers)}
    last, missing = ack(harness)
    assert missing == [seq for seq in range(first, max(received)) if seq not in received]
    assert last in received
    harness.records(*missing)
    assert ack(harness) == (max(received), [])
    assert sorted(seqs(harness.out)) == list(range(first, max(received) + 1))


def test_an_emergency_far_behind_is_no_reset() -> None:
    """A record outside the window may be one that was never seen: with ``ncemg=1`` it is late, without it begins a
    replay. It is what the answer acknowledges, until records that far behind have ceased for BURST_SECONDS."""
    harness = fed(*range(1000, 1100))
    assert marks(harness.feed(b"6,990,99000,-,ncemg=1;x\n")) == [(990, "L")]
    assert harness.counters.dropped_duplicate == 0
    assert ack(harness) == (990, [])
    assert marks(harness.feed(b"6,990,99000,-,ncemg=1;x\n")) == []
    assert marks(harness.feed(b"6,993,99300,-,ncemg=1;x\n")) == [(993, "L")]
    assert ack(harness) == (993, [991, 992])
    harness.wait(2 * BURST_SECONDS)
    assert marks(harness.records(900)) == [(900, "RA")]
    assert ack(harness) == (900, [])
    harness.wait(2 * BURST_SECONDS)
    harness.records(1100)
    assert ack(harness) == (1100, [])


@pytest.mark.parametrize("seq", [1036, 1099])
def test_an_emergency_of_another_boot_is_a_boot(seq: int) -> None:
    """A delivered seq with another timestamp is a boot, also with ``ncemg=1``."""
    harness = fed(*range(1000, 1100))
    assert marks(harness.feed(b"6,%d,5,-,ncemg=1;x\n" % seq)) == [(seq, "B")]

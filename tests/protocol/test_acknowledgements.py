"""What a stream tells a sender of the reliable variant (docs/wire section 7)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.acknowledgement import ACK_BYTES, acknowledgement
from netconsd.protocol.reorder import HELD_LIMIT
from netconsd.protocol.window import WINDOW
from netconsd.testing import fragments
from tests.support.strategies import datagrams, examples
from tests.support.stream_harness import REORDER_TIME, Harness, marks, record, seqs


def ack(harness: Harness) -> tuple[int, list[int]]:
    """The last number and the missing ones of the acknowledgement."""
    text = acknowledgement(harness.stream)
    assert text is not None
    assert text.startswith(b"ncrx")
    last, *missing = text[4:].decode().split(" ")
    return int(last), [int(seq) for seq in missing]


def fed(*numbers: int, **fields: Any) -> Harness:
    """A stream that got these records."""
    harness = Harness()
    harness.records(*numbers, **fields)
    return harness


def test_nothing_is_acknowledged_before_the_first_record() -> None:
    """A stream without a record, or of legacy text alone, has nothing to say."""
    harness = Harness()
    assert acknowledgement(harness.stream) is None
    harness.feed(b"text\n")
    assert acknowledgement(harness.stream) is None


def test_the_form() -> None:
    """``ncrx``, the last number delivered, and those missing, each after a space; no final newline."""
    assert acknowledgement(fed(7).stream) == b"ncrx7"
    assert acknowledgement(fed(7, 8, 11).stream) == b"ncrx8 9 10"


def test_what_waits_is_neither_acknowledged_nor_missing() -> None:
    """A record behind a gap is here but not delivered: the gaps are missing, the record is in neither list."""
    assert ack(fed(1, 4, 5, 8)) == (1, [2, 3, 6, 7])


def test_a_gap_that_was_given_up_is_still_missing() -> None:
    """After the reorder time the last number goes on, and what was passed over is asked for as before."""
    harness = fed(1, 4)
    harness.wait(REORDER_TIME)
    assert ack(harness) == (4, [2, 3])
    assert marks(harness.records(3)) == [(3, "L")]
    assert ack(harness) == (4, [2])
    harness.records(2)
    assert ack(harness) == (4, [])


def test_what_is_too_far_behind_is_not_missing_any_more() -> None:
    """A number that would be taken for a reboot is not asked for; one before that is."""
    harness = fed(1, 3)
    harness.wait(REORDER_TIME)
    harness.records(*range(4, WINDOW + 2))
    assert ack(harness) == (WINDOW + 1, [2])
    harness.records(WINDOW + 2)
    assert ack(harness) == (WINDOW + 2, [])
    assert marks(harness.records(2)) == [(2, "R")]


def test_what_is_before_the_first_record_is_not_missing() -> None:
    """Nobody knows whether there was anything before a sender's first record, nor before a reset."""
    harness = fed(5000, 5001)
    assert ack(harness) == (5001, [])
    harness.records(10, 11)
    assert ack(harness) == (11, [])


def test_a_record_with_a_missing_piece_is_missing() -> None:
    """While pieces of a record are missing, and after it was delivered with its hole, it is asked for as a whole."""
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
    """The first record of a sender is asked for, too, if a piece of it is missing."""
    harness = Harness()
    harness.feed(fragments(record(2, "x" * 1500))[1])
    harness.wait(REORDER_TIME)
    assert ack(harness) == (2, [2])


def test_the_highest_numbers() -> None:
    """Nothing overflows at the end of 64 bits."""
    top = 2**64 - 1
    harness = fed(top - 3, ts_usec=5)
    harness.records(top, ts_usec=5)
    assert ack(harness) == (top - 3, [top - 2, top - 1])
    harness.wait(REORDER_TIME)
    assert ack(harness) == (top, [top - 2, top - 1])


def test_a_huge_gap_costs_no_more_than_a_datagram() -> None:
    """A forged number 2^64 ahead makes an acknowledgement of at most ACK_BYTES, which names the first missing ones."""
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
    """All that was given up and can be late is named; of numbers that no machine reaches, the newest that fit."""
    base = 10**digits
    harness = fed(base, base + WINDOW - 1, ts_usec=5)
    harness.wait(REORDER_TIME)
    last, missing = ack(harness)
    given_up = list(range(base + 1, base + WINDOW - 1))
    assert last == base + WINDOW - 1
    assert missing == given_up[-len(missing) :]
    assert (len(missing) == len(given_up)) == (digits < 14)
    harness.records(10**19 + 2 * WINDOW, ts_usec=5)
    text = acknowledgement(harness.stream)
    assert text is not None
    assert len(text) <= ACK_BYTES


def test_a_full_stream() -> None:
    """As many records as can wait, each behind a gap: the bound holds."""
    harness = fed(0, *range(2, 2 * HELD_LIMIT, 2))
    text = acknowledgement(harness.stream)
    assert text is not None
    assert len(text) <= ACK_BYTES
    assert text.startswith(b"ncrx0 1 3 5 7 ")


@given(st.lists(st.one_of(datagrams, st.integers(0, 200).map(record), st.just(None)), max_size=40))
@examples(300)
def test_anything(arrivals: list[bytes | None]) -> None:
    """Whatever arrives, an acknowledgement has the right form and size, and names no record that is here."""
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
@examples(300)
def test_what_is_asked_for_is_what_is_not_here(numbers: list[int], pauses: set[int]) -> None:
    """Of records that came in any order, exactly those between the first and the highest that did not come are missing;
    when those come, everything up to the highest is acknowledged."""
    first = 1000
    harness = fed(first)
    for index, number in enumerate(numbers):
        if index in pauses:
            harness.wait(REORDER_TIME)
        harness.records(first + number)
    here = {first, *(first + number for number in numbers)}
    last, missing = ack(harness)
    assert missing == [seq for seq in range(first, max(here)) if seq not in here]
    assert last in here
    harness.records(*missing)
    assert ack(harness) == (max(here), [])
    assert sorted(seqs(harness.out)) == list(range(first, max(here) + 1))


def test_an_emergency_far_behind_is_no_reset() -> None:
    """A record re-sent in an emergency, from before what is remembered, is a repeat; without the mark, a reset."""
    harness = fed(*range(1000, 1100))
    assert harness.feed(b"6,990,99000,-,ncemg=1;x\n") == []
    assert harness.counters.dropped_duplicate == 1
    assert ack(harness) == (1099, [])
    assert marks(harness.records(990)) == [(990, "R")]


@pytest.mark.parametrize("seq", [1036, 1099])
def test_an_emergency_of_another_boot_is_a_reset(seq: int) -> None:
    """The same number under another time stamp is another boot, in an emergency, too."""
    harness = fed(*range(1000, 1100))
    assert marks(harness.feed(b"6,%d,5,-,ncemg=1;x\n" % seq)) == [(seq, "R")]

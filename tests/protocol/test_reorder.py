"""The messages that wait for others before them: in order of their numbers, bounded, each with its own deadline."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.message import ExtendedMessage
from netconsd.protocol.reorder import (
    BUFFER_OVERHEAD,
    COMPACT_AT,
    HELD_BYTES_LIMIT,
    HELD_LIMIT,
    MESSAGE_OVERHEAD,
    ReorderBuffer,
)
from netconsd.testing import extended_message
from tests.support.memory import bytes_for
from tests.support.strategies import examples, numbers


def message(seq: int, text: str = "x") -> ExtendedMessage:
    """A message with this number."""
    return extended_message(text, seq=seq)


def filled(*entries: tuple[int, float]) -> ReorderBuffer:
    """Messages with these numbers and deadlines."""
    waiting = ReorderBuffer()
    for seq, deadline in entries:
        waiting.add(message(seq), deadline)
    return waiting


def test_empty() -> None:
    """At first nothing waits, or is due; it costs what the empty table does."""
    waiting = ReorderBuffer()
    assert (waiting.count(), waiting.cost, waiting.deadline, waiting.is_over_limit()) == (
        0,
        BUFFER_OVERHEAD,
        inf,
        False,
    )
    assert waiting.get(1) is None
    assert waiting.expire(1e9) == -1
    assert waiting.deadline == inf


def test_lowest_first() -> None:
    """Messages come out by number, whatever order they came in."""
    waiting = filled((5, 1.0), (2**64 - 1, 2.0), (0, 3.0), (7, 0.5))
    order = []
    while waiting.count():
        lowest = waiting.lowest()
        assert waiting.pop() is lowest
        order.append(lowest.seq)
    assert order == [0, 5, 7, 2**64 - 1]
    assert waiting.cost == BUFFER_OVERHEAD


def test_get() -> None:
    """A waiting message can be looked at by its number; one that was taken out, or was never there, cannot."""
    waiting = ReorderBuffer()
    five = message(5)
    waiting.add(five, 1.0)
    assert waiting.get(5) is five
    assert waiting.get(4) is None
    assert waiting.pop() is five
    assert waiting.get(5) is None


def test_overdue() -> None:
    """Asked what is overdue, it names the highest number whose wait is over, and the next deadline."""
    waiting = filled((5, 1.0), (9, 1.5), (3, 2.0), (7, 4.0))
    assert waiting.deadline == 1.0
    assert (waiting.expire(0.5), waiting.deadline) == (-1, 1.0)
    assert (waiting.expire(1.0), waiting.deadline) == (5, 1.5)
    assert (waiting.expire(3.0), waiting.deadline) == (9, 4.0)
    assert (waiting.expire(4.0), waiting.deadline) == (7, inf)


def test_slack() -> None:
    """Messages whose waits end nearly at the same time are let go with the first of them, and none later than asked."""
    waiting = ReorderBuffer(0.25)
    for seq, deadline in ((5, 1.0), (9, 1.25), (11, 1.375), (3, 1.5), (13, 2.0)):
        waiting.add(message(seq), deadline)
    assert (waiting.expire(0.75), waiting.deadline) == (-1, 1.0)
    assert (waiting.expire(1.0), waiting.deadline) == (9, 1.375)
    assert (waiting.expire(1.375), waiting.deadline) == (11, 2.0)


def test_overdue_of_number_zero() -> None:
    """Number 0 can be overdue, and is not mistaken for none."""
    assert filled((0, 1.0)).expire(1.0) == 0


def test_overdue_takes_nothing_out() -> None:
    """To ask is not to take: what is overdue waits until it is taken out."""
    waiting = filled((5, 1.0), (3, 2.0))
    waiting.expire(5.0)
    assert (waiting.count(), waiting.lowest().seq) == (2, 3)


def test_deadline_after_pop() -> None:
    """No message's wait ends before ``deadline``, also when the most urgent one was taken out."""
    waiting = filled((5, 1.0), (7, 2.0))
    waiting.pop()
    assert waiting.deadline <= 2.0
    waiting.expire(1.0)
    assert waiting.deadline == 2.0
    waiting.add(message(6), 2.5)
    assert waiting.deadline == 2.0


def test_an_open_gap_does_not_gather_what_was_filled_behind_it() -> None:
    """While one message waits, any number of others can come and go: the memory stays the same."""

    def churn() -> ReorderBuffer:
        waiting = filled((2**40, 1.0))
        for seq in range(20 * HELD_LIMIT):
            waiting.add(message(seq), 1.0 + seq)
            waiting.pop()
        return waiting

    assert bytes_for(churn) < 2 * HELD_LIMIT * 200


def test_the_places_of_what_was_filled_are_given_up() -> None:
    """While one message waits, and any number of others come and go, the table has a few hundred places at most."""

    def churn() -> ReorderBuffer:
        waiting = filled((2**40, 1.0))
        for seq in range(100 * COMPACT_AT - 1):
            waiting.add(message(seq), 1.0)
            waiting.pop()
        return waiting

    place = 8
    assert bytes_for(churn) < filled((1, 1.0)).cost + 2 * COMPACT_AT * place


def test_cost() -> None:
    """The cost is that of the table, the bodies and the objects, and goes down as messages are taken out."""
    waiting = ReorderBuffer()
    costs = []
    for seq, text in enumerate(["", "x" * 1000, "x" * 50_000]):
        entry = message(seq, text)
        waiting.add(entry, 1.0)
        costs.append(len(entry.raw) + MESSAGE_OVERHEAD)
        assert waiting.cost == BUFFER_OVERHEAD + sum(costs)
    for number in range(3):
        waiting.pop()
        assert waiting.cost == BUFFER_OVERHEAD + sum(costs[number + 1 :])


def test_what_the_table_costs() -> None:
    """Before there is any message in it, the table takes no more memory than it is said to cost."""
    assert bytes_for(lambda: [ReorderBuffer() for _ in range(1000)]) < 1000 * ReorderBuffer().cost


@pytest.mark.parametrize("size", [1, 100, 1000])
def test_cost_is_about_the_memory(size: int) -> None:
    """The cost is no flattery: the memory taken is not half as much again."""
    costs = []

    def hold() -> ReorderBuffer:
        waiting = ReorderBuffer()
        for seq in range(2**50, 2**50 + 300):
            waiting.add(
                extended_message(
                    "x" * size, seq=seq, ts_usec=seq, release="6.12.107", caller="T123", msgid=seq % 2**32
                ),
                seq / 2**20,
            )
        costs.append(waiting.cost)
        return waiting

    assert bytes_for(hold) < 1.5 * costs[0]


def test_crowded_by_number() -> None:
    """More than HELD_LIMIT messages are too many; one less is not."""
    waiting = filled(*[(seq, 1.0) for seq in range(HELD_LIMIT)])
    crowded = [waiting.is_over_limit()]
    waiting.add(message(HELD_LIMIT), 1.0)
    crowded.append(waiting.is_over_limit())
    waiting.pop()
    crowded.append(waiting.is_over_limit())
    assert crowded == [False, True, False]


def test_burst_is_not_crowded() -> None:
    """What a burst of 5,000 messages per second brings in the 200 ms of the reorder time waits in full."""
    waiting = ReorderBuffer()
    for seq in range(1000):
        waiting.add(message(seq, "x" * 200), 1.0)
    assert not waiting.is_over_limit()


def test_crowded_by_bytes() -> None:
    """More than HELD_BYTES_LIMIT bytes are too many, objects included; as many are not."""
    waiting = ReorderBuffer()
    seq = 0
    while waiting.cost + 100_000 < HELD_BYTES_LIMIT:
        waiting.add(message(seq, "x" * 60_000), 1.0)
        seq += 1
    rest = HELD_BYTES_LIMIT - waiting.cost - MESSAGE_OVERHEAD - len("\n")
    waiting.add(message(seq, "x" * rest), 1.0)
    assert (waiting.cost, waiting.is_over_limit()) == (HELD_BYTES_LIMIT, False)
    waiting.add(message(seq + 1, ""), 1.0)
    assert waiting.is_over_limit()
    assert waiting.count() < HELD_LIMIT


_deadlines = st.integers(0, 20).map(float)


@examples(200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), numbers | st.integers(0, 20), _deadlines),
            st.tuples(st.sampled_from(["pop", "overdue"]), st.just(0), _deadlines),
        ),
        max_size=40,
    )
)
def test_any_sequence(operations: list[tuple[str, int, float]]) -> None:
    """Whatever is added, taken out and asked, it agrees with a plain table."""
    waiting = ReorderBuffer()
    table: dict[int, tuple[ExtendedMessage, float]] = {}
    latest = 0.0
    gone: set[int] = set()  # nothing comes back, nor does what is before it
    for operation, seq, time in operations:
        latest = max(latest, time)
        if operation == "add" and seq not in table and seq > max(gone, default=-1):
            time = latest  # deadlines ascend
            table[seq] = message(seq, "x" * (seq % 7)), time
            waiting.add(*table[seq])
        elif operation == "pop" and table:
            assert waiting.lowest() is table[min(table)][0]
            gone.add(min(table))
            assert waiting.pop() is table.pop(min(table))[0]
        elif operation == "overdue":
            overdue = max((number for number, (_, deadline) in table.items() if deadline <= time), default=-1)
            # What was taken out before may be named instead: it changes nothing.
            named = waiting.expire(time)
            assert [number for number in table if number <= named] == [number for number in table if number <= overdue]
            gone |= {number for number in table if number <= overdue}
            for _ in [number for number in table if number <= overdue]:
                del table[waiting.pop().seq]
            assert waiting.deadline > time
        assert waiting.count() == len(table)
        assert waiting.cost == BUFFER_OVERHEAD + sum(len(held.raw) + MESSAGE_OVERHEAD for held, _ in table.values())
        assert all(waiting.get(number) is held for number, (held, _) in table.items())
        assert waiting.deadline <= min((deadline for _, deadline in table.values()), default=inf)

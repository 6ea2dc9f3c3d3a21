"""The buffer of held messages: in the order of their seqs, bounded, each with its own deadline."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
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
from tests.support.strategies import numbers


def message(seq: int, text: str = "x") -> ExtendedMessage:
    """A message with this seq."""
    return extended_message(text, seq=seq)


def filled(*entries: tuple[int, float]) -> ReorderBuffer:
    """A buffer with messages of these seqs and deadlines."""
    buffer = ReorderBuffer()
    for seq, deadline in entries:
        buffer.add(message(seq), deadline)
    return buffer


def test_empty() -> None:
    """A new buffer is empty, has no deadline, and costs BUFFER_OVERHEAD."""
    buffer = ReorderBuffer()
    assert (buffer.count(), buffer.cost, buffer.deadline, buffer.is_over_limit()) == (0, BUFFER_OVERHEAD, inf, False)
    assert buffer.get(1) is None
    assert buffer.expire(1e9) == -1
    assert buffer.deadline == inf


def test_expire() -> None:
    """``expire`` returns the highest expired seq and sets the next deadline."""
    buffer = filled((5, 1.0), (9, 1.5), (3, 2.0), (7, 4.0))
    assert buffer.deadline == 1.0
    assert (buffer.expire(0.5), buffer.deadline) == (-1, 1.0)
    assert (buffer.expire(1.0), buffer.deadline) == (5, 1.5)
    assert (buffer.expire(3.0), buffer.deadline) == (9, 4.0)
    assert (buffer.expire(4.0), buffer.deadline) == (7, inf)


def test_slack() -> None:
    """Messages whose deadlines are within the slack expire together, at the first of their deadlines."""
    buffer = ReorderBuffer(0.25)
    for seq, deadline in ((5, 1.0), (9, 1.25), (11, 1.375), (3, 1.5), (13, 2.0)):
        buffer.add(message(seq), deadline)
    assert (buffer.expire(0.75), buffer.deadline) == (-1, 1.0)
    assert (buffer.expire(1.0), buffer.deadline) == (9, 1.375)
    assert (buffer.expire(1.375), buffer.deadline) == (11, 2.0)


def test_seq_0_expires() -> None:
    """Seq 0 is returned as expired, and differs from -1, none."""
    assert filled((0, 1.0)).expire(1.0) == 0


def test_deadline_after_pop() -> None:
    """No message expires before ``deadline``, also after the first to expire was removed."""
    buffer = filled((5, 1.0), (7, 2.0))
    buffer.pop()
    assert buffer.deadline <= 2.0
    buffer.expire(1.0)
    assert buffer.deadline == 2.0
    buffer.add(message(6), 2.5)
    assert buffer.deadline == 2.0


def test_removed_messages_leave_no_deadlines() -> None:
    """While one message is held, others are added and removed without bound: the memory of deadlines is bounded."""

    def churn() -> ReorderBuffer:
        buffer = filled((2**40, 1.0))
        for seq in range(8 * HELD_LIMIT):
            buffer.add(message(seq), 1.0 + seq)
            buffer.pop()
        return buffer

    assert bytes_for(churn) < 2 * HELD_LIMIT * 200


def test_the_entries_of_removed_messages_are_compacted() -> None:
    """While one message is held, others are added and removed: the list has at most 2 * COMPACT_AT entries."""

    def churn() -> ReorderBuffer:
        buffer = filled((2**40, 1.0))
        for seq in range(40 * COMPACT_AT - 1):
            buffer.add(message(seq), 1.0)
            buffer.pop()
        return buffer

    entry = 8
    assert bytes_for(churn) < filled((1, 1.0)).cost + 2 * COMPACT_AT * entry


def test_cost() -> None:
    """The cost is that of the buffer, the bodies and the objects; it decreases as messages are removed."""
    buffer = ReorderBuffer()
    costs = []
    for seq, text in enumerate(["", "x" * 1000, "x" * 50_000]):
        entry = message(seq, text)
        buffer.add(entry, 1.0)
        costs.append(len(entry.raw) + MESSAGE_OVERHEAD)
        assert buffer.cost == BUFFER_OVERHEAD + sum(costs)
    for number in range(3):
        buffer.pop()
        assert buffer.cost == BUFFER_OVERHEAD + sum(costs[number + 1 :])


def test_the_memory_of_an_empty_buffer() -> None:
    """An empty buffer takes no more memory than its cost."""
    assert bytes_for(lambda: [ReorderBuffer() for _ in range(1000)]) < 1000 * ReorderBuffer().cost


@pytest.mark.parametrize("size", [1, 100, 1000])
def test_the_memory_of_a_full_buffer(size: int) -> None:
    """The memory of a buffer is at most 1.5 times its cost."""
    costs = []

    def full() -> ReorderBuffer:
        buffer = ReorderBuffer()
        for seq in range(2**50, 2**50 + 300):
            buffer.add(
                extended_message(
                    "x" * size, seq=seq, ts_usec=seq, release="6.12.107", caller="T123", msgid=seq % 2**32
                ),
                seq / 2**20,
            )
        costs.append(buffer.cost)
        return buffer

    assert bytes_for(full) < 1.5 * costs[0]


def test_the_limit_in_messages() -> None:
    """More than HELD_LIMIT messages are over the limit; HELD_LIMIT are not."""
    buffer = filled(*[(seq, 1.0) for seq in range(HELD_LIMIT)])
    over = [buffer.is_over_limit()]
    buffer.add(message(HELD_LIMIT), 1.0)
    over.append(buffer.is_over_limit())
    buffer.pop()
    over.append(buffer.is_over_limit())
    assert over == [False, True, False]


def test_a_burst_is_within_the_limit() -> None:
    """A burst of 5,000 messages per second is held in full for the 200 ms of the reorder time."""
    buffer = ReorderBuffer()
    for seq in range(1000):
        buffer.add(message(seq, "x" * 200), 1.0)
    assert not buffer.is_over_limit()


def test_the_limit_in_bytes() -> None:
    """More than HELD_BYTES_LIMIT bytes, objects included, are over the limit; HELD_BYTES_LIMIT are not."""
    buffer = ReorderBuffer()
    seq = 0
    while buffer.cost + 100_000 < HELD_BYTES_LIMIT:
        buffer.add(message(seq, "x" * 60_000), 1.0)
        seq += 1
    rest = HELD_BYTES_LIMIT - buffer.cost - MESSAGE_OVERHEAD - len("\n")
    buffer.add(message(seq, "x" * rest), 1.0)
    assert (buffer.cost, buffer.is_over_limit()) == (HELD_BYTES_LIMIT, False)
    buffer.add(message(seq + 1, ""), 1.0)
    assert buffer.is_over_limit()
    assert buffer.count() < HELD_LIMIT


_deadlines = st.integers(0, 20).map(float)


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), numbers | st.integers(0, 20), _deadlines),
            st.tuples(st.sampled_from(["pop", "expire"]), st.just(0), _deadlines),
        ),
        max_size=40,
    )
)
def test_any_sequence(operations: list[tuple[str, int, float]]) -> None:
    """After any additions, removals and expiries, the buffer agrees with a dict."""
    buffer = ReorderBuffer()
    table: dict[int, tuple[ExtendedMessage, float]] = {}
    latest = 0.0
    # A stream adds no message at or below a removed one.
    removed: set[int] = set()
    for operation, seq, time in operations:
        latest = max(latest, time)
        if operation == "add" and seq not in table and seq > max(removed, default=-1):
            time = latest  # deadlines ascend
            table[seq] = message(seq, "x" * (seq % 7)), time
            buffer.add(*table[seq])
        elif operation == "pop" and table:
            assert buffer.lowest() is table[min(table)][0]
            removed.add(min(table))
            assert buffer.pop() is table.pop(min(table))[0]
        elif operation == "expire":
            expired = max((number for number, (_, deadline) in table.items() if deadline <= time), default=-1)
            # The seq may be that of a message that was removed before.
            returned = buffer.expire(time)
            assert [number for number in table if number <= returned] == [
                number for number in table if number <= expired
            ]
            removed |= {number for number in table if number <= expired}
            for _ in [number for number in table if number <= expired]:
                del table[buffer.pop().seq]
            assert buffer.deadline > time
        assert buffer.count() == len(table)
        assert buffer.cost == BUFFER_OVERHEAD + sum(len(held.raw) + MESSAGE_OVERHEAD for held, _ in table.values())
        assert all(buffer.get(number) is held for number, (held, _) in table.items())
        assert buffer.deadline <= min((deadline for _, deadline in table.values()), default=inf)

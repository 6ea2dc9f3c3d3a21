"""The counters: one table, and sums that hold."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.counters import (
    ACK_COUNTERS,
    COUNTERS,
    DATAGRAM_OUTCOMES,
    LISTENER_COUNTERS,
    MESSAGE_KINDS,
    QUEUE_COUNTERS,
    SENDER_COUNTERS,
    WORKER_COUNTERS,
    AckCounters,
    Counter,
    ListenerCounters,
    ModuleCounters,
    QueueCounters,
    SenderCounters,
    WorkerCounters,
    inconsistencies,
    total,
)

TABLES = {
    ListenerCounters: LISTENER_COUNTERS,
    QueueCounters: QUEUE_COUNTERS,
    WorkerCounters: WORKER_COUNTERS,
    AckCounters: ACK_COUNTERS,
}
KINDS = (*TABLES, ModuleCounters)


def values(counters: Any) -> dict[str, int]:
    """The values of any counters, by name."""
    if isinstance(counters, WorkerCounters):
        return {name: getattr(counters, name) for name in COUNTERS}
    return asdict(counters)


def worker_counters(numbers: list[int]) -> WorkerCounters:
    """The counters of a worker with these values, in the order of the table."""
    counters = WorkerCounters()
    for name, number in zip(COUNTERS, numbers, strict=True):
        setattr(counters, name, number)
    return counters


@pytest.mark.parametrize("kind", TABLES)
def test_the_table_and_the_attributes_are_the_same(kind: Any) -> None:
    """Each row of a table is an attribute of its class, in the same order, and there is no other attribute."""
    assert list(values(kind())) == [counter.name for counter in TABLES[kind]]


def test_the_counters_of_a_sender_are_those_marked_per_sender() -> None:
    """SenderCounters has the counters with ``per_sender``, the sender, its name and the time of its last datagram."""
    names = {field.name for field in fields(SenderCounters)}
    assert names == {*SENDER_COUNTERS, "address", "port", "name", "last_seen"}


def test_a_metric_has_one_counter() -> None:
    """No two rows have the same metric; each row has a sentence that explains it."""
    rows: list[Counter] = [counter for table in TABLES.values() for counter in table]
    assert len({row.metric for row in rows}) == len(rows)
    assert all(row.help.endswith(".") for row in rows)


@given(
    st.lists(
        st.lists(st.integers(0, 2**40), min_size=len(COUNTERS), max_size=len(COUNTERS)).map(worker_counters), max_size=5
    )
)
def test_the_total_is_the_sum_of_every_counter(workers: list[WorkerCounters]) -> None:
    """``total`` adds each counter of all workers, and changes none of them."""
    before = [values(counters) for counters in workers]
    assert total(iter(workers)) == {name: sum(counters[name] for counters in before) for name in COUNTERS}
    assert [values(counters) for counters in workers] == before


def test_all_counters_begin_at_zero() -> None:
    """New counters of any kind are 0."""
    for kind in KINDS:
        assert set(values(kind()).values()) == {0}


def test_a_misspelt_counter_is_an_error() -> None:
    """Counters have no other attributes, so that nothing is counted where nobody reads it."""
    for kind in KINDS:
        assert not hasattr(kind(), "__dict__")


@pytest.mark.parametrize("name", ["datagrams", *DATAGRAM_OUTCOMES])
def test_a_datagram_without_an_outcome_is_reported(name: str) -> None:
    """If the outcomes do not add up to the datagrams, a line names the sums."""
    counters = WorkerCounters()
    setattr(counters, name, 7)
    mismatches = inconsistencies(total([counters]))
    sums = (7, 0) if name == "datagrams" else (0, 7)
    assert mismatches[0] == (
        f"datagrams {sums[0]} is not whole + continued + fragments + legacy + "
        f"dropped_duplicate + dropped_empty + dropped_over_rate {sums[1]}"
    )
    assert mismatches[1:] == []


@pytest.mark.parametrize("name", ["messages", *MESSAGE_KINDS])
def test_a_message_without_a_kind_is_reported(name: str) -> None:
    """If the kinds do not add up to the messages, a line names the sum."""
    counters = WorkerCounters()
    setattr(counters, name, 7)
    sums = (7, 0) if name == "messages" else (0, 7)
    assert inconsistencies(total([counters])) == [
        f"messages {sums[0]} is not records + reassembled + lines + taken {sums[1]}"
    ]

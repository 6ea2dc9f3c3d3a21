"""Counters add up."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.counters import (
    COUNTERS,
    AckCounters,
    ListenerCounters,
    ModuleCounters,
    QueueCounters,
    WorkerCounters,
    inconsistencies,
    total,
)
from netconsd.protocol.table import SourceTable
from netconsd.settings import Settings
from netconsd.testing import extended, fragments, legacy, source


def counts(counters: Any) -> dict[str, int]:
    """The counters of any counters, by name."""
    return (
        {name: getattr(counters, name) for name in COUNTERS}
        if isinstance(counters, WorkerCounters)
        else asdict(counters)
    )


def tally_with(values: list[int]) -> WorkerCounters:
    """A counters that has counted."""
    counters = WorkerCounters()
    for name, value in zip(COUNTERS, values, strict=True):
        setattr(counters, name, value)
    return counters


counters = st.lists(st.integers(0, 2**40), min_size=len(COUNTERS), max_size=len(COUNTERS)).map(tally_with)


@given(st.lists(counters, max_size=5))
def test_the_total_is_the_sum_of_every_counter(several: list[WorkerCounters]) -> None:
    """``total`` adds counter by counter, leaves none out, and changes none of those it adds."""
    before = [counts(counters) for counters in several]
    assert total(iter(several)) == {name: sum(each[name] for each in before) for name in COUNTERS}
    assert [counts(counters) for counters in several] == before


def test_counting_begins_at_zero() -> None:
    """A new counters of any kind has counted nothing."""
    for kind in (WorkerCounters, QueueCounters, AckCounters, ListenerCounters, ModuleCounters):
        assert set(counts(kind()).values()) == {0}


def test_a_misspelt_counter_is_an_error() -> None:
    """Tallies have their counters and no others, so that nothing is counted where nobody reads it."""
    for kind in (WorkerCounters, QueueCounters, AckCounters, ListenerCounters, ModuleCounters):
        assert not hasattr(kind(), "__dict__")


DATAGRAMS = st.one_of(
    st.binary(max_size=40),
    st.builds(extended, st.text(max_size=5), seq=st.integers(0, 20), ts_usec=st.integers(0, 3)),
    st.builds(legacy, st.text(max_size=5)),
    st.sampled_from(fragments(extended("x" * 100, seq=7), size=60) + fragments(extended("y" * 90, seq=9), size=60)),
)


@given(st.lists(st.tuples(st.integers(1, 3), DATAGRAMS, st.floats(0, 1)), max_size=60), st.integers(1, 3))
def test_the_two_equations_hold(received: list[tuple[int, bytes, float]], limit: int) -> None:
    """Whatever arrives: in the end each datagram is under one heading, and each message has one origin."""
    counters = WorkerCounters()
    table = SourceTable(counters, limit=limit, hold=Settings().reorder, gc_interval=0.0, age=0.0)
    now = 0.0
    messages = 0
    for number, datagram, pause in received:
        now += pause
        messages += len(table.feed([source(f"192.0.2.{number}").key], [datagram], 0.0, now))
    messages += len(table.flush())
    assert counters.datagrams == len(received)
    assert counters.octets == sum(len(datagram) for _, datagram, _ in received)
    assert counters.messages == messages
    assert inconsistencies(total([counters])) == []


@pytest.mark.parametrize(
    "name", ["datagrams", "whole", "fragments", "legacy", "dropped_duplicate", "dropped_empty", "dropped_over_rate"]
)
def test_a_datagram_under_no_heading_is_seen(name: str) -> None:
    """One datagram more or less than headings say is a line with both numbers; and so it is with messages."""
    counters = WorkerCounters()
    setattr(counters, name, 7)
    found = inconsistencies(total([counters]))
    sides = (7, 0) if name == "datagrams" else (0, 7)
    assert found[0] == (
        f"datagrams {sides[0]} is not whole + fragments + legacy + "
        f"dropped_duplicate + dropped_empty + dropped_over_rate {sides[1]}"
    )
    assert found[1:] == (["messages 0 is not whole + reassembled + lines 7"] if name == "whole" else [])

"""The offsets that are committed, and the partitions that are paused. No broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.process.address import parse
from netconsd.process.announced import Announced
from netconsd.process.kafkaclient import KafkaClient, Offsets


@given(st.permutations(range(8)))
def test_up_to_the_first_that_is_not_done(order: list[int]) -> None:
    """Whatever order deliveries are done in, the commit is the offset of the first that is not."""
    taken = [10, 11, 13, 20, 21, 22, 30, 40]
    offsets = Offsets()
    for offset in taken:
        assert offsets.take(offset) >= 0
    done: set[int] = set()
    committed = 10
    for place in order:
        offsets.done(taken[place])
        done.add(taken[place])
        found = offsets.commit()
        expected = next((offset for offset in taken if offset not in done), 41)
        if found is not None:
            assert found > committed
            committed = found
        last = max([offset for offset in taken if offset < expected], default=9)
        assert committed == last + 1
    assert offsets.commit() is None


def test_what_the_broker_has_deleted() -> None:
    """Offsets that were never delivered are counted; before a first commit, the first one may be any."""
    assert [Offsets().take(7), Offsets(7).take(7), Offsets(3).take(7)] == [0, 0, 4]
    offsets = Offsets(3)
    assert [offsets.take(offset) for offset in (3, 4, 6, 10)] == [0, 0, 1, 3]


class Consumer:
    """Notes which partitions are paused, as librdkafka does."""

    def __init__(self) -> None:
        self.assigned: set[int] = set()
        self.paused: set[int] = set()
        self.commits: list[list[Any]] = []

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> None:
        self.commits.append([offset.offset for offset in offsets])

    def assignment(self) -> list[int]:
        return sorted(self.assigned)

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        return []

    def pause(self, partitions: list[int]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: list[int]) -> None:
        self.paused -= set(partitions)


@pytest.mark.parametrize("is_full", [False, True])
def test_assigned_while_paused(is_full: bool) -> None:
    """A partition that is assigned while the others are paused is paused or resumed together with them."""
    pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")
    intake: Any = SimpleNamespace(begin=lambda number: None, partitions=[])
    client = KafkaClient(intake, parse("kafka://127.0.0.1/topic"), "g", properties={})
    scripted = Consumer()
    consumer: Any = scripted
    scripted.assigned = {0}
    client._pause(consumer, True)
    client._assigned(consumer, [SimpleNamespace(partition=1)])  # type: ignore[list-item]
    scripted.assigned = {0, 1}
    client._pause(consumer, is_full)
    assert scripted.paused == (scripted.assigned if is_full else set())


def test_the_last_commit() -> None:
    """The commit when a partition is given away repeats the one before, of which nobody knows whether it failed."""
    pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")
    intake: Any = SimpleNamespace()
    client = KafkaClient(intake, parse("kafka://127.0.0.1/topic"), "g", properties={})
    scripted = Consumer()
    consumer: Any = scripted
    client._offsets[0] = offsets = Offsets()
    client._announced[0] = Announced()
    offsets.take(7)
    offsets.done(7)
    for wait in (False, False, True):
        client._commit(consumer, [0], wait=wait)
    assert scripted.commits == [[8], [8]]

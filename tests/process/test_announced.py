"""The messages of a partition of Kafka that may have been processed before. No broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.process.address import parse
from netconsd.process.announced import RESERVE, Announced, until_of
from netconsd.process.kafkaclient import KafkaClient, Offsets


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 300), st.booleans()), max_size=20))
def test_nothing_is_processed_unannounced(lives: list[tuple[int, int, bool]]) -> None:
    """Processors that are killed, or give the partition away, with some messages taken and not committed: whatever the
    modules have twice was counted by the one that gave it to them the second time."""
    committed, text = 0, ""
    processed: set[int] = set()
    for step, count, is_killed in lives:
        one = Announced(until_of(text))
        at = committed
        for _ in range(count // step):
            taken = range(at, at + step)
            again = [one.take(offset) for offset in taken]
            if one.is_spent():
                text = one.text()
            assert all(known for offset, known in zip(taken, again, strict=True) if offset in processed)
            assert taken[-1] < until_of(text)
            processed |= set(taken)
            at += step
        if not is_killed:
            committed = max(committed, at)
            text = one.last_text(None) if at > 0 else text
            assert until_of(text) >= committed


def test_given_away_whole() -> None:
    """Nothing is counted after a processor that processed and committed all that it took, or gave the rest back."""
    one = Announced()
    for offset in range(10):
        one.take(offset)
    one.text()
    assert until_of(one.last_text(None)) == 10
    assert until_of(one.last_text(6)) == 6


def test_taken_over_twice() -> None:
    """What a processor did not come to is counted by the next one."""
    one = Announced(100)
    assert one.take(3)
    assert until_of(one.last_text(None)) == 100
    two = Announced(100)
    assert [two.take(99), two.take(100)] == [True, False]


@pytest.mark.parametrize("text", [None, "", "x", "until 7", "netconsd: until x", f"netconsd: until {'9' * 30}"])
def test_texts_of_others(text: str | None) -> None:
    """A text that is not netconsd's says nothing."""
    assert until_of(text) == 0


@pytest.mark.parametrize(
    ("until", "offset", "end", "again"), [(9, 5, 7, 7), (9, 5, 20, 9), (5, 5, 20, 5), (0, -1001, 7, 0), (9, 5, 3, 0)]
)
def test_what_was_in_the_broker(until: int, offset: int, end: int, again: int) -> None:
    """What came after the takeover was not processed before, and nothing of a topic that was made again."""
    client = KafkaClient(SimpleNamespace(), parse("kafka://127.0.0.1/topic"), "g", properties={})  # type: ignore[arg-type]
    consumer: Any = SimpleNamespace(get_watermark_offsets=lambda partition, timeout: (0, end))
    committed: Any = SimpleNamespace(metadata=f"netconsd: until {until}", offset=offset, partition=0, error=None)
    assert client._place(consumer, committed)[1] == again


def test_commits() -> None:
    """The first message is announced before it is processed, with an offset that leaves it to the next processor; the
    last commit says what was not processed."""
    pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")
    turns: list[str] = []

    def turn() -> list[Any]:
        turns.append("processed")
        return []

    intake: Any = SimpleNamespace(turn=turn)
    client = KafkaClient(intake, parse("kafka://127.0.0.1/topic"), "g", properties={}, clock=lambda: 0.1)
    commits: list[Any] = []

    def commit(*, offsets: list[Any], asynchronous: bool) -> list[Any]:
        commits.append(([(each.offset, each.metadata) for each in offsets], len(turns)))
        return offsets

    consumer: Any = SimpleNamespace(commit=commit)
    client._offsets[0] = offsets = Offsets()
    client._announced[0] = announced = Announced()
    for offset in (7, 8):
        offsets.take(offset)
        announced.take(offset)
    client._turn(consumer)
    client._turn(consumer)
    assert commits == [([(7, f"netconsd: until {9 + RESERVE}")], 0)]
    offsets.done(7)
    client._commit(consumer, [0], wait=True, unprocessed={0: 8})
    assert commits[1][0] == [(8, "netconsd: until 8")]

"""The offsets that are committed, and the partitions that are paused. No broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.process.address import parse
from netconsd.process.announced import Announced
from netconsd.process.client import LostError
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
        self.offsets: dict[int, int] = {}
        self.bounds = (0, 0)
        self.error: Exception | None = None
        #: Of the answers for a partition, of the group's offsets and of commits.
        self.errors: dict[int, Any] = {}
        self.begun: dict[int, int] = {}
        self.is_in_callback = False

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> list[Any]:
        self.commits.append([offset.offset for offset in offsets])
        return [SimpleNamespace(error=self.errors.get(each.partition)) for each in offsets]

    def incremental_assign(self, partitions: list[Any]) -> None:
        assert self.is_in_callback, "the library assigns them before"
        self.begun |= {each.partition: each.offset for each in partitions}

    def list_topics(self, name: str, timeout: float) -> Any:
        """Return a topic with six partitions."""
        assert not self.is_in_callback, "confluent-kafka would abort the process"
        return SimpleNamespace(topics={name: SimpleNamespace(error=None, partitions=dict.fromkeys(range(6)))})

    def get_watermark_offsets(self, partition: Any, timeout: float = 0, cached: bool = False) -> tuple[int, int]:
        return self.bounds

    def assignment(self) -> list[int]:
        return sorted(self.assigned)

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        if self.error is not None:
            raise self.error
        offsets = [self.offsets.get(each.partition, -1) for each in partitions]
        return [
            SimpleNamespace(
                topic="topic",
                partition=each.partition,
                offset=-1001 if each.partition in self.errors else offset,
                metadata="",
                error=self.errors.get(each.partition),
            )
            for each, offset in zip(partitions, offsets, strict=True)
        ]

    def pause(self, partitions: list[int]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: list[int]) -> None:
        self.paused -= set(partitions)


def made(**intake: Any) -> tuple[KafkaClient, Any]:
    """Return a client, and a scripted consumer."""
    pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")
    begun: list[int] = []
    known: Any = SimpleNamespace(
        **{
            "begin": begun.append, "end": lambda number: None, "partitions": begun, "deleted": 0,
            "queued": 0, "unfinished": 0, **intake,
        }
    )  # fmt: skip
    return KafkaClient(known, parse("kafka://127.0.0.1/topic"), "g", properties={}), Consumer()


def assigned(client: KafkaClient, consumer: Any, *numbers: int) -> None:
    """Assign partitions."""
    consumer.is_in_callback = True
    client._assigned(consumer, [SimpleNamespace(partition=number) for number in numbers])  # type: ignore[misc]
    consumer.is_in_callback = False


@pytest.mark.parametrize(
    ("committed", "bounds", "deleted", "expected"),
    [(7, (0, 9), 0, 7), (7, (7, 7), 0, 7), (7, (9, 9), 2, 9), (7, (0, 3), 0, None), (-1001, (5, 9), 0, None)],
)
def test_deleted_before_the_start(committed: int, bounds: tuple[int, int], deleted: int, expected: int | None) -> None:
    """Messages that were deleted while nobody processed are counted at once, also if no message follows them. A broker
    with fewer messages than were committed does not count."""
    client, consumer = made()
    consumer.offsets, consumer.bounds = {2: committed}, bounds
    assigned(client, consumer, 2)
    assert (client.intake.deleted, client._offsets[2].expected) == (deleted, expected)


def test_the_partitions_are_counted_again() -> None:
    """A topic can have more partitions than at the start of the session: they are counted after some were assigned, not
    in the callback, where confluent-kafka would abort the process."""
    client, consumer = made(turn=list, wake=list)
    client.partitions = 4

    def consume(count: int, seconds: float) -> list[Any]:
        assigned(client, consumer, 4, 5)
        client.stop()
        return []

    consumer.consume = consume
    client._take(consumer)
    assert client.partitions == 6
    assert client.intake.partitions == [4, 5]


def test_an_assignment_without_an_answer() -> None:
    """If the broker does not say what the group has committed, the session begins again, and nothing is taken."""
    client, consumer = made()
    from confluent_kafka import KafkaError, KafkaException

    consumer.error = KafkaException(KafkaError(KafkaError._TIMED_OUT, "Timed out"))
    assigned(client, consumer, 1)
    assert client.intake.partitions == []
    consumer.consume = lambda count, seconds: []
    with pytest.raises(LostError, match="Timed out"):
        client._take(consumer)


def test_an_assignment_of_which_a_part_has_no_answer() -> None:
    """No partition begins, and nothing is counted: the session begins again, with all of them."""
    client, consumer = made()
    from confluent_kafka import KafkaError, KafkaException

    def bounds(partition: Any, timeout: float) -> tuple[int, int]:
        if partition.partition == 2:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Timed out"))
        return 9, 12

    consumer.offsets, consumer.get_watermark_offsets = {1: 7, 2: 7}, bounds
    assigned(client, consumer, 1, 2)
    assert (client.intake.partitions, client.intake.deleted, list(client._offsets)) == ([], 0, [])
    consumer.consume = lambda count, seconds: [
        SimpleNamespace(error=lambda: None, partition=lambda: 1, offset=lambda: 9, value=lambda: b"")
    ]
    with pytest.raises(LostError, match="Timed out"):
        client._take(consumer)


def test_the_library_begins_where_the_processor_counts_from() -> None:
    """With one answer of the broker: a second one could differ. Without a commit it begins with the oldest."""
    client, consumer = made()
    from confluent_kafka import OFFSET_BEGINNING

    consumer.offsets, consumer.bounds = {1: 7, 2: 10}, (9, 12)
    assigned(client, consumer, 1, 2, 3)
    assert consumer.begun == {1: 9, 2: 10, 3: OFFSET_BEGINNING}


def test_an_error_of_one_partition() -> None:
    """The answer for a partition may be an error, without an exception. It is not taken for "nothing was committed":
    everything that the broker has would be processed again."""
    client, consumer = made()
    from confluent_kafka import KafkaError

    consumer.offsets, consumer.bounds = {1: 7, 2: 7}, (0, 12)
    consumer.errors = {2: KafkaError(KafkaError._TIMED_OUT, "Timed out")}
    assigned(client, consumer, 1, 2)
    assert (client.intake.partitions, consumer.begun) == ([], {})
    consumer.consume = lambda count, seconds: []
    with pytest.raises(LostError, match="Timed out"):
        client._take(consumer)


def test_a_commit_that_fails() -> None:
    """It is a fault, whether the whole or one partition failed, until a commit succeeds."""
    client, consumer = made(leave=lambda number: [], is_idle=lambda number: True)
    from confluent_kafka import KafkaError

    refused = KafkaError(KafkaError.ILLEGAL_GENERATION, "Old generation")
    consumer.offsets, consumer.bounds = {1: 7, 2: 7}, (7, 12)
    assigned(client, consumer, 1, 2)
    assert client.faults() == []
    client._offsets[2].take(7)
    consumer.errors = {2: refused}
    client._revoked(consumer, [SimpleNamespace(partition=2)])  # type: ignore[list-item]
    assert client.faults() == ["the broker: Old generation"]
    client._answered(None, [SimpleNamespace(error=None)])  # type: ignore[list-item]
    assert client.faults() == []
    client._answered(refused, [])
    assert client.faults() == ["the broker: Old generation"]


def test_a_topic_that_is_deleted() -> None:
    """The session begins again, after what was taken is processed; what is known to have been behind it is counted."""
    client, consumer = made()
    from confluent_kafka import KafkaError

    consumer.offsets, consumer.bounds = {0: 7, 1: 9}, (0, 9)
    assigned(client, consumer, 0, 1, 2)
    client._offsets[0].take(7)
    error: Any = SimpleNamespace(code=lambda: KafkaError.UNKNOWN_TOPIC_OR_PART, str=lambda: "no such topic")
    consumer.consume = lambda count, seconds: [SimpleNamespace(error=lambda: error)]
    with pytest.raises(LostError, match="no such topic"):
        client._take(consumer)
    # The second of partition 0, and all of partition 2, of which nothing was committed.
    assert client.intake.deleted == 1 + 9


@pytest.mark.parametrize("is_full", [False, True])
def test_assigned_while_paused(is_full: bool) -> None:
    """A partition that is assigned while the others are paused is paused or resumed together with them."""
    client, consumer = made()
    consumer.assigned = {0}
    client._pause(consumer, True)
    assigned(client, consumer, 1)
    consumer.assigned = {0, 1}
    client._pause(consumer, is_full)
    assert consumer.paused == (consumer.assigned if is_full else set())


def test_the_last_commit() -> None:
    """The commit when a partition is given away repeats the one before, of which nobody knows whether it failed."""
    client, consumer = made()
    client._offsets[0] = offsets = Offsets()
    client._announced[0] = Announced()
    offsets.take(7)
    offsets.done(7)
    for wait in (False, False, True):
        client._commit(consumer, [0], wait=wait)
    assert consumer.commits == [[8], [8]]

"""``netconsd process`` with the real Kafka broker (.ci/install-kafka) under load: processors that hang, stop and
reload, several groups, a broker that is away, and topics that change. The account: published = processed + counted.

A fault lasts as long as it must to show; NETCONSD_PROOF_SECONDS makes it longer, such as 60 for a processor that hangs,
and 600 for a broker that is away for ten minutes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.kafka_server import KAFKA_PATIENCE, PARTITIONS, TEST_SECONDS, TOPIC, KafkaServer, until
from tests.support.processors import Processor, blocks, out_of_order, processed
from tests.support.servers import running

kafka = pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")

#: Seconds of a fault: longer than the group waits for a processor.
SECONDS = float(os.environ.get("NETCONSD_PROOF_SECONDS", "10"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(TEST_SECONDS + 2 * SECONDS)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaServer]:
    """A running broker with a topic."""
    broker = KafkaServer(tmp_path / "server")
    with running(broker):
        broker.make_topic()
        yield broker


@pytest.fixture
def start(tmp_path: Path, broker: KafkaServer) -> Iterator[Callable[..., Processor]]:
    """Return a function that starts a processor."""
    started: list[Processor] = []

    def begin(name: str, *more: str, group: str = "g") -> Processor:
        source = f"kafka://{broker.address}/{TOPIC}"
        started.append(Processor(tmp_path, name, source, group=group, more=more, patience=KAFKA_PATIENCE))
        return started[-1]

    yield begin
    for processor in started:
        processor.end()


class Load(threading.Thread):
    """Publishes blocks of eight machines until it is stopped, also while the broker is away."""

    def __init__(self, broker: KafkaServer) -> None:
        super().__init__(daemon=True)
        self._address = broker.address
        self._ending = threading.Event()
        self._published: set[tuple[str, int]] = set()
        #: What the next block begins with.
        self.seq = 0
        self.start()

    def run(self) -> None:
        """Publish."""
        producer = kafka.Producer(
            {
                "bootstrap.servers": self._address, "enable.idempotence": True, "log_level": 0,
                # For ten minutes without a broker.
                "message.timeout.ms": 0, "queue.buffering.max.messages": 1_000_000,
            }
        )  # fmt: skip
        while not self._ending.wait(0.1):
            for partition, data, messages in blocks(self.seq, self.seq + 20, partitions=PARTITIONS):
                producer.produce(TOPIC, data, partition=partition)
                self._published.update(messages)
            self.seq += 20
            producer.poll(0)
        assert producer.flush(KAFKA_PATIENCE) == 0

    def grows(self) -> None:
        """Wait until more was published."""
        before = self.seq
        until(lambda: self.seq >= before + 100, "the load")

    def published(self) -> set[tuple[str, int]]:
        """End, and return everything that was published."""
        self._ending.set()
        self.join()
        return self._published


@pytest.fixture
def load(broker: KafkaServer) -> Iterator[Load]:
    """A load."""
    load = Load(broker)
    yield load
    load.published()


def publish(broker: KafkaServer, first: int, last: int) -> set[tuple[str, int]]:
    """Publish messages of eight machines, and return their identities."""
    made = blocks(first, last, partitions=PARTITIONS)
    broker.publish([(partition, data) for partition, data, _ in made])
    return {message for _, _, messages in made for message in messages}


def all_of(processors: Iterable[Processor], published: set[tuple[str, int]]) -> None:
    """Wait until everything that was published is processed, and nothing else."""
    until(lambda: set(processed(processors)) >= published, "all messages")
    assert set(processed(processors)) == published


def extra(processors: Iterable[Processor]) -> int:
    """Return how many messages were processed once more."""
    return sum(count - 1 for count in processed(processors).values())


def test_one_hangs_under_load(load: Load, start: Callable[..., Processor], tmp_path: Path) -> None:
    """Stopped by SIGSTOP with messages in hand: the other replaces it, and counts how many messages are processed twice
    at most; when it continues, it takes a share again. No message is lost."""
    one, two = start("one", "--set", "record.hold=0.02"), start("two")
    one.takes(PARTITIONS // 2)
    two.takes(PARTITIONS // 2)
    load.grows()
    one.pause()
    two.takes(PARTITIONS)
    time.sleep(SECONDS)
    one.resume()
    until(lambda: "has lost its partitions" in one.log, "the loss")
    one.takes(PARTITIONS // 2)
    two.takes(PARTITIONS // 2)
    load.grows()
    all_of([one, two], load.published())
    assert extra([one, two]) <= one.number("repeated_kernel_messages") + two.number("repeated_kernel_messages")


def test_stopped_and_reloaded_under_load(load: Load, start: Callable[..., Processor], broker: KafkaServer) -> None:
    """SIGHUP interrupts nothing. A processor that is stopped by SIGTERM has committed what it processed: the other goes
    on there, and each message is processed once, in order."""
    one, two = start("one"), start("two")
    one.takes(PARTITIONS // 2)
    two.takes(PARTITIONS // 2)
    load.grows()
    one.reload()
    until(lambda: "SIGHUP" in one.log, "the reload")
    load.grows()
    one.stop()
    two.takes(PARTITIONS)
    load.grows()
    three = start("three")
    three.takes(PARTITIONS // 2)
    load.grows()
    published = load.published()
    all_of([one, two, three], published)
    assert processed([one, two, three]) == dict.fromkeys(published, 1)
    assert [out_of_order(each) for each in (one, two, three)] == [[], [], []]
    two.stop()
    three.stop()
    assert broker.committed("g") == len(published) // 10


def test_groups(load: Load, start: Callable[..., Processor], broker: KafkaServer) -> None:
    """Each group gets all messages; one whose processor is killed holds no other up."""
    one, two = start("one", group="a"), start("two", group="b")
    one.takes(PARTITIONS)
    two.takes(PARTITIONS)
    load.grows()
    two.kill()
    load.grows()
    three = start("three", group="b").takes(PARTITIONS)
    published = load.published()
    all_of([one], published)
    all_of([two, three], published)
    assert processed([one]) == dict.fromkeys(published, 1)
    one.stop()
    three.stop()
    assert broker.committed("a") == broker.committed("b") == len(published) // 10


def test_the_broker_is_away(load: Load, start: Callable[..., Processor], broker: KafkaServer) -> None:
    """While the broker is away for longer than a processor's session, receivers keep the messages; afterwards each is
    processed once, in order: what the processor has again from the broker, it drops."""
    one = start("one").takes(PARTITIONS)
    load.grows()
    broker.kill()
    until(lambda: "has lost its partitions" in one.log, "the loss")
    assert "the broker" in one.health()
    time.sleep(SECONDS)
    broker.start()
    load.grows()
    published = load.published()
    all_of([one], published)
    assert processed([one]) == dict.fromkeys(published, 1)
    assert out_of_order(one) == []
    until(lambda: "the broker" not in one.health(), "the end of the fault")
    one.stop()
    assert broker.committed("g") == len(published) // 10


@pytest.mark.parametrize("hangs", [False, True])
def test_stopped_while_the_broker_is_away(
    hangs: bool, load: Load, start: Callable[..., Processor], broker: KafkaServer
) -> None:
    """SIGTERM ends a processor within its --stop-timeout, whether the broker is dead or hangs; nothing is lost."""
    one = start("one", "--stop-timeout", "5").takes(PARTITIONS)
    load.grows()
    if hangs:
        broker.pause()
    else:
        broker.kill()
    load.grows()
    one.stop()
    if hangs:
        broker.resume()
    else:
        broker.start()
    two = start("two").takes(PARTITIONS)
    all_of([one, two], load.published())


def test_more_partitions(start: Callable[..., Processor], broker: KafkaServer) -> None:
    """A topic gets more partitions: a processor that starts then takes some of them, and the first says how many there
    are now."""
    from confluent_kafka.cimpl import NewPartitions

    one = start("one").takes(PARTITIONS)
    published = publish(broker, 0, 100)
    broker.admin.create_partitions([NewPartitions(TOPIC, PARTITIONS + 2)])[TOPIC].result(KAFKA_PATIENCE)
    two = start("two").takes((PARTITIONS + 2) // 2)
    one.takes((PARTITIONS + 2) // 2)
    until(lambda: f"of {PARTITIONS + 2} partitions" in one.log, "the new number")
    made = blocks(100, 200, partitions=PARTITIONS + 2)
    broker.publish([(partition, data) for partition, data, _ in made])
    published |= {message for _, _, messages in made for message in messages}
    all_of([one, two], published)
    assert processed([one, two]) == dict.fromkeys(published, 1)


def test_retention(start: Callable[..., Processor], broker: KafkaServer) -> None:
    """Messages that were deleted while no processor ran are counted at the start of one, though no message follows;
    those that are deleted while one runs, with the next message. The log names them."""
    one = start("one").takes(PARTITIONS)
    published = publish(broker, 0, 100)
    all_of([one], published)
    one.stop()
    publish(broker, 100, 200)

    def delete() -> None:
        ends = [kafka.TopicPartition(TOPIC, number, broker.bounds(number)[1]) for number in range(PARTITIONS)]
        for each in broker.admin.delete_records(ends).values():
            each.result(KAFKA_PATIENCE)

    delete()
    two = start("two").takes(PARTITIONS)
    until(lambda: two.number("deleted") == 80, "the count")
    assert "the broker has deleted 20 messages before they were processed" in two.log
    published |= publish(broker, 200, 300)
    all_of([one, two], published)
    two.pause()
    publish(broker, 300, 400)
    delete()
    two.resume()
    published |= publish(broker, 400, 500)
    until(lambda: set(processed([one, two])) >= published, "all messages")
    # It may have taken some before they were deleted.
    late = len(set(processed([one, two])) - published)
    until(lambda: two.number("deleted") == 160 - late // 10, "the count")


def test_a_topic_is_deleted(start: Callable[..., Processor], broker: KafkaServer, tmp_path: Path) -> None:
    """What was taken of a deleted topic is processed, what was not is counted as far as it is known; and when the topic
    is made again, its messages are processed, without another start."""
    gate = tmp_path / "gate"
    one = start("one", "--queue", "400", "--set", f"record.gate={gate}").takes(PARTITIONS)
    published = publish(broker, 0, 500)
    until(lambda: one.number("queued") > 0, "messages that wait for room")
    broker.admin.delete_topics([TOPIC])[TOPIC].result(KAFKA_PATIENCE)
    gate.touch()
    until(lambda: "nknown topic" in one.health(), "the fault")
    until(lambda: "It is tried again" in one.log, "the log")
    assert len(set(processed([one]))) + 10 * one.number("deleted") == len(published)
    broker.make_topic()
    published = set(processed([one])) | publish(broker, 1000, 1100)
    all_of([one], published)
    until(lambda: "nknown topic" not in one.health(), "the end of the fault")

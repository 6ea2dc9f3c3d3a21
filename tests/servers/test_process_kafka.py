"""``netconsd process`` with Kafka: the real broker (.ci/install-kafka), and librdkafka's mock cluster, as CI has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.kafka_server import KAFKA_PATIENCE, PARTITIONS, TEST_SECONDS, KafkaServer, until
from tests.support.processors import Processor, blocks, out_of_order, processed
from tests.support.servers import running

kafka = pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(TEST_SECONDS)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaServer]:
    """A running broker with a topic."""
    broker = KafkaServer(tmp_path / "server")
    with running(broker):
        publish(broker.address, -10, 0)
        yield broker


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a mock cluster that lives in the threads of this producer, with a topic."""
    producer = kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (server,) = producer.list_topics(timeout=KAFKA_PATIENCE).brokers.values()
    publish(f"{server.host}:{server.port}", -10, 0)
    yield f"{server.host}:{server.port}"
    producer.purge()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Processor]]:
    """Return a function that starts a processor."""
    started: list[Processor] = []

    def begin(address: str, name: str, *more: str) -> Processor:
        started.append(Processor(tmp_path, name, f"kafka://{address}/netconsd", more=more, patience=KAFKA_PATIENCE))
        return started[-1]

    yield begin
    for processor in started:
        processor.end()


def publish(address: str, first: int, last: int) -> set[tuple[str, int]]:
    """Publish messages of eight machines, and return their identities; before 0, a message that cannot be read."""
    producer = kafka.Producer({"bootstrap.servers": address, "enable.idempotence": True, "log_level": 0})
    if first < 0:
        producer.produce("netconsd", b"?", partition=0)
        assert producer.flush(KAFKA_PATIENCE) == 0
        return set()
    made = blocks(first, last, partitions=PARTITIONS)
    for partition, data, _ in made:
        producer.produce("netconsd", data, partition=partition)
    assert producer.flush(KAFKA_PATIENCE) == 0
    return {message for _, _, messages in made for message in messages}


def all_of(processors: list[Processor], published: set[tuple[str, int]]) -> None:
    """Wait until everything that was published is processed."""
    until(lambda: set(processed(processors)) >= published, "all messages")


def test_in_the_mock_cluster(cluster: str, start: Callable[..., Processor]) -> None:
    """Two processors share the partitions, a machine is with one; when one stops in order, nothing comes twice."""
    one = start(cluster, "one").takes(PARTITIONS)
    published = publish(cluster, 0, 200)
    all_of([one], published)
    two = start(cluster, "two").takes(PARTITIONS // 2)
    one.takes(PARTITIONS // 2)
    published |= publish(cluster, 200, 400)
    all_of([one, two], published)
    two.stop()
    one.takes(PARTITIONS)
    published |= publish(cluster, 400, 500)
    all_of([one, two], published)
    assert processed([one, two]) == dict.fromkeys(published, 1)
    assert out_of_order(one) == out_of_order(two) == []
    assert one.number("damaged") == 1
    assert "partition 0, offset 0: it is not a block" in one.log


def test_processors_come_go_and_are_killed(
    broker: KafkaServer, start: Callable[..., Processor], tmp_path: Path
) -> None:
    """One is killed by SIGKILL with messages in hand: within seconds the other has all that was not committed."""
    gate = tmp_path / "gate"
    one = start(broker.address, "one", "--set", f"record.gate={gate}").takes(PARTITIONS)
    published = publish(broker.address, 0, 300)
    until(lambda: one.number("unfinished") > 0, "messages in hand")
    one.kill()
    two = start(broker.address, "two").takes(PARTITIONS)
    three = start(broker.address, "three").takes(PARTITIONS // 2)
    two.takes(PARTITIONS // 2)
    published |= publish(broker.address, 300, 600)
    all_of([two, three], published)
    two.stop()
    three.takes(PARTITIONS)
    published |= publish(broker.address, 600, 700)
    all_of([two, three], published)
    assert processed([two, three]) == dict.fromkeys(published, 1)
    assert out_of_order(two) == out_of_order(three) == []


def test_the_broker_is_killed(broker: KafkaServer, start: Callable[..., Processor]) -> None:
    """The broker is killed by SIGKILL and comes again: nothing is lost, and what it has is in order."""
    one = start(broker.address, "one").takes(PARTITIONS)
    published = publish(broker.address, 0, 300)
    until(lambda: len(one.messages()) > 100, "some messages")
    broker.kill()
    until(lambda: "the broker" in one.health(), "the fault in /healthz")
    broker.start()
    published |= publish(broker.address, 300, 600)
    all_of([one], published)
    until(lambda: "the broker" not in one.health(), "the end of the fault")


def test_a_slow_module(broker: KafkaServer, start: Callable[..., Processor], tmp_path: Path) -> None:
    """A module that hangs for longer than the session's time keeps its partitions, and nothing comes twice."""
    gate = tmp_path / "gate"
    one = start(broker.address, "one", "--queue", "400", "--set", f"record.gate={gate}").takes(PARTITIONS)
    published = publish(broker.address, 0, 500)
    until(lambda: one.number("queued") > 0, "messages that wait for room")
    # Joins, and waits until the first has given half of its partitions away, which it cannot.
    two = start(broker.address, "two")
    until(lambda: "Taking messages" in two.log, "the second processor")
    gate.touch()
    all_of([one, two], published)
    assert processed([one, two]) == dict.fromkeys(published, 1)
    assert out_of_order(one) == out_of_order(two) == []

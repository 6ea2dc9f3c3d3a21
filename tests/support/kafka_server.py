"""The real Kafka broker (.ci/install-kafka), with what a test asks it and publishes to it.

Java starts in three seconds on a quiet machine, and in a minute on one that builds something beside: the waits of these
tests are bounded by :data:`KAFKA_PATIENCE`, and every step waits for the state that it needs, not for a time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.scripted_lane import PATIENCE
from tests.support.servers import KAFKA, ServerProcess, free_port

#: Seconds for the start of the broker, and for what needs it: a stream that could not send waits for up to a minute,
#: and then for the ``timeout`` of its setting.
KAFKA_PATIENCE = 6 * PATIENCE
#: Of a test: several of its waits may take their time, the start and a restart of the broker among them.
TEST_SECONDS = 5 * KAFKA_PATIENCE
PARTITIONS = 4
TOPIC = "netconsd"
CLUSTER = "4L6g3nShT-eMCtK--X86sw"
_CONFIGURATION = """
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={data}
num.partitions={partitions}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=500
log.initial.task.delay.ms=500
"""
#: The user netconsd with the password ``secret``.
_SASL = """
listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  username="admin" password="admin" user_admin="admin" user_netconsd="secret";
"""


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, as :func:`tests.support.servers.until` does, for as long as a broker may need."""
    servers.until(condition, what, KAFKA_PATIENCE)


class KafkaServer(ServerProcess):
    """A broker in KRaft mode, with its data in a directory."""

    patience = KAFKA_PATIENCE

    def __init__(
        self, directory: Path, *, data: Path | None = None, sasl: bool = False, properties: str = "", memory: int = 256
    ) -> None:
        """
        :param directory: is made, for the configuration and the log.
        :param data: of the broker; in the directory if it is None.
        :param properties: further lines of the configuration.
        :param memory: megabytes of Java's heap.
        """
        java = shutil.which("java")
        if java is None or not (KAFKA / "lib").exists():
            pytest.skip("needs Java and Kafka: bash .ci/install-kafka")
        pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")
        directory.mkdir(exist_ok=True)
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self._sasl = sasl
        self._admin: Any = None
        configuration = directory / "properties"
        data = (data or directory / "data") / "logs"
        text = _CONFIGURATION.format(port=port, controller=free_port(), data=data, partitions=PARTITIONS)
        if sasl:
            text = text.replace("=PLAINTEXT://", "=SASL_PLAINTEXT://") + _SASL
        self._configuration = configuration
        configuration.write_text(text)
        self.configure(properties)
        # The first compiler alone: the broker needs half of the time to start.
        options = [f"-Xmx{memory}m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{KAFKA}/lib/*"]
        form = f"kafka.tools.StorageTool format --standalone --ignore-formatted -t {CLUSTER} -c {configuration}"
        script = f'test -e {data}/meta.properties || "$@" {form} && exec "$@" kafka.Kafka {configuration}'
        #: Formats the directory if that was not done, and runs the broker.
        self.command = ["sh", "-c", script, "sh", java, *options]
        super().__init__(self.command, directory / "log", self.is_ready, dict(os.environ))

    def configure(self, properties: str) -> None:
        """Add lines to the configuration, for the next start."""
        with self._configuration.open("a") as file:
            file.write(properties + "\n")

    def is_ready(self) -> bool:
        """Return whether the broker answers, and leads every partition that it has."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        properties: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.address, "log_level": 0, "socket.timeout.ms": 5000,
        }  # fmt: skip
        if self._sasl:
            properties |= {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
            properties |= {"sasl.username": "admin", "sasl.password": "admin"}
        try:
            found = AdminClient(properties).list_topics(timeout=5)
        except KafkaException:
            return False
        leaders = {each.leader for topic in found.topics.values() for each in topic.partitions.values()}
        return bool(found.brokers) and leaders <= {1}

    @property
    def admin(self) -> Any:
        """A client that changes topics: the same one for all calls, because its answers end with it."""
        if self._admin is None:
            from confluent_kafka.admin import AdminClient

            self._admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        return self._admin

    def make_topic(self, **config: str) -> None:
        """Make the topic, with properties of it whose dots are written as ``_``."""
        from confluent_kafka.cimpl import NewTopic

        properties = {name.replace("_", "."): value for name, value in config.items()}
        made = self.admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config=properties)])
        made[TOPIC].result(KAFKA_PATIENCE)

    def publish(self, messages: Iterable[tuple[int, bytes]]) -> None:
        """Publish messages to their partitions, each once."""
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.address, "enable.idempotence": True, "log_level": 0})
        for partition, data in messages:
            producer.produce(TOPIC, data, partition=partition)
        assert producer.flush(KAFKA_PATIENCE) == 0

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return the first offset of a partition, and the next one that is written."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "test", "log_level": 0})
        try:
            found: tuple[int, int] = consumer.get_watermark_offsets(
                TopicPartition(TOPIC, partition), timeout=KAFKA_PATIENCE
            )
            return found
        finally:
            consumer.close()

    def committed(self, group: str) -> int:
        """Return the sum of the offsets that a group has committed."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group, "log_level": 0})
        try:
            partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
            return sum(max(0, each.offset) for each in consumer.committed(partitions, timeout=KAFKA_PATIENCE))
        finally:
            consumer.close()

    def values(self, partitions: int = PARTITIONS) -> list[bytes]:
        """Return all that it has, each partition in order."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "test", "log_level": 0})
        try:
            ends = {}
            for number in range(partitions):
                first, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, number), timeout=KAFKA_PATIENCE)
                if end > first:
                    ends[number] = end
            consumer.assign([TopicPartition(TOPIC, number, 0) for number in ends])
            found: list[tuple[int, int, bytes]] = []
            while ends:
                some = consumer.consume(10_000, timeout=1)
                for each in some:
                    partition, offset = each.partition(), each.offset()
                    assert each.error() is None, each.error()
                    assert partition is not None and offset is not None, "it has been stored"
                    found.append((partition, offset, each.value() or b""))
                    if offset + 1 >= ends.get(partition, 1 << 62):
                        del ends[partition]
            return [value for _, _, value in sorted(found)]
        finally:
            consumer.close()

"""confluent-kafka 2.16.1: list_topics() in a rebalance callback, then another callback in the same call: abort.

    pip install confluent-kafka==2.16.1
    python findings/confluent-kafka-list-topics.py

Expected: the offset that was committed. Seen: ``CallState_get: Assertion `cs != NULL' failed``, SIGABRT.
"""

from confluent_kafka import Consumer, Producer, TopicPartition

producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
(broker,) = producer.list_topics(timeout=10).brokers.values()
address = f"{broker.host}:{broker.port}"
client = Producer({"bootstrap.servers": address})
client.produce("t", b"x", partition=0)
client.flush(10)


def assigned(consumer, partitions):  # type: ignore[no-untyped-def]
    """Look at the topic, and commit."""
    consumer.list_topics("t", timeout=10)
    consumer.commit(offsets=[TopicPartition("t", 0, 1)], asynchronous=True)


consumer = Consumer(
    {
        "bootstrap.servers": address, "group.id": "g", "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "on_commit": lambda error, partitions: print(error, partitions, flush=True),
    }
)  # fmt: skip
consumer.subscribe(["t"], on_assign=assigned)
for _ in range(10):
    consumer.consume(100, 1)
consumer.close()
